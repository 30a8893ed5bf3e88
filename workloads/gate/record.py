"""The record of a decision: JSON for programs, Markdown with plots for people, both beside the
version that was judged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from workloads.artifacts import ArtifactNotFound, Folder
from workloads.gate.fairness import GroupDifference
from workloads.gate.judgement import Judgement
from workloads.gate.leaks import Leaks
from workloads.gate.shift import Shift
from workloads.gate.skew import Skew
from workloads.manifest import Data
from workloads.registry import Registry, Version

FOLDER: Final = "decisions"
"""Within the artefact folder of the version, so that it goes where the version goes."""
_SHIFTS: Final = 8


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two models."""

    version: str
    run: str
    model_sha256: str
    trained_until: datetime
    code_version: str


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided, with everything needed to decide it again."""

    product: str
    decided_at: datetime
    approved: bool
    challenger: Side
    champion: Side | None
    holdout: Data
    """The frozen rows; those before either model's `trained_until` were left out."""
    rows: int
    """Judged by."""
    judgement: Judgement
    record: str
    """Where the decision is written, `gs://….json`; the same in Markdown beside it."""
    asked_by: str = ""
    """Who or what asked for it."""
    code_version: str = ""
    """Of the gate."""
    thresholds: dict[str, Any] = {}
    """The gate of the product as it was."""
    leaks: Leaks | None = None
    skew: Skew | None = None
    groups: GroupDifference | None = None
    """Where the product declares `Gate.fairness`."""
    shifts: tuple[Shift, ...] = ()
    """Of the hold-out against what the challenger learned from. Shown, not judged: time passes."""
    plots: tuple[str, ...] = ()
    """Names of SVG files beside the record."""

    @property
    def reasons(self) -> list[str]:
        """One sentence a check; those that failed first."""
        checks = sorted(self.judgement.checks, key=lambda one: one.passed)
        return [f"{'passes' if one.passed else 'fails'}: {one.reason}" for one in checks]


def name(champion: str | None) -> str:
    """The name of the record of a decision against a version, without its ending."""
    return "first" if champion is None else f"against-{champion}"


def write(
    registry: Registry, version: Version, decision: Decision, plots: Mapping[str, str]
) -> None:
    """Write plots and Markdown, then the JSON that vouches for them, then the version's labels.

    Repeatable; a later decision against the same champion takes the place of an earlier one.
    """
    folder, _, file = decision.record.rpartition("/")
    beside, stem = Folder(folder), file.removesuffix(".json")
    for plot, content in plots.items():
        beside.write(plot, content, "image/svg+xml")
    beside.write(f"{stem}.md", markdown(decision), "text/markdown; charset=utf-8")
    beside.write_json(file, decision)
    against = "none" if decision.champion is None else decision.champion.version
    verdict = "approved" if decision.approved else "rejected"
    registry.label(version, {"gate": verdict, "gate-against": against})


def read(version: Version, champion: str | None) -> Decision | None:
    """The recorded decision on a version against a champion, or none."""
    folder = Folder(f"{version.folder.uri}/{FOLDER}")
    try:
        return folder.read_json(f"{name(champion)}.json", Decision)
    except ArtifactNotFound:
        return None


def markdown(decision: Decision) -> str:
    """The decision for people."""
    judgement, champion = decision.judgement, decision.champion
    verdict = "is approved" if decision.approved else "is rejected"
    against = f"against version {champion.version}" if champion else "as the first model"
    told = (
        f"Judged {decision.decided_at:%Y-%m-%d %H:%M:%S} UTC {against}, on {decision.rows:,} rows "
        f"of the frozen hold-out `{decision.holdout.sha256[:16]}` ({decision.holdout.uri}). Asked "
        f"for by {decision.asked_by or 'nobody known'}; the gate's code is "
        f"{decision.code_version or 'unknown'}."
    )
    lines = [
        f"# Version {decision.challenger.version} of {decision.product} {verdict}",
        "",
        told,
        "",
        f"| | version | {judgement.metric} | 95 % interval | code | model |",
        "|---|---|---|---|---|---|",
    ]
    sides = [("challenger", decision.challenger, judgement.challenger)]
    if champion and judgement.champion:
        sides.append(("champion", champion, judgement.champion))
    lines += [
        f"| {title} | {side.version} | {score.value:.4f} | {score.low:.4f} to {score.high:.4f} | "
        f"{side.code_version} | `{side.model_sha256[:16]}` |"
        for title, side, score in sides
    ]
    lines += ["", "| check | | why |", "|---|---|---|"]
    lines += [
        f"| {one.name} | {'passes' if one.passed else '**fails**'} | {one.reason} |"
        for one in sorted(judgement.checks, key=lambda one: one.passed)
    ]
    if decision.plots:
        lines += ["", *(f"![{one.removesuffix('.svg')}]({one})" for one in decision.plots)]
    lines += _groups(decision.groups) + _alone(decision.leaks) + _shifts(decision.shifts)
    if decision.thresholds:
        given = [
            f"{key} {value}"
            for key, value in decision.thresholds.items()
            if value not in (None, [], ())
        ]
        lines += ["", f"The gate as it was: {'; '.join(given)}."]
    return "\n".join([*lines, ""])


def _groups(groups: GroupDifference | None) -> list[str]:
    if groups is None:
        return []
    head = ["", f"| {groups.column} | rows | {groups.of.value} |", "|---|---|---|"]
    return head + [f"| {one.group} | {one.rows:,} | {one.figure:.4f} |" for one in groups.groups]


def _alone(leaks: Leaks | None) -> list[str]:
    if leaks is None:
        return []
    head = ["", f"| feature, alone | {leaks.measure} |", "|---|---|"]
    return head + [f"| `{one.feature}` | {one.score:.3f} |" for one in leaks.alone]


def _shifts(shifts: tuple[Shift, ...]) -> list[str]:
    if not shifts:
        return []
    told = (
        "The hold-out against the rows that the challenger learned from, most moved first "
        "(Jensen-Shannon divergence, 0 to 1):"
    )
    head = [
        "",
        told,
        "",
        "| feature | divergence | null in training | null in the hold-out |",
        "|---|---|---|---|",
    ]
    return head + [
        f"| `{one.feature}` | {one.divergence:.3f} | {one.nulls_training:.1%} | "
        f"{one.nulls_holdout:.1%} |"
        for one in shifts[:_SHIFTS]
    ]
