"""What retraining is told by its environment: which product, what to do, what runs are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from workloads.training.settings import TrainingSettings

FOLDER: Final = "retraining"
"""Of the product's bucket of models; outcomes of jobs lie there."""
Command = Literal["turn", "ask", "claim", "settle", "status", "history"]


class RetrainingSettings(TrainingSettings):
    """Environment of the Cloud Run job `<product>-retraining`.

    Its schedule starts it as it is, for one turn; `esteira retrain` and `esteira retraining` start
    it with the variables that begin with `RETRAINING_`. The records are `workloads.database`'s.
    """

    serving_service_account: Annotated[
        str, Field(description="Identity of the model's container; empty: the project's default")
    ] = ""
    retraining_command: Annotated[Command, Field(description="What to do")] = "turn"
    retraining_strategy: Annotated[
        Literal["policy", "direct"],
        Field(description="Releases go through shadow and canary, or straight to full"),
    ] = "policy"
    retraining_releases: Annotated[
        Literal["job", "here"],
        Field(description="The product's release job goes on with a release, or this process does"),
    ] = "job"
    retraining_why: Annotated[str, Field(max_length=500, description="Why a person asks")] = ""
    retraining_commit: Annotated[
        str,
        Field(
            pattern="^([0-9a-f]{7,64})?$",
            description="The commit that asks; empty: a person does",
        ),
    ] = ""
    retraining_as_of: Annotated[
        AwareDatetime | None,
        Field(description="Train as if it were then, for data that are replayed"),
    ] = None
    retraining_start: Annotated[
        AwareDatetime | None, Field(description="A claimed run learns from rows since then")
    ] = None
    retraining_split: Annotated[
        AwareDatetime | None, Field(description="A claimed run holds rows out since then")
    ] = None
    retraining_end: Annotated[
        AwareDatetime | None, Field(description="A claimed run reads no row from then on")
    ] = None
    retraining_run: Annotated[
        str, Field(max_length=62, description="The claimed run that is settled")
    ] = ""
    retraining_version: Annotated[
        str,
        Field(pattern="^([0-9]+)?$", description="What the claimed run made; empty: it failed"),
    ] = ""
    retraining_limit: Annotated[
        int, Field(ge=1, le=10_000, description="Lines of the history that are shown")
    ] = 100
    retraining_actor: Annotated[
        str, Field(max_length=200, description="Who asked for it; empty: the job itself")
    ] = ""

    @property
    def as_of(self) -> datetime | None:
        """When the data are looked at from; None: when the run starts."""
        return self.retraining_as_of
