"""A stack of the Automation API that runs an operation and asks the engine for nothing else.

After each operation the Automation API reads the stack's outputs twice and its history once: three
more engine processes, which take as long as a small `up` itself. What changed is in the operation's
own last event.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from pulumi import automation
from pulumi.automation import EngineEvent, LocalWorkspace
from pulumi.automation._stack import StackInitMode

type OnEvent = Callable[[EngineEvent], None]

_UNREAD: Final = automation.UpdateSummary(
    kind="update",
    start_time=datetime.fromtimestamp(0, UTC),
    message="",
    environment={},
    config={},
    result="succeeded",
)


class BriefStack(automation.Stack):
    """As `automation.Stack`, of which `brief` shortens the operations."""

    _brief = False

    @classmethod
    def open(cls, name: str, workspace: LocalWorkspace) -> BriefStack:
        """Select a stack, or create it where there is none."""
        return cls(name, workspace, StackInitMode.CREATE_OR_SELECT)

    @contextlib.contextmanager
    def brief(self, on_event: OnEvent | None = None) -> Iterator[Summary]:
        """Within it, operations return neither outputs nor a summary; the events have that one.

        Args:
            on_event: Is given every event too.

        Yields:
            What the operation is to be given as `on_event`; it then holds the changes.
        """
        summary = Summary(on_event)
        self._brief = True
        try:
            yield summary
        finally:
            self._brief = False

    def outputs(self) -> Any:
        return {} if self._brief else super().outputs()

    def shown_outputs(self) -> dict[str, Any]:
        """The outputs, with `[secret]` where one is; read once, and no secret is decrypted."""
        return json.loads(self._run_pulumi_cmd_sync(["stack", "output", "--json"]).stdout)

    def export_stack(self) -> automation.Deployment:
        """The state as it lies there: secrets stay encrypted, which the Automation API's do not."""
        exported = json.loads(self._run_pulumi_cmd_sync(["stack", "export"]).stdout)
        return automation.Deployment(exported["version"], exported.get("deployment"))

    def info(self, show_secrets: bool = False) -> automation.UpdateSummary | None:
        return _UNREAD if self._brief else super().info(show_secrets)


class Summary:
    """Takes an operation's events and keeps what the last of them says."""

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self._on_event = on_event
        self.changes: dict[str, int] = {}
        """Resources by what was done to them, under the engine's own words."""

    def __call__(self, event: EngineEvent) -> None:
        if event.summary_event is not None:
            self.changes = {
                str(getattr(kind, "value", kind)): n
                for kind, n in (event.summary_event.resource_changes or {}).items()
            }
        if self._on_event is not None:
            self._on_event(event)
