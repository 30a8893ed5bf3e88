"""The Vertex AI endpoint of one product.

It owns the endpoint, not the models on it: deployed models and the traffic split change with every
release, and belong to the release controller. An endpoint without a model is a valid state.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

REQUEST_LOG: Final = tuple(
    {"name": name, "type": kind, "mode": mode, "description": description}
    for name, kind, mode, description in (
        ("endpoint", "STRING", "NULLABLE", "Resource name of the endpoint"),
        ("deployed_model_id", "STRING", "NULLABLE", "Which deployed model answered"),
        ("logging_time", "TIMESTAMP", "NULLABLE", "When the request was logged"),
        ("request_id", "NUMERIC", "NULLABLE", "Number of the request"),
        ("request_payload", "STRING", "REPEATED", "Instances of the request, JSON each"),
        ("response_payload", "STRING", "REPEATED", "Predictions of the response, JSON each"),
    )
)
"""The columns that Vertex AI fills, by Google's document on request-response logging."""


@dataclass(frozen=True, kw_only=True)
class PredictionEndpointArgs:
    """What an endpoint needs.

    Raises:
        InvalidArgs: at construction, when the sampling rate or the table does not fit.
    """

    project: str
    location: str
    description: str
    request_log: str
    """`project.dataset.table` that keeps requests and responses. Vertex AI takes it only when the
    endpoint is created, so a change of it replaces the endpoint."""
    request_log_table: pulumi.Resource | None = None
    """The same table, where it is made by this program: it has to be there first."""
    sampling_rate: float = 1.0
    """Share of requests that are kept, above 0 to 1."""
    private: bool = False
    """Whether it is reached only through Private Service Connect, from `project`."""
    kms_key: pulumi.Input[str] | None = None
    protect: bool = False

    def __post_init__(self) -> None:
        who = "PredictionEndpoint"
        if not 0 < self.sampling_rate <= 1:
            raise checks.InvalidArgs(who, "sampling_rate", self.sampling_rate, "above 0, at most 1")
        if self.request_log.count(".") != 2:
            raise checks.InvalidArgs(
                who, "request_log", self.request_log, "`project.dataset.table`"
            )


class PredictionEndpoint(pulumi.ComponentResource):
    """Endpoint with display name `<name>` and a number that follows from it."""

    endpoint: gcp.vertex.AiEndpoint
    number: str
    """The last part of its resource name."""

    def __init__(
        self,
        name: str,
        *,
        args: PredictionEndpointArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("esteira:prediction_endpoint:PredictionEndpoint", name, {}, opts)
        self.number = endpoint_number(name)
        self.endpoint = gcp.vertex.AiEndpoint(
            name,
            name=self.number,
            display_name=name,
            description=args.description,
            location=args.location,
            region=args.location,
            project=args.project,
            encryption_spec=None
            if args.kms_key is None
            else gcp.vertex.AiEndpointEncryptionSpecArgs(kms_key_name=args.kms_key),
            private_service_connect_config=gcp.vertex.AiEndpointPrivateServiceConnectConfigArgs(
                enable_private_service_connect=True, project_allowlists=[args.project]
            )
            if args.private
            else None,
            predict_request_response_logging_config=(
                gcp.vertex.AiEndpointPredictRequestResponseLoggingConfigArgs(
                    enabled=True,
                    sampling_rate=args.sampling_rate,
                    bigquery_destination=(
                        gcp.vertex.AiEndpointPredictRequestResponseLoggingConfigBigqueryDestinationArgs(
                            output_uri=f"bq://{args.request_log}"
                        )
                    ),
                )
            ),
            opts=child_opts(
                self,
                protect=args.protect,
                ignore_changes=["trafficSplit", "deployedModels"],
                depends_on=None if args.request_log_table is None else [args.request_log_table],
                # The number is fixed, so the old one has to go first.
                delete_before_replace=True,
            ),
        )
        self.register_outputs({"name": self.endpoint.name, "id": self.endpoint.id})


def endpoint_number(name: str) -> str:
    """Ten digits without a leading zero, always the same for a name, as Vertex AI wants them."""
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    return str(10**9 + digest % (9 * 10**9))
