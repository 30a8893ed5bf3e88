"""The local cloud of this checkout."""

from __future__ import annotations

from collections.abc import Callable

from esteira.paths import LOCAL
from localcloud import daemon
from localcloud.home import Endpoints, Home


def home() -> Home:
    """Where the local cloud of this checkout keeps its state."""
    return Home(LOCAL)


def start(progress: Callable[[str], None] = lambda _: None) -> Endpoints:
    """Bring it up, if it is not, and wait until every service answers."""
    return daemon.start(home(), progress=progress)


def shell_exports(endpoints: Endpoints) -> str:
    """The variables that point any Google client, and `pulumi`, at it, as shell exports."""
    return "\n".join(f"export {name}={value}" for name, value in endpoints.environment().items())
