"""`python -m tests.workloads.monitoring.mortal`: forks the monitoring job, and has it killed.

A fork is the job as its container runs it, imports apart, with the environment of its order. Before
the act whose number is in the order, it ends by SIGKILL: an act is anything that it asks of, or
tells, what is outside. The names of its acts go to the file `acts`, a line each.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.localcloud.forking import forks
from workloads import product as products
from workloads.monitoring import __main__ as job
from workloads.monitoring.job import Edge


class Act:
    """Counts acts, and dies before one of them."""

    def __init__(self, names: Path, die: int | None) -> None:
        self._names = names
        self._die = die
        self._count = 0

    def before(self, name: str) -> None:
        if self._count == self._die:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1
        with self._names.open("a") as file:
            file.write(f"{name}\n")

    def around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*given: Any, **named: Any) -> Any:
            self.before(name)
            return real(*given, **named)

        return act


class Watched:
    """An object whose methods are acts."""

    def __init__(self, name: str, real: Any, act: Act) -> None:
        self._name, self._real, self._act = name, real, act

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        return self._act.around(f"{self._name}.{name}", found) if callable(found) else found


def mortal(edge: Edge, act: Act) -> Edge:
    """The same outside, each use of which may be the last thing that the process does."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(edge):
        real = getattr(edge, field.name)
        has_methods = any(hasattr(real, name) for name in ("write", "read"))
        watched = Watched(field.name, real, act) if has_methods else act.around(field.name, real)
        changed[field.name] = watched
    return dataclasses.replace(edge, **changed)


def become(order: dict[str, Any]) -> None:
    """In the fork: be the job of a product that raises its alarm at the first window."""
    act = Act(Path(order["acts"]), order["die"])
    real, load = Edge.of, products.load

    def of(*given: Any) -> Edge:
        return mortal(real(*given), act)

    def declared(name: str) -> products.Product:
        found = load(name)
        # Slices take as many queries again, and none of the steps.
        ours = dataclasses.replace(found.monitoring, least=1, of=2, slices=())
        return dataclasses.replace(found, monitoring=ours)

    Edge.of = of  # pyright: ignore[reportAttributeAccessIssue]
    products.load = declared
    sys.exit(job.main())


if __name__ == "__main__":
    forks(become)
