"""One predicted row, as servers publish it and as every table of the log holds it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from workloads.contracts import Contract

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
SHADOW: Final = "shadow"

Variant = Literal["champion", "challenger", "shadow"]


class PredictionLogged(Contract, frozen=True):
    """One row that a server was asked about, and what became of it; refused rows too.

    A request that was refused as a whole (it was no JSON, too large, or came while the server was
    full) is one row without features.
    """

    NAME: ClassVar[str] = "prediction_logged"
    PLURAL: ClassVar[str] = "log"
    VERSION: ClassVar[int] = 1
    IDENTITY: ClassVar[str | None] = "prediction_id"
    EVENT_TIME: ClassVar[str | None] = "predicted_at"

    prediction_id: Annotated[
        str, Meta(min_length=1, max_length=64, description="Id of this row, unlike any other")
    ]
    predicted_at: Annotated[datetime, Meta(tz=True, description="When the answer was made")]
    product: Annotated[str, Meta(min_length=1, max_length=30, description="Name of the ML product")]
    model_version: Annotated[
        str,
        Meta(max_length=64, description="Number in the Model Registry; empty where none is known"),
    ]
    model_run: Annotated[
        str,
        Meta(max_length=255, description="Pipeline run that made the model; empty without a model"),
    ]
    deployed_model_id: Annotated[
        str,
        Meta(
            max_length=128,
            description="Who answered: Vertex AI's id of the deployed model, or on Cloud Run and "
            "KServe the revision and the version, `<revision>/<version>`; else empty",
        ),
    ]
    variant: Annotated[
        Literal["champion", "challenger", "shadow"],
        Meta(description="The part that the model played; answers of a shadow are never given"),
    ]
    status: Annotated[int, Meta(ge=100, le=599, description="HTTP status of the answer")]
    latency_ms: Annotated[
        float, Meta(ge=0, description="From the request's arrival to its answer, milliseconds")
    ]
    entity: (
        Annotated[str, Meta(max_length=1024, description="What was asked about, if it was said")]
        | None
    ) = None
    key: (
        Annotated[
            str, Meta(max_length=1024, description="What the variant of an experiment follows")
        ]
        | None
    ) = None
    value: (
        Annotated[float, Meta(description="Probability of yes, or the expected value")] | None
    ) = None
    lower: Annotated[float, Meta(description="Lower end of a regression's interval")] | None = None
    upper: Annotated[float, Meta(description="Upper end of a regression's interval")] | None = None
    answer: (
        Annotated[bool, Meta(description="Whether the probability reached the model's threshold")]
        | None
    ) = None
    features: (
        Annotated[str, Meta(description="The row as the model was shown it, a JSON object")] | None
    ) = None
