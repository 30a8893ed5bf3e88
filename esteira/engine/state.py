"""The outputs of a stack straight from its state file, where the state lies on this machine.

Asking the engine starts a process or two, which take longer than most commands that only want to
know where things are. Whatever is not exactly as known here, the engine is asked about.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_KNOWN_VERSIONS: Final = frozenset({3, 4})
_ROOT_TYPE: Final = "pulumi:pulumi:Stack"
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
"""The key that marks a value as more than plain JSON; what lies under it says as what."""
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (it marks secrets, and is none)
_HIDDEN: Final = "[secret]"


class _Unknown(ValueError):
    """The state holds what only the engine can read."""


def exists(backend: Path, project: str, stack: str) -> bool:
    """Whether a file backend has the stack, however it is compressed."""
    file = _file(backend, project, stack)
    return any(file.with_name(file.name + end).exists() for end in ("", ".gz", ".zst"))


def outputs(backend: Path, project: str, stack: str) -> dict[str, Any] | None:
    """The stack's outputs in the order of their names, with `[secret]` where one is.

    Args:
        backend: The folder of a `file://` backend.
        project: The Pulumi project.
        stack: The stack.

    Returns:
        None where the engine has to be asked: there is no such file, or it is of another format.
    """
    try:
        # Replaced in one step by the engine, so what is read is always whole.
        document = json.loads(_file(backend, project, stack).read_text())
        if document["version"] not in _KNOWN_VERSIONS:
            return None
        resources = (document["checkpoint"]["latest"] or {}).get("resources") or []
        found = next((one for one in resources if one["type"] == _ROOT_TYPE), {})
        return {name: _shown(value) for name, value in sorted(found.get("outputs", {}).items())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _file(backend: Path, project: str, stack: str) -> Path:
    return backend / ".pulumi" / "stacks" / project / f"{stack}.json"


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(one) for one in value]
    if not isinstance(value, dict):
        return value
    if _SIGNATURE in value:
        if value[_SIGNATURE] != _SECRET:
            raise _Unknown(value[_SIGNATURE])
        return _HIDDEN
    return {key: _shown(one) for key, one in value.items()}
