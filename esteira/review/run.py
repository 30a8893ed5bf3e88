"""Reviews what a stack's program would change."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from esteira.engine.stack import EngineFailed
from esteira.paths import ROOT
from esteira.review import compare, images, outputs, security
from esteira.review.base import (
    Base,
    BaseFailed,
    NewStack,
    NoBase,
    Planning,
    Revision,
    default,
    planning,
    resolve,
)
from esteira.review.cost import estimate
from esteira.review.plan import Kind, ordered, read
from esteira.review.planned import plan
from esteira.review.result import Basis, Comparison, Review
from esteira.review.values import cleaned


class NotComparable(ValueError):
    """What a stack was to be compared with contradicts itself."""


def review(
    stack: str,
    *,
    offline: bool,
    base: str | None,
    whole: bool = False,
    judged: bool,
    progress: Callable[[str], None],
) -> Review:
    """Preview a stack and tell what that means.

    Args:
        stack: Its name.
        offline: Without credentials and state.
        base: A Git revision whose program to compare with; without one, and offline, it is where
            this branch left the one that it goes into (`base.default`).
        whole: Offline, compare with nothing, so that everything is new.
        judged: Whether policies judge.
        progress: Is told what is being done.

    Raises:
        NotComparable: `base` or `whole` with a state, or both.
        NoSuchRevision: Git does not know `base`.
        UnknownStack, NoEngine: see `esteira.engine.stack.opened`.
    """
    if base is not None and not offline:
        raise NotComparable(
            f"--base {base} compares two programs without state; add --offline, or leave --base "
            "out to compare with the state"
        )
    if whole and not offline:
        raise NotComparable("--no-base reviews without state; add --offline, or leave it out")
    if base is not None and whole:
        raise NotComparable(
            f"--base {base} names what to compare with, --no-base says nothing: leave one out"
        )
    with contextlib.ExitStack() as stacked:
        beside: Planning | None = None
        revision: Revision | None = None
        comparison = Comparison(basis=Basis.NOTHING if offline else Basis.STATE)
        if base is not None:
            revision = resolve(base)
        elif offline and not whole:
            try:
                revision = default()
            except NoBase as error:
                comparison = Comparison(basis=Basis.NOTHING, note=str(error))
        command = _command(stack, offline=offline, revision=revision)
        if revision is not None:
            comparison = Comparison(basis=Basis.BASE, ref=revision.ref, commit=revision.commit)
            try:
                beside = stacked.enter_context(planning(revision, stack))
            except (NewStack, BaseFailed) as error:
                comparison = _without_base(revision.ref, error)
        try:
            planned, findings = plan(stack, offline=offline, judged=judged, progress=progress)
        except EngineFailed as error:
            failure = str(error).replace(f"{ROOT}/", "")
            return Review(stack=stack, command=command, comparison=comparison, failure=failure)
        found: Base | None = None
        if beside is not None and revision is not None:
            progress(f"{stack}: the program at {revision.ref}")
            try:
                found = beside.result()
            except BaseFailed as error:
                comparison = _without_base(revision.ref, error)
    now = read(planned.digest, ROOT)
    resources = now.resources.values()
    facts: dict[str, Any] = {
        "stack": stack,
        "command": command,
        "comparison": comparison,
        "total": len(now.resources),
        "findings": tuple(findings),
        "judged": judged,
        "cost": estimate(resources, planned.serving),
    }
    exported = cleaned(planned.outputs, ROOT)
    if found is not None:
        changes = compare.changes(found.plan.resources, now.resources)
        return Review(
            **facts,
            changes=changes,
            outputs=outputs.changes(
                cleaned(found.planned.outputs, ROOT),
                exported,
                found.planned.outputs_schema,
                planned.outputs_schema,
            ),
            security=security.changes(changes),
            rebuilt=images.rebuilt(found.images, images.digests(resources, ROOT)),
            cost_before=estimate(found.plan.resources.values(), found.planned.serving),
        )
    changes = ordered(now.changes)
    is_new = comparison.basis is Basis.NOTHING or all(one.kind is Kind.CREATE for one in changes)
    return Review(
        **facts,
        changes=changes,
        outputs=()
        if comparison.basis is Basis.NOTHING or not planned.old_outputs
        else outputs.changes(cleaned(planned.old_outputs, ROOT), exported, {}, {}),
        security=security.changes(changes),
        cost_before=None if is_new and not now.before else estimate(
            now.before.values(), planned.serving
        ),
    )  # fmt: skip


def _command(stack: str, *, offline: bool, revision: Revision | None) -> str:
    """What shows the same in full."""
    words = ["esteira", "preview", stack]
    if offline:
        words += ["--offline", *(["--base", revision.ref] if revision else ["--no-base"])]
    return " ".join([*words, "--format", "text"])


def _without_base(base: str, error: Exception) -> Comparison:
    words = (
        f"{error}; the stack is new"
        if isinstance(error, NewStack)
        else f"the program at {base} could not be previewed: {error}"
    )
    return Comparison(basis=Basis.NOTHING, ref=base, note=words)
