"""The model card of a version: what it is for, what it learned from, how good it is, its limits.

Written from what was recorded anyway: the declaration, the manifest, the evaluation, the decision
of the gate. So it says nothing that a file beside the version does not say too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from workloads.artifacts import ArtifactNotFound, Folder
from workloads.manifest import MANIFEST, METRICS, Data, Manifest, Score
from workloads.product import METRICS as METRICS_OF
from workloads.product import Product, Task
from workloads.registry import Recorded

CARD: Final = "model_card.md"
_DECISIONS: Final = "decisions"
_DAY: Final = "%Y-%m-%d %H:%M"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate decided on a version, as far as a card shows it."""

    approved: bool
    decided_at: datetime
    against: str
    """The champion's version; empty: it was the first."""
    reasons: tuple[str, ...]
    record: str

    @property
    def word(self) -> str:
        return "approved" if self.approved else "rejected"


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a card is made from."""

    version: Recorded
    manifest: Manifest
    evaluation: dict[str, Any]
    verdict: Verdict | None


def read(recorded: Recorded) -> Card:
    """What is known of a version.

    Raises:
        ArtifactNotFound: its manifest or its evaluation is gone.
    """
    manifest = recorded.folder.read_json(MANIFEST, Manifest)
    return Card(
        version=recorded,
        manifest=manifest,
        evaluation=recorded.folder.read_json(METRICS, dict[str, Any]),
        verdict=verdict(recorded.folder),
    )


def write(product: Product, recorded: Recorded) -> str:
    """Make the card of a version, put it beside it, and return it. Repeatable."""
    text = markdown(product, read(recorded))
    try:
        known = recorded.folder.read(CARD).decode()
    except ArtifactNotFound:
        known = ""
    # Unchanged, it stays as it is: MLflow is told of files that have changed.
    if text != known:
        recorded.folder.write(CARD, text, "text/markdown; charset=utf-8")
    return text


def verdict(folder: Folder) -> Verdict | None:
    """The last decision of the gate on the version of a folder; none if there was none."""
    found = [
        _verdict(folder.read_json(name, dict[str, Any]))
        for name in folder.listed()
        if name.startswith(f"{_DECISIONS}/") and name.endswith(".json")
    ]
    return max(found, key=lambda one: one.decided_at, default=None)


def _verdict(decision: dict[str, Any]) -> Verdict:
    checks = sorted(decision["judgement"]["checks"], key=lambda one: one["passed"])
    return Verdict(
        approved=decision["approved"],
        decided_at=datetime.fromisoformat(decision["decided_at"]),
        against=(decision.get("champion") or {}).get("version", ""),
        reasons=tuple(
            f"{'passes' if one['passed'] else 'fails'}: {one['reason']}" for one in checks
        ),
        record=decision["record"],
    )


def markdown(product: Product, card: Card) -> str:
    """The card for people, and for the summary of a job on GitHub."""
    parts = [
        _head(product, card),
        _use(product, card),
        _data(product, card.manifest),
        _results(product, card),
        _decision(card.verdict),
        _limits(product, card),
        _hashes(card),
    ]
    return "\n".join(line for part in parts for line in part)


def _head(product: Product, card: Card) -> list[str]:
    version, manifest = card.version, card.manifest
    return [
        f"# {product.name}, version {version.number}",
        "",
        product.title,
        "",
        *_table(
            ("", ""),
            (
                ("owner", product.owner),
                ("trained", f"{version.created:{_DAY}} UTC by `{manifest.run}`"),
                ("code", f"`{manifest.code_version}`"),
            ),
        ),
    ]


def _use(product: Product, card: Card) -> list[str]:
    manifest = card.manifest
    if manifest.task is Task.CLASSIFICATION:
        answer = f"the probability of `{manifest.label}`"
        if manifest.threshold is not None:
            answer += f", and yes from {manifest.threshold:.3f} on"
    else:
        answer = f"`{manifest.label}`"
        if manifest.interval is not None:
            low, high = manifest.interval
            answer += f", and the range from its {low:.0%} to its {high:.0%} quantile"
    told = (
        f"Asked about one `{product.features.entity}` as of its `{product.features.event_time}`, "
        f"it answers with {answer}. It takes {len(manifest.features)} features, those of "
        f"`{manifest.contract}` version {manifest.contract_version}; what breaks that contract is "
        "refused. It was judged on this question and on no other."
    )
    return ["## Intended use", "", told, ""]


def _data(product: Product, manifest: Manifest) -> list[str]:
    def row(name: str, data: Data) -> tuple[str, ...]:
        span = f"{data.start:{_DAY}} to {data.end:{_DAY}}"
        return name, f"{data.rows:,}", span, f"`{data.sha256[:16]}`"

    sources = ", ".join(
        f"`{one.contract.PLURAL}` ({one.owner or product.name})" for one in product.sources
    )
    base = product.features.base
    on = "" if base is None else f", which builds on that of {base}"
    told = (
        f"From {sources}, by `{product.features.sql.name}`{on}. Rows whose label never came are "
        "in neither part."
    )
    return [
        "## Data",
        "",
        *_table(
            ("rows to", "number", f"by `{product.features.event_time}`", "snapshot"),
            (row("learn from", manifest.training), row("be judged by", manifest.holdout)),
        ),
        told,
        "",
    ]


def _results(product: Product, card: Card) -> list[str]:
    manifest, evaluation = card.manifest, card.evaluation
    better = METRICS_OF[manifest.task]
    rows = [
        (
            f"{name} ({'higher' if better.get(name, True) else 'lower'} is better)",
            *_score(score),
            f"{manifest.baseline[name].value:.4f}" if name in manifest.baseline else "",
        )
        for name, score in manifest.metrics.items()
    ]
    lines = [
        "## Results on the hold-out",
        "",
        *_table(("metric", "model", "95 % interval", "answering all alike"), rows),
    ]
    if slices := evaluation.get("slices"):
        lines += _table(
            ("slice", "rows", product.gate.metric),
            [
                (f"{one['column']} {one['value']}", f"{one['rows']:,}", f"{one['score']:.4f}")
                for one in slices
            ],
        )
    if coverage := evaluation.get("coverage"):
        lines += [_coverage(coverage), ""]
    if calibration := evaluation.get("calibration"):
        lines += [f"Calibration error {calibration['error']:.4f}.", ""]
        if bins := calibration.get("bins"):
            lines += _table(
                ("rows", "predicted", "observed"),
                [
                    (f"{one['rows']:,}", f"{one['predicted']:.3f}", f"{one['observed']:.3f}")
                    for one in bins
                ],
            )
    return lines


def _coverage(coverage: dict[str, Any]) -> str:
    low, high = coverage["quantiles"]
    share = coverage["share"]
    told = (
        f"The range promises {high - low:.0%} and holds {share['value']:.1%} "
        f"({share['low']:.1%} to {share['high']:.1%}) of the hold-out: {coverage['below']:.1%} lie "
        f"below, {coverage['above']:.1%} above."
    )
    # Versions from before there was calibration say nothing of it.
    if coverage.get("margin") is None:
        return f"{told} It was not calibrated."
    return (
        f"{told} It was calibrated on the last {coverage['calibration_rows']:,} training rows, "
        f"which its bounds were not fitted on: both moved outwards by {coverage['margin']:.2f}."
    )


def _decision(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        return ["## Decision of the gate", "", "None yet.", ""]
    against = f"against version {verdict.against}" if verdict.against else "as the first model"
    return [
        "## Decision of the gate",
        "",
        f"**{verdict.word}** on {verdict.decided_at:{_DAY}} UTC, {against}; `{verdict.record}`.",
        "",
        *(f"- {one}" for one in verdict.reasons),
        "",
    ]


def _limits(product: Product, card: Card) -> list[str]:
    manifest, slices = card.manifest, card.evaluation.get("slices") or []
    metric, days = product.gate.metric, product.label.maturity.total_seconds() / 86_400
    higher = METRICS_OF[manifest.task][metric]
    span = f"{manifest.holdout.start:{_DAY}} to {manifest.holdout.end:{_DAY}}"
    found = [
        f"Judged on {manifest.holdout.rows:,} rows from {span} alone: other times may be harder.",
        f"A label is known up to {days:g} days after its row; a decline shows no sooner.",
    ]
    if slices:
        worst = sorted(slices, key=lambda one: one["score"], reverse=not higher)[0]
        found.append(
            f"Weakest on {worst['column']} {worst['value']}: {metric} {worst['score']:.4f} on "
            f"{worst['rows']:,} rows. Groups too small to score are not in the table."
        )
    else:
        found.append("No group of the rows was large enough to be scored by itself.")
    score = manifest.metrics.get(metric)
    if score is not None:
        found.append(
            f"{metric} is known to no more than {score.low:.4f} to {score.high:.4f} (95 %, "
            "bootstrap): two models that differ by less than that cannot be told apart by it."
        )
    return ["## Limits", "", *(f"- {one}" for one in found), ""]


def _hashes(card: Card) -> list[str]:
    version, manifest = card.version, card.manifest
    return [
        "## What exactly",
        "",
        *_table(
            ("", ""),
            (
                ("model, SHA-256", f"`{version.sha256}`"),
                ("training rows, SHA-256", f"`{manifest.training.sha256}`"),
                ("hold-out rows, SHA-256", f"`{manifest.holdout.sha256}`"),
                ("artefacts", f"`{version.folder.uri}`"),
                ("serving image", f"`{version.image}`"),
            ),
        ),
    ]


def _score(score: Score) -> tuple[str, str]:
    return f"{score.value:.4f}", f"{score.low:.4f} to {score.high:.4f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        _row(head),
        "|" + "---|" * len(head),
        *(_row(one) for one in rows),
        "",
    ]


def _row(cells: Sequence[str]) -> str:
    # A pipe would end the cell, and a value of the data may hold one.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
