"""What the platform's program costs on the engine, against programs that do as good as nothing.

`python -m benchmarks.platform [--rounds 3] [--stacks local,prod] [--json]`

On one engine and one kind of provider, which records what it is told and makes nothing real, three
programs take turns in processes of their own: the platform's, one with as many trivial resources
(Pub/Sub topics with a name and no more), and an empty one. Each process runs a first preview,
which also loads the modules that the program uses, then a preview, an `up`, and a second `up` that
changes nothing. The ratio is the platform's time to that of the trivial program. Previews and the
second `up` are repeated in each process, since one alone says little. Beside it: what loading
costs, by module, and what the policies cost, for which nothing is brought up.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

from pulumi import automation
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from esteira.engine import policies, stack
from esteira.paths import ROOT

STACKS: Final = ("local", "prod")
PROGRAMS: Final = ("empty", "trivial", "esteira")
OPERATIONS: Final = ("first", "preview", "up", "unchanged")
PREVIEWS: Final = OPERATIONS[:2]
REPEATED: Final = {"preview": 3, "unchanged": 3}
"""How often a process does an operation; once what is not named. Its time is the median."""
MOST: Final = 1.5
"""The ratio to the trivial program that may not be exceeded, once all modules are loaded."""


def empty() -> None:
    """A program without resources."""


def trivial(count: int) -> Callable[[], None]:
    """A program of topics, each with a name and no more."""

    def program() -> None:
        import pulumi_gcp as gcp

        for number in range(count):
            gcp.pubsub.Topic(f"topic-{number}", name=f"topic-{number}", project="a-project")

    return program


def measure(
    program: str, name: str, count: int, operations: Sequence[str], *, judged: bool
) -> dict[str, Any]:
    """Seconds of operations of one program, in this process, on a state of its own.

    Args:
        program: One of `PROGRAMS`.
        name: The stack whose settings count.
        count: Resources of the trivial program.
        operations: Some of `OPERATIONS`, in their order.
        judged: Whether policies judge the previews and the first `up`.
    """
    with stack.opened(name, offline=True, progress=lambda _: None) as opened:
        on = opened.raw
        if program != "esteira":
            on.workspace.program = empty if program == "empty" else trivial(count)
        seconds: dict[str, float] = {}
        # Nothing is switched on, so there is nothing to wait for.
        no_wait = automation.ConfigValue("0")
        on.set_config("esteira:apis.propagationSeconds", no_wait, path=True)
        judging: dict[str, Any] = policies.judging() if judged else {}
        changes: dict[str, int] = {}
        for operation in operations:
            took: list[float] = []
            for _ in range(REPEATED.get(operation, 1)):
                began = time.perf_counter()
                with on.brief() as summary:
                    if operation in PREVIEWS:
                        on.preview(on_event=summary, color="never", **judging)
                    else:
                        given = judging if operation == "up" else {}
                        on.up(on_event=summary, color="never", suppress_outputs=True, **given)
                took.append(time.perf_counter() - began)
                changes = summary.changes
            seconds[operation] = statistics.median(took)
    if operations[-1] == "unchanged" and set(changes) - {"same"}:
        raise RuntimeError(f"{program} on {name}: a second up changed something: {changes}")
    return {"seconds": seconds, "resources": sum(changes.values())}


def in_process(*words: str) -> tuple[dict[str, Any], str]:
    """`measure` in a process of its own: what it printed, and its errors."""
    ended = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{ended.stderr[-3000:]}")
    return json.loads(ended.stdout), ended.stderr


def one(
    program: str,
    name: str,
    count: int,
    operations: Sequence[str] = OPERATIONS,
    *,
    judged: bool = False,
) -> dict[str, Any]:
    """One measurement in a process of its own."""
    words = ["-m", "benchmarks.platform", "--measure", program, "--stacks", name]
    words += ["--count", str(count), "--operations", ",".join(operations)]
    return in_process(*words, *(["--judged"] if judged else []))[0]


def imports(name: str) -> dict[str, float]:
    """Milliseconds that modules take to be loaded while the program is previewed, by package.

    A package's time is its own modules' only, not that of what they import in turn.
    """
    words = ["-X", "importtime", "-m", "benchmarks.platform", "--measure", "esteira"]
    _, errors = in_process(*words, "--stacks", name, "--operations", "first")
    own: dict[str, float] = defaultdict(float)
    for micros, module in re.findall(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)", errors):
        parts = module.split(".")
        ours = parts[0] in ("pulumi_gcp", "stacks", "components", "workloads")
        own[".".join(parts[:2]) if ours else parts[0]] += int(micros) / 1000
    return dict(sorted(own.items(), key=lambda pair: -pair[1])[:12])


def compare(name: str, rounds: int, tell: Callable[[], None]) -> dict[str, Any]:
    """All programs on one stack, in turns."""
    count = one("esteira", name, 0, ["first"])["resources"]
    taken: dict[str, dict[str, list[float]]] = {
        program: {operation: [] for operation in OPERATIONS} for program in PROGRAMS
    }
    judged: list[float] = []
    for _ in range(rounds):
        for program in PROGRAMS:
            for operation, seconds in one(program, name, count)["seconds"].items():
                taken[program][operation].append(seconds)
            tell()
        told = one("esteira", name, count, PREVIEWS, judged=True)
        judged.append(told["seconds"]["preview"])
        tell()
    middle = {
        program: {operation: round(statistics.median(all_), 3) for operation, all_ in by.items()}
        for program, by in taken.items()
    }
    return {
        "resources": count,
        "seconds": middle,
        "ratio": {
            operation: round(middle["esteira"][operation] / middle["trivial"][operation], 2)
            for operation in OPERATIONS
        },
        "policies_ms_per_resource": round(
            1000 * (statistics.median(judged) - middle["esteira"]["preview"]) / count, 1
        ),
    }


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a ratio is above `MOST`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.platform", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", choices=PROGRAMS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--judged", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--operations", default=",".join(OPERATIONS), help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    operations = [each for each in OPERATIONS if each in given.operations.split(",")]
    names = given.stacks.split(",")
    if given.measure:
        found = measure(given.measure, names[0], given.count, operations, judged=given.judged)
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=len(names) * given.rounds * 4)
        found = {
            name: compare(name, given.rounds, lambda: progress.advance(task)) for name in names
        }
        loaded = imports(names[-1])
    report = {"most": MOST, "stacks": found, "imports_ms": loaded}
    if given.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        show(report)
    worst = max(
        ratio
        for by in found.values()
        for operation, ratio in by["ratio"].items()
        if operation != "first"
    )
    return 0 if worst <= MOST else 1


def show(report: dict[str, Any]) -> None:
    """The report as tables."""
    console = Console(width=100)
    for name, found in report["stacks"].items():
        table = Table(title=f"{name}: {found['resources']} resources, seconds")
        for heading in ("", *PROGRAMS, "ratio to trivial"):
            table.add_column(heading, justify="right" if heading else "left")
        for operation in OPERATIONS:
            table.add_row(
                operation,
                *(f"{found['seconds'][program][operation]:.2f}" for program in PROGRAMS),
                f"{found['ratio'][operation]:.2f}",
            )
        console.print(table)
        console.print(f"policies: {found['policies_ms_per_resource']} ms a resource\n")
    table = Table(title="importing, milliseconds of own modules")
    table.add_column("package")
    table.add_column("ms", justify="right")
    for module, ms in report["imports_ms"].items():
        table.add_row(module, f"{ms:.0f}")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
