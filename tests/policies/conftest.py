"""The pack's own process, to which tests show resources."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from esteira.engine import policies
from tests.policies.examples import Example


@dataclass(frozen=True)
class Verdict:
    """What one policy says."""

    violations: list[tuple[str, str]]
    """Name of the resource, message."""
    undecided: str
    not_applicable: str
    error: str

    @property
    def silent(self) -> bool:
        """Whether nobody would notice that the policy was run."""
        return not (self.violations or self.undecided or self.error)


type Judge = Callable[..., Verdict]


@pytest.fixture(scope="session")
def process() -> Iterator[subprocess.Popen[str]]:
    if not policies.ready():
        pytest.skip("the policies have no environment; `make setup` makes it")
    command = [str(policies.PYTHON), str(Path(__file__).with_name("judge.py"))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as judge:
        yield judge
        assert judge.stdin is not None
        judge.stdin.close()


@pytest.fixture(scope="session")
def judge(process: subprocess.Popen[str]) -> Judge:
    """Judges resources by one rule, as the engine calls it."""

    def ask(
        rule: str, *resources: dict[str, Any], options: dict[str, Any] | None = None
    ) -> Verdict:
        assert process.stdin is not None
        assert process.stdout is not None
        case = {"rule": rule, "options": options or {}, "resources": resources}
        process.stdin.write(json.dumps(case) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        answer["violations"] = [tuple(one) for one in answer["violations"]]
        return Verdict(**answer)

    return ask


def resource(example: Example, *unknown: list[str | int]) -> dict[str, Any]:
    """An example as the judge takes it, with some values not known yet."""
    return {
        "type": example.type,
        "name": "example",
        "props": example.props,
        "protected": example.protected,
        "provider": example.provider,
        "unknown": list(unknown),
    }
