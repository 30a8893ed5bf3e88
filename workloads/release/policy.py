"""How a product's models are released: where to, in which steps, and what stops a release."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")


class ServingTarget(StrEnum):
    """What answers a product's requests."""

    VERTEX = "vertex"
    """A Vertex AI endpoint; versions are deployed models."""
    CLOUD_RUN = "cloud-run"
    """The Cloud Run service `<product>-api`; versions are revisions."""
    KSERVE = "kserve"
    """A KServe InferenceService on GKE; versions are revisions of its predictor."""


class Worse(StrEnum):
    """Which way a guard metric must not go."""

    HIGHER = "higher"
    LOWER = "lower"
    EITHER = "either"


@dataclass(frozen=True, kw_only=True)
class GuardMetric:
    """One figure of the product's own that a release must not move."""

    name: str
    sql: str
    """An aggregate in GoogleSQL over the columns of the prediction log, computed for each version
    over what it answered, such as `AVG(IF(answer, 1, 0))`."""
    tolerance: float
    """How far from the champion's figure the challenger's may be, in the figure's own unit."""
    worse: Worse = Worse.EITHER


@dataclass(frozen=True, kw_only=True)
class ReleasePolicy:
    """How a version becomes the champion, and what stops it on the way.

    Evidence comes in windows that do not overlap, each with at least `evidence_requests` of the
    challenger. A window breaches or is clean; one alone decides nothing, unless almost all fails.

    Raises:
        InvalidProduct: at construction, when a value is out of range or two do not go together.
    """

    schedule: str = "*/10 * * * *"
    """When a release under way is looked at: cron, UTC."""
    shadow_rows: int = 1000
    """Rows that the challenger is asked about before any caller meets it; 0: no shadow. Where it
    has an address to be asked at, it may breach `breaches - 1` times; a graph that is asked without
    one says the same each time."""
    shadow_days: int = 7
    """How far back logged requests are taken for it."""
    canary_steps: tuple[int, ...] = (5, 25)
    """Shares of the traffic, per cent, rising; empty: straight from shadow to full."""
    evidence_requests: int = 200
    """The least of a window."""
    step_time: timedelta = timedelta(minutes=10)
    """The least that a step lasts."""
    most_step_time: timedelta = timedelta(hours=24)
    """A step that has not convinced by then is aborted."""
    watch_time: timedelta = timedelta(hours=24)
    """How long a new champion is watched, and taken back by evidence as a canary would be; 0: not
    at all."""
    deploy_time: timedelta = timedelta(minutes=30)
    """The longest that a deployment may take to become healthy."""
    error_rate: float = 0.02
    """How much higher than the champion's the share of failed requests may be."""
    broken_rate: float = 0.5
    """From this share of failed requests, one window is enough to abort."""
    latency_ratio: float = 1.5
    """How often the champion's 95th percentile of latency the challenger's may be."""
    latency_noise_ms: float = 5.0
    """A difference of latency below this is none, whatever its ratio."""
    latency_p95_ms: float = 1000.0
    """The most that the 95th percentile may be, champion or not."""
    drift: float = 0.1
    """The most that the predicted values may differ from the champion's: Jensen-Shannon divergence,
    base 2, from 0 (the same distribution) to 1."""
    guard: GuardMetric | None = None
    breaches: int = 3
    """This many of the last `breaches_of` windows, the newest among them, abort."""
    breaches_of: int = 4
    clean: int = 2
    """This many clean windows in a row complete a step."""

    def __post_init__(self) -> None:
        _between("shadow_rows", self.shadow_rows, 0, 100_000)
        _between("shadow_days", self.shadow_days, 1, 365)
        steps = self.canary_steps
        if any(not 1 <= one <= 99 for one in steps) or list(steps) != sorted(set(steps)):
            raise _invalid(
                "canary_steps", steps, "rising whole numbers from 1 to 99; 100 follows by itself"
            )
        _between("evidence_requests", self.evidence_requests, 1, 10_000_000)
        if not timedelta(0) <= self.step_time < self.most_step_time:
            raise _invalid(
                "step_time", self.step_time, f"0 to below most_step_time ({self.most_step_time})"
            )
        if not timedelta(0) <= self.watch_time <= timedelta(days=30):
            raise _invalid("watch_time", self.watch_time, "0 to 30 days")
        if not timedelta(0) < self.deploy_time <= timedelta(hours=6):
            raise _invalid("deploy_time", self.deploy_time, "above 0, at most 6 hours")
        _between("error_rate", self.error_rate, 0, 1)
        _between("broken_rate", self.broken_rate, self.error_rate, 1)
        _between("latency_ratio", self.latency_ratio, 1, 1000)
        _between("latency_noise_ms", self.latency_noise_ms, 0, 1e6)
        _between("latency_p95_ms", self.latency_p95_ms, 0.001, 1e6)
        _between("drift", self.drift, 0, 1)
        _between("breaches", self.breaches, 1, self.breaches_of)
        _between("breaches_of", self.breaches_of, 1, 100)
        _between("clean", self.clean, 1, 100)
        # Otherwise windows that breach and are clean by turns would abort.
        if 2 * self.breaches <= self.breaches_of:
            raise _invalid(
                "breaches", self.breaches, f"more than half of breaches_of ({self.breaches_of})"
            )
        if self.guard is not None:
            if not _NAME.fullmatch(self.guard.name):
                raise _invalid(
                    "guard.name",
                    self.guard.name,
                    "lower-case letters, digits and `_`, starting with a letter",
                )
            if not self.guard.sql.strip() or ";" in self.guard.sql:
                raise _invalid("guard.sql", self.guard.sql, "one aggregate, without `;`")
            if self.guard.tolerance < 0:
                raise _invalid("guard.tolerance", self.guard.tolerance, "0 or more")


def _between(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise _invalid(field, value, f"{low} to {high}")


def _invalid(field: str, value: object, allowed: str) -> ValueError:
    # It imports this module; by the time that a policy is made, it is there.
    from workloads.declaration import InvalidProduct

    return InvalidProduct(f"release.{field} is {value!r}; allowed: {allowed}")
