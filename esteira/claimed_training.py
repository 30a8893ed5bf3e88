"""A training run that is entered in the records of retraining: claimed before, settled after."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from esteira.printing import console, fail

if TYPE_CHECKING:
    from workloads.product import Product
    from workloads.retraining.turn import Outcome
    from workloads.training.registration import Registration
    from workloads.training.run import TrainingRun

Progress = Callable[[str], None]


def claim(
    run: TrainingRun, own: dict[str, Any], why: str, commit: str, progress: Progress
) -> Outcome | None:
    """Ask for the run, which becomes one of the product's retrainings if its policy allows.

    Returns:
        What was decided; none where nothing is recorded: the stack has no database, or the
        product is trained by hand only.
    """
    from esteira.retraining_runs import NoController
    from esteira.retraining_runs import run as perform

    if run.product.retraining is None:
        return None
    try:
        outcome = perform(
            run.product,
            own,
            "claim",
            progress,
            why=why,
            commit=commit,
            start=run.start.isoformat(),
            split=run.split.isoformat(),
            end=run.end.isoformat(),
        )
    except NoController:
        return None
    if not outcome.ok:
        fail(f"{run.product.name} is not trained now: {outcome.message}")
    return outcome


def standing(outcome: Outcome) -> dict[str, Any]:
    """What is known of a run that is not trained now.

    Its version, where it has one that is not released or refused yet; else why it waits, or what
    became of it.
    """
    run = outcome.run
    if run is not None and run.version is not None and run.under_way:
        return {"version": run.version, "run": run.name, "waits": ""}
    return {"version": "", "run": "" if run is None else run.name, "waits": outcome.message}


def train(
    run: TrainingRun,
    own: dict[str, Any],
    claimed: Outcome,
    submit: Callable[[TrainingRun], Registration],
    progress: Progress,
) -> Registration:
    """Train a claimed run as the records hold it, and write down what came of it.

    Killed in between, it is mended by claiming it again, or by the controller when the lease of
    the claim has run out.
    """
    from workloads.training.submit import TrainingFailed

    held = claimed.run
    assert held is not None  # it is ours
    frozen = dataclasses.replace(
        run,
        name=held.name,
        start=held.learn_from,
        split=held.hold_out_from,
        end=held.read_until,
    )
    try:
        registered = submit(frozen)
    except TrainingFailed as error:
        _settle(run.product, own, held.name, progress, why=str(error)[:500])
        raise
    _settle(run.product, own, held.name, progress, version=registered.version)
    return registered


def _settle(
    product: Product, own: dict[str, Any], name: str, progress: Progress, **given: Any
) -> None:
    from esteira.retraining_runs import run as perform

    outcome = perform(product, own, "settle", progress, run=name, **given)
    if not outcome.ok:
        # The model is there all the same, and the controller finds it by the run's name.
        console.print(f"not written down yet: {outcome.message}", markup=False, highlight=False)
