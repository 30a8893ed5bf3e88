"""The outputs of a stack, and the forms that they are printed in.

Nearly every command asks where things are, so this is kept quick: those of the local stack are read
where its state lies, and no engine is started.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from esteira.engine import state
from esteira.engine.known import LOCAL_STACK, PROJECT
from esteira.paths import STACK_STATE


def of(name: str, console: Console) -> dict[str, Any]:
    """The outputs of a stack; secret ones are hidden.

    Raises:
        UnknownStack: there is no settings file of that name.
    """
    if name == LOCAL_STACK:
        found = state.outputs(STACK_STATE, PROJECT, name)
        if found is not None:
            return found
    from esteira.engine.stack import opened

    with (
        console.status(f"{name}: outputs") as status,
        opened(name, progress=lambda line: status.update(escape(line))) as stack,
    ):
        return stack.outputs()


def flattened(document: Any, prefix: str = "") -> dict[str, Any]:
    """Nested outputs as one level, `a.b.c` to a plain value."""
    if isinstance(document, dict):
        flat: dict[str, Any] = {}
        for key, value in document.items():
            flat |= flattened(value, f"{prefix}.{key}" if prefix else str(key))
        return flat
    if isinstance(document, list):
        return flattened(dict(enumerate(document)), prefix)
    return {prefix: document}


def environment_of(document: Any) -> dict[str, str]:
    """Outputs as variables for a shell: `ESTEIRA_A_B_C='value'`."""
    import shlex

    return {
        "ESTEIRA_" + "".join(c if c.isalnum() else "_" for c in name).upper(): shlex.quote(
            "" if value is None else str(value)
        )
        for name, value in flattened(document).items()
    }
