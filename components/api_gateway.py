"""API Gateway: the door through which clients outside the project reach a service.

It owns the API, one immutable configuration for each OpenAPI document, and the gateway that serves
the newest. It leaves alone the service behind: that lets in the gateway's identity and nobody else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

REGIONS: Final = (
    "asia-northeast1",
    "australia-southeast1",
    "europe-west1",
    "europe-west2",
    "us-central1",
    "us-east1",
    "us-east4",
    "us-west2",
    "us-west3",
    "us-west4",
)
"""Where API Gateway is offered, by its document `Deploying an API to a gateway`. The service behind
may be in another region."""
NAME: Final = (
    re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?"),
    "at most 49 lower-case letters, digits and hyphens, starting with a letter",
)
"""The documented pattern of a gateway's id."""


@dataclass(frozen=True, kw_only=True)
class ApiGatewayArgs:
    """What a gateway needs.

    Raises:
        InvalidArgs: at construction, when the region has no API Gateway.
    """

    project: str
    location: str
    """One of `REGIONS`."""
    title: str
    document: pulumi.Input[str]
    """OpenAPI 2.0 as JSON: who is let in, and with `x-google-backend` where requests go."""
    service_account: pulumi.Input[str]
    """E-mail of the identity that the gateway shows to the service behind."""

    def __post_init__(self) -> None:
        checks.one_of("ApiGateway", "location", self.location, REGIONS)


class ApiGateway(pulumi.ComponentResource):
    """API and gateway `<name>`."""

    api: gcp.apigateway.Api
    config: gcp.apigateway.ApiConfig
    gateway: gcp.apigateway.Gateway
    url: pulumi.Output[str]
    """`https://...`, without a slash at its end."""

    def __init__(
        self, name: str, *, args: ApiGatewayArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("ApiGateway", "name", name, NAME)
        super().__init__("esteira:api_gateway:ApiGateway", name, {}, opts)
        document = pulumi.Output.from_input(args.document)
        self.api = gcp.apigateway.Api(
            name,
            api_id=name,
            project=args.project,
            display_name=args.title,
            opts=child_opts(self),
        )
        self.config = gcp.apigateway.ApiConfig(
            name,
            api=self.api.api_id,
            # A configuration cannot be changed. A new one stands beside the old until the gateway
            # has moved over, so its id has to differ, and follows from what is in it.
            api_config_id=document.apply(lambda text: f"{name}-{_digest(text)}"),
            project=args.project,
            display_name=args.title,
            openapi_documents=[
                gcp.apigateway.ApiConfigOpenapiDocumentArgs(
                    document=gcp.apigateway.ApiConfigOpenapiDocumentDocumentArgs(
                        path="openapi.json", contents=document.apply(_encoded)
                    )
                )
            ],
            gateway_config=gcp.apigateway.ApiConfigGatewayConfigArgs(
                backend_config=gcp.apigateway.ApiConfigGatewayConfigBackendConfigArgs(
                    google_service_account=args.service_account
                )
            ),
            opts=child_opts(self),
        )
        self.gateway = gcp.apigateway.Gateway(
            name,
            gateway_id=name,
            api_config=self.config.id,
            project=args.project,
            region=args.location,
            display_name=args.title,
            opts=child_opts(self),
        )
        self.url = pulumi.Output.concat("https://", self.gateway.default_hostname)
        self.register_outputs({"url": self.url, "api": self.api.managed_service})


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
