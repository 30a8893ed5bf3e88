"""A stack of the Automation API that runs an operation and asks the engine for nothing else.

Before the first operation the Automation API asks for the engine's version and selects the stack;
after each operation the Automation API reads the stack's outputs twice and its history once: three
more engine processes, which take as long as a small `up` itself. What changed is in the operation's
own last event, and every operation names its stack.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pulumi import automation
from pulumi.automation import EngineEvent, InvalidVersionError, LocalWorkspace, PulumiCommand
from pulumi.automation._stack import StackInitMode
from semver import VersionInfo

_SDK_MAJOR: Final = 3

type OnEvent = Callable[[EngineEvent], None]

_UNREAD: Final = automation.UpdateSummary(
    kind="update",
    start_time=datetime.fromtimestamp(0, UTC),
    message="",
    environment={},
    config={},
    result="succeeded",
)


class KnownCommand(PulumiCommand):
    """As `PulumiCommand`, of an engine whose version is known and need not be asked for again."""

    def __init__(self, binary: Path, version: tuple[int, int, int]) -> None:
        """Take an engine that `esteira.engine.install` found recent enough.

        Raises:
            InvalidVersionError: it is of a later major version than the SDK.
        """
        if version[0] > _SDK_MAJOR:
            raise InvalidVersionError(
                f"Pulumi {'.'.join(map(str, version))} at {binary} is too new; "
                f"needed: {_SDK_MAJOR}.x"
            )
        self.command = str(binary)
        self.version = VersionInfo(*version)


class BriefStack(automation.Stack):
    """As `automation.Stack`, of which `brief` shortens the operations."""

    _brief = False

    def __init__(self, name: str, workspace: LocalWorkspace, mode: StackInitMode | None) -> None:
        """As `automation.Stack`; without a mode the stack is there, and nothing is asked."""
        if mode is None:
            self.name = name
            self.workspace = workspace
            self._mode = StackInitMode.SELECT
        else:
            super().__init__(name, workspace, mode)

    @classmethod
    def open(
        cls, name: str, workspace: LocalWorkspace, *, exists: bool | None = None
    ) -> BriefStack:
        """Select a stack, or create it where there is none.

        Args:
            name: The stack.
            workspace: Where it is operated from.
            exists: Whether there is such a stack already; None asks the engine.
        """
        if exists is None:
            mode = StackInitMode.CREATE_OR_SELECT
        else:
            mode = None if exists else StackInitMode.CREATE
        return cls(name, workspace, mode)

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
