"""Shows an engine operation while it runs, and what became of it."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Final, Self

from pulumi.automation import EngineEvent
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from esteira.engine import policies
from esteira.engine.policies import Finding

_VERBS: Final = {
    "create": ("creating", "green"),
    "update": ("updating", "yellow"),
    "replace": ("replacing", "magenta"),
    "create-replacement": ("replacing", "magenta"),
    "delete-replaced": ("replacing", "magenta"),
    "delete": ("deleting", "red"),
    "refresh": ("reading", "cyan"),
    "read": ("reading", "cyan"),
    "same": ("checking", "dim"),
}
_SILENT: Final = frozenset({"same", "read", "refresh"})


class OperationProgress:
    """A line that says what the engine is at; changes and diagnostics stay on the screen.

    Use as a context manager, and pass it as `on_event`.
    """

    def __init__(self, console: Console, title: str, *, verbose: bool = False) -> None:
        self._console = console
        self._title = title
        self._verbose = verbose
        self._done: Counter[str] = Counter()
        self._status: Status | None = None
        self.errors: list[str] = []
        self.findings: list[Finding] = []
        """What policies had to say."""

    def __enter__(self) -> Self:
        self._status = self._console.status(escape(self._title))
        self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, event: EngineEvent) -> None:
        """Take in one event of the engine."""
        if event.resource_pre_event is not None:
            metadata = event.resource_pre_event.metadata
            self._say(_kind(metadata.op), metadata.urn)
        elif event.res_outputs_event is not None:
            metadata = event.res_outputs_event.metadata
            operation = _kind(metadata.op)
            self._done[operation] += 1
            if self._verbose and operation not in _SILENT:
                word, colour = _VERBS.get(operation, (operation, "white"))
                self._console.print(
                    f"  [{colour}]{word:>9}[/] {escape(_name(metadata.urn))}",
                    highlight=False,
                    soft_wrap=True,
                )
        elif event.policy_event is not None:
            finding = policies.finding(event.policy_event)
            self.findings.append(finding)
            if finding.mandatory:
                self.errors.append(finding.message)
        elif event.diagnostic_event is not None and not policies.expected(event.diagnostic_event):
            self._diagnose(event.diagnostic_event.severity, event.diagnostic_event.message)

    def _say(self, operation: str, urn: str) -> None:
        if self._status is None:
            return
        word, _ = _VERBS.get(operation, (operation, "white"))
        self._status.update(
            escape(f"{self._title}: {self._done.total()} done, {word} {_name(urn)}")
        )

    def _diagnose(self, severity: str, message: str) -> None:
        text = policies.plain(message).strip()
        if severity == "error" and text:
            self.errors.append(text)
        if severity in ("warning", "error") and text:
            colour = "red" if severity == "error" else "yellow"
            self._console.print(
                f"  [{colour}]{severity}[/] {escape(text)}", highlight=False, soft_wrap=True
            )


def _kind(operation: object) -> str:
    """`create` out of a member of the engine's enum, or out of a plain string."""
    return str(getattr(operation, "value", operation))


def _name(urn: str) -> str:
    """`gcp:pubsub/topic:Topic flights` out of a urn."""
    parts = urn.split("::")
    if len(parts) < 4:
        return urn
    return f"{parts[-2].split('$')[-1]} {parts[-1]}"
