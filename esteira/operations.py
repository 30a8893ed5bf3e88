"""Operations on stacks as a person runs them: with progress, and with what to do when they fail."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from esteira import lifetime, outputs, policy_report
from esteira.engine import policies
from esteira.engine.drift import Drifted
from esteira.engine.known import LOCAL_STACK
from esteira.engine.policies import Finding
from esteira.engine.progress import OperationProgress
from esteira.engine.stack import Changes, EngineFailed, Stack, opened
from esteira.lifetime import Idleness

if TYPE_CHECKING:
    from esteira.review.result import Review


def up(name: str, console: Console) -> Changes:
    """Create and update resources, as far as the policies allow it."""
    judged = _judged(name, console)
    return _operate(name, console, "up", lambda stack, show: stack.up(show, judged=judged))


def up_with_outputs(name: str, console: Console) -> tuple[Changes, dict[str, Any]]:
    """Create and update resources; also the outputs. Only what goes wrong is shown."""
    return _operate(
        name,
        console,
        "up",
        lambda stack, show: (stack.up(show), stack.outputs()),
        verbose=False,
    )


def refresh(name: str, console: Console) -> Changes:
    """Bring the state in line with what is there."""
    return _operate(name, console, "refresh", lambda stack, show: stack.refresh(show))


def drift(name: str, console: Console) -> list[Drifted]:
    """What was changed by someone else than the program. Only looks."""
    with (
        console.status(f"{name}: drift") as status,
        opened(name, progress=lambda line: status.update(escape(line))) as stack,
    ):
        return stack.drift()


def idleness(name: str, console: Console) -> Idleness:
    """How long nobody has updated a stack, against how long its settings allow."""
    lifetime.allowed(name)  # a stack that lives for ever need not be looked at
    with (
        console.status(f"{name}: history") as status,
        opened(name, progress=lambda line: status.update(escape(line))) as stack,
    ):
        return lifetime.measured(name, stack.last_update())


def destroy(name: str, console: Console, *, keep: Collection[str] = ()) -> Changes:
    """Delete every resource. Models are taken off their endpoints first: with one deployed, Google
    refuses to delete the endpoint, and Pulumi, which did not deploy it, cannot undeploy it.

    Args:
        name: The stack.
        console: Shows what is done.
        keep: Types of components that stay, with all that they need.
    """
    products = outputs.of(name, console).get("esteira", {}).get("products", {})
    with console.status(f"{name}: undeploying models") as status:
        _undeploy(name, list(products), status.update)
    return _operate(name, console, "destroy", lambda stack, show: stack.destroy(show, keep=keep))


def _undeploy(stack: str, products: list[str], doing: Callable[[str], None]) -> None:
    from esteira.session import connect
    from workloads.product import load
    from workloads.release.endpoint import Endpoint, NoEndpoint

    if not products:
        return
    connect(stack, doing)
    for product in products:
        with contextlib.suppress(NoEndpoint):
            endpoint = Endpoint(load(product))
            if endpoint.deployed():
                doing(f"{product}: undeploying models")
                endpoint.resource.undeploy_all()


def preview(name: str, console: Console, *, offline: bool) -> Changes:
    """What `up` would do, each change on a line, and what policies have to say of it."""
    judged = _judged(name, console, offline=offline)
    return _operate(
        name,
        console,
        "preview",
        lambda stack, show: stack.preview(show, judged=judged),
        offline=offline,
    )


def review(
    name: str, console: Console, *, offline: bool, base: str | None, whole: bool = False
) -> Review:
    """What `up` would do, and what that means: for who has to judge it."""
    from esteira.review.run import review as run

    judged = _judged(name, console, offline=offline)
    with console.status(f"{name}: preview") as status:
        return run(
            name,
            offline=offline,
            base=base,
            whole=whole,
            judged=judged,
            progress=lambda line: status.update(escape(line)),
        )


def findings(name: str, console: Console) -> list[Finding]:
    """What policies have to say of a stack, in the order of its resources. Needs no credentials.

    Raises:
        NoPolicies: the pack cannot run.
        EngineFailed: the preview failed for another reason than a violation.
    """
    policies.require()
    show = OperationProgress(console, f"{name}: policies")
    with (
        console.status(f"{name}: policies") as status,
        opened(name, offline=True, progress=lambda line: status.update(escape(line))) as stack,
    ):
        try:
            stack.preview(show, judged=True)
        except EngineFailed:
            violated = [one for one in show.findings if one.mandatory]
            if not violated or len(show.errors) > len(violated):
                raise
    return show.findings


def digest(name: str, console: Console, *, offline: bool) -> dict[str, Any]:
    """Pulumi's own preview digest."""
    with (
        console.status(f"{name}: preview") as status,
        opened(name, offline=offline, progress=status.update) as stack,
    ):
        return stack.digest()


def export(name: str, console: Console) -> dict[str, Any]:
    """Pulumi's own stack export."""
    with (
        console.status(f"{name}: export") as status,
        opened(name, progress=status.update) as stack,
    ):
        return stack.export()


def _operate[T](
    name: str,
    console: Console,
    title: str,
    operation: Callable[[Stack, OperationProgress], T],
    *,
    offline: bool = False,
    verbose: bool = True,
) -> T:
    with console.status(f"{name}: {title}") as status:
        opening = opened(name, offline=offline, progress=lambda line: status.update(escape(line)))
        stack = opening.__enter__()
    try:
        with OperationProgress(console, f"{name}: {title}", verbose=verbose) as show:
            try:
                return operation(stack, show)
            except EngineFailed as error:
                if show.errors:
                    # Each was shown when it came; the engine's closing text only repeats them.
                    count = len(show.errors)
                    raise EngineFailed(f"{name}: {title} failed with {count} error(s)") from error
                raise
            finally:
                policy_report.show(show.findings, console)
    finally:
        opening.__exit__(None, None, None)


def _judged(name: str, console: Console, *, offline: bool = False) -> bool:
    """Whether policies judge; what is only ever local need not wait for them."""
    if name == LOCAL_STACK and not offline:
        return False
    if not policies.ready():
        console.print("  [yellow]warning[/] policies were not checked; `make setup` makes them")
    return policies.ready()
