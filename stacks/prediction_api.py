"""The layer that answers one product's predictions over HTTP: Cloud Run, with API Gateway in front.

API Gateway reaches a service over the public network only, so the service has to be open to it in
one of two ways; docs/decisions/0006-doors.md says when which.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.api_gateway import ApiGateway, ApiGatewayArgs
from components.cloud_run import Container, Probes
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.web_service import WebService, WebServiceArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks.data import Data
from stacks.environment import environment
from stacks.features import Features, grants
from stacks.foundation import Foundation
from stacks.names import account_id
from stacks.prediction_log import PredictionLogs
from workloads.product import Product
from workloads.release.policy import ServingTarget
from workloads.serving import gateway as documents
from workloads.serving.settings import ServingSettings

CHAMPION: Final = "champion"
"""The alias of the released version, by workloads/registry.py."""


@dataclass(frozen=True, kw_only=True)
class PredictionApi:
    """What answers, and the doors in front of it; None for a door that this stack has not."""

    web: WebService
    gateway: ApiGateway | None
    balancer: LoadBalancer | None
    audience: str
    """What clients' tokens have to say they are for."""


def lay(
    product: Product,
    foundation: Foundation,
    data: Data,
    features: Features,
    logs: PredictionLogs,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> PredictionApi | None:
    """Make the service and its doors; None where the settings leave them out.

    Args:
        product: The declaration.
        foundation: What products share.
        data: Holds the bucket of models.
        features: What it may look up.
        logs: Where it logs its predictions.
        caller: The product's own identity for calls; always a client.
        opts: Carry the product's provider.
    """
    settings = foundation.settings
    if not settings.serving.api:
        return None
    domain = settings.serving.api_domain
    closed = settings.security.private_endpoint
    audience = f"{product.name}.{settings.project}"
    if closed and domain is None:
        # No door for API Gateway: the API answers from within the network, and nobody else.
        web = _service(product, foundation, data, features, logs, "internal", caller.member, opts)
        return PredictionApi(web=web, gateway=None, balancer=None, audience=audience)
    door = WorkloadIdentity(
        f"{product.name}-gate",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "gate"),
            description=f"Passes requests for predictions of {product.name} on",
        ),
        opts=opts,
    )
    reach = "anywhere" if domain is None else "load-balancer"
    web = _service(product, foundation, data, features, logs, reach, door.member, opts)
    balancer = None if domain is None else _balancer(product, foundation, web, domain, opts)
    backend = web.service.uri if balancer is None else balancer.url
    document = pulumi.Output.all(
        backend, web.service.uri, caller.email, *settings.serving.api_clients
    ).apply(
        lambda known: json.dumps(
            documents.document(
                product,
                backend=str(known[0]),
                audience=str(known[1]),
                service=audience,
                clients=[str(one) for one in known[2:]],
            )
        )
    )
    gateway = ApiGateway(
        f"{product.name}-api",
        args=ApiGatewayArgs(
            project=settings.project,
            location=settings.location,
            title=product.title,
            document=document,
            service_account=door.email,
        ),
        opts=opts,
    )
    return PredictionApi(web=web, gateway=gateway, balancer=balancer, audience=audience)


def outputs(api: PredictionApi | None) -> dict[str, Any]:
    """The part of the stack's outputs that tells how predictions are asked for over HTTP."""
    gateway = None if api is None else api.gateway
    balancer = None if api is None else api.balancer
    return {
        "api": {
            "url": None if gateway is None else gateway.url,
            "audience": None if api is None else api.audience,
            "service": None if api is None else api.web.service.uri,
            "address": None if balancer is None else balancer.address.address,
        }
    }


def _service(
    product: Product,
    foundation: Foundation,
    data: Data,
    features: Features,
    logs: PredictionLogs,
    reach: str,
    client: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> WebService:
    settings = foundation.settings
    project = ProjectWide(project=settings.project)
    identity = WorkloadIdentity(
        f"{product.name}-api",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "api"),
            description=f"Answers predictions of {product.name} over HTTP",
            grants=[
                Grant(
                    role="roles/storage.objectViewer", on=data.landing.models, label="read-models"
                ),
                # Which model is the champion is asked of the Model Registry.
                Grant(role="roles/aiplatform.viewer", on=project, label="find-model"),
                Grant(role="roles/logging.logWriter", on=project, label="log"),
                Grant(role="roles/monitoring.metricWriter", on=project, label="measure"),
                *grants(features),
                logs.publisher(),
            ],
        ),
        opts=opts,
    )
    live = str(ServingSettings.model_fields["live_route"].default)
    return WebService(
        f"{product.name}-api",
        args=WebServiceArgs(
            location=settings.location,
            description=f"Predictions of {product.name}",
            container=Container(
                image=foundation.images["serving"],
                environment=environment(
                    ServingSettings,
                    {
                        "product": product.name,
                        "model_alias": CHAMPION,
                        "google_cloud_project": settings.project,
                        "google_cloud_location": settings.location,
                        "prediction_topic": logs.log.topic.id,
                        "online_features": "false" if features.view is None else "true",
                    },
                ),
                memory="1Gi",
            ),
            service_account=identity.email,
            callers={"client": client},
            reach=reach,
            # That there is no model yet is no reason not to start, nor to be restarted.
            probes=Probes(startup=live, liveness=live),
            min_instances=settings.serving.api_min_instances,
            max_instances=settings.serving.api_max_instances,
            concurrency=settings.serving.api_concurrency,
            timeout_seconds=settings.serving.api_timeout_seconds,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            deletion_protection=settings.security.deletion_protection,
            released=product.serving.target is ServingTarget.CLOUD_RUN,
        ),
        opts=opts,
    )


def _balancer(
    product: Product,
    foundation: Foundation,
    web: WebService,
    domain: str,
    opts: pulumi.ResourceOptions,
) -> LoadBalancer:
    return LoadBalancer(
        f"{product.name}-api",
        args=LoadBalancerArgs(
            location=foundation.settings.location,
            service=web.service.name,
            domain=f"{product.name}.{domain}",
        ),
        opts=opts,
    )
