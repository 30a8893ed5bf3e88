"""Points this process at the cloud of a stack, as a workload there would be."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import yaml

from esteira.engine.known import LOCAL_STACK, UnknownStack, stacks
from esteira.paths import ROOT

_SETTINGS: Final = {
    "GOOGLE_CLOUD_PROJECT": "esteira:project",
    "GOOGLE_CLOUD_LOCATION": "esteira:location",
}


def connect(stack: str, progress: Callable[[str], None] = lambda _: None) -> None:
    """Set the variables that Google's clients read. Starts the local cloud for the local stack.

    Raises:
        UnknownStack: there is no settings file of that name.
    """
    if stack == LOCAL_STACK:
        from esteira import local

        os.environ.update(local.start(progress).environment())
        return
    file = ROOT / f"Pulumi.{stack}.yaml"
    if not file.exists():
        raise UnknownStack(f"no stack {stack!r}; there are: {', '.join(stacks())}")
    settings: dict[str, Any] = (yaml.safe_load(file.read_text()) or {}).get("config", {})
    for variable, key in _SETTINGS.items():
        if key in settings:
            os.environ[variable] = str(settings[key])


def track(outputs: dict[str, Any]) -> None:
    """Have what this process trains and releases logged to the stack's MLflow, if it has one.

    Args:
        outputs: Of the whole stack.
    """
    url = ((outputs.get("esteira") or {}).get("tracking") or {}).get("url")
    os.environ["MLFLOW_TRACKING_URI"] = url or ""
