"""A new product that takes in nothing: it shares another's sources and builds on its query."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from esteira.scaffold import Scaffold
from workloads.contracts import Contract
from workloads.product import METRICS, Product, Source

_WIDTH: Final = 100
_FILES: Final = {
    "like_package.py": "__init__.py",
    "like_contracts.py": "contracts.py",
    "like_features.sql": "features.sql",
    "like_product.py": "product.py",
}


@dataclass(frozen=True, kw_only=True)
class Likeness(Scaffold):
    """What a new product is called, and which other it is like.

    Raises:
        InvalidName: at construction; says what is allowed.
    """

    like: Product

    @classmethod
    def of(cls, like: Product, name: str, owner: str, cost_center: str) -> Likeness:
        """A product of the task of another."""
        return cls(name=name, task=like.task, owner=owner, cost_center=cost_center, like=like)

    def _test(self) -> str:
        return "like_test.py"

    def _templates(self) -> dict[str, str]:
        return {**_FILES, f"training_{self.task.value}.py": "training.py"}

    def _words(self) -> dict[str, str]:
        like, gate = self.like, self.like.gate
        request = like.features.request
        ours = f"workloads.products.{self.id}.contracts"
        imported = {ours: ["Question"]}
        for one in like.sources:
            imported.setdefault(one.contract.__module__, []).append(one.contract.__name__)
        higher = METRICS[self.task][gate.metric]
        return {
            **super()._words(),
            "like": like.name,
            "base_import": _import(request.__module__, [f"{request.__name__} as Asked"]),
            "imports": "\n".join(
                _import(module, sorted(names)) for module, names in sorted(imported.items())
            ),
            "sources": "\n".join(f"        {_source(one, like)}" for one in like.sources),
            "tables": ", ".join(f"{{{one.contract.PLURAL}}}" for one in like.sources),
            "entity": like.features.entity,
            "event_time": like.features.event_time,
            "label": like.label.column,
            "maturity": _span(like.label.maturity),
            "interval": str(like.interval),
            "metric": gate.metric,
            "floor": repr(gate.floor),
            "gain": repr(gate.minimum_gain),
            "slices": _tuple(gate.slices),
            "slice_tolerance": repr(gate.slice_tolerance),
            "better": ">" if higher else "<",
        }


def _import(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"from {module} import (", *(f"    {one}," for one in names), ")"])


def _source(source: Source, like: Product) -> str:
    contract: type[Contract] = source.contract
    owner = source.owner or like.name
    return f'Source(contract={contract.__name__}, arrival=Arrival.SHARED, owner="{owner}"),'


def _tuple(values: tuple[str, ...]) -> str:
    inside = ", ".join(json.dumps(one) for one in values)
    return f"({inside},)" if len(values) == 1 else f"({inside})"


def _span(span: timedelta) -> str:
    whole = span % timedelta(days=1) == timedelta(0)
    return f"timedelta(days={span.days})" if whole else f"timedelta(seconds={span.total_seconds()})"
