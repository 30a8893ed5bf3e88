"""Says which products have to be trained for a commit: those whose training code has changed.

Run by `train.yml` in a checkout with its history. Writes `products`, a JSON list of names, to the
step's outputs. A person who starts the workflow names the product, or `all`.

Changed since when? Since the last commit whose models were all trained, which is known by its check
`models of STACK / trained`, and not since the last push: a push may have been overtaken by another
before its turn came, or have failed.

What is training code? The product's own folder, and every module of this checkout that the steps of
the pipeline or the product import, however far; and the image that the steps run in.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rest import Refused, Repository

PACKAGE: Final = "workloads"
PRODUCTS: Final = f"{PACKAGE}/products"
STEPS: Final = (f"{PACKAGE}/training/pipeline.py", f"{PACKAGE}/training/steps.py")
IMAGE: Final = ("requirements/training.txt", f"{PACKAGE}/images/training/")
"""Of the container that the steps run in; a folder ends with a slash."""
FURTHEST: Final = 100
"""Commits that are asked about; beyond, everything is taken for changed."""


def products(root: Path) -> list[str]:
    """The products that a checkout declares."""
    found = (root / PRODUCTS).glob("*/product.py")
    return sorted(one.parent.name.replace("_", "-") for one in found)


def sources(root: Path, product: str) -> set[str]:
    """The modules that training a product imports, as paths in the checkout."""
    own = (root / PRODUCTS / product.replace("-", "_")).rglob("*.py")
    waiting = [root / one for one in STEPS] + list(own)
    found = set[Path]()
    while waiting:
        module = waiting.pop()
        if module not in found and module.is_file():
            found.add(module)
            waiting += _imported(root, module)
    return {str(one.relative_to(root)) for one in found}


def _imported(root: Path, module: Path) -> Iterator[Path]:
    for node in _run(ast.parse(module.read_bytes()).body):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            # A dot is the module's own package, each further one the package around it.
            folder = module.relative_to(root).parents[node.level - 1] if node.level else Path()
            named = (*folder.parts, *(node.module or "").split("."))
            within = ".".join(part for part in named if part)
            # What is imported from a package may be a module of it.
            names = [within, *(f"{within}.{one.name}" for one in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] != PACKAGE:
                continue
            for count in range(1, len(parts) + 1):
                yield root.joinpath(*parts[:count], "__init__.py")
            yield root.joinpath(*parts).with_suffix(".py")


def _run(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Every statement that can run: not what is imported for the type checker alone."""
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _run(ast.iter_child_nodes(node))


def why(root: Path, product: str, changed: Iterable[str]) -> str | None:
    """A changed file for which a product has to be trained; none if there is none."""
    folder = f"{PRODUCTS}/{product.replace('-', '_')}/"
    modules = sources(root, product)
    for file in changed:
        image = any(file == one or (one.endswith("/") and file.startswith(one)) for one in IMAGE)
        if file in modules or file.startswith(folder) or image:
            return file
    return None


def trained(repository: Repository, stack: str, commits: Iterable[str]) -> str | None:
    """The first of the commits whose models were all trained; none if none of them was."""
    name = f"models of {stack} / trained"
    for commit in commits:
        checks = repository.every(f"commits/{commit}/check-runs", "check_runs", check_name=name)
        # Any application may make a check of any name.
        if any(
            one["conclusion"] == "success" and one["app"]["slug"] == "github-actions"
            for one in checks
        ):
            return commit
    return None


def _git(root: Path, *words: str) -> list[str]:
    ended = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()


def chosen(root: Path, environment: dict[str, str]) -> dict[str, str]:
    """The products to be trained, each with why."""
    known = products(root)
    asked = environment.get("PRODUCT", "")
    if asked == "all":
        return dict.fromkeys(known, "asked for")
    if asked:
        if asked not in known:
            raise SystemExit(f"::error::product is {asked!r}; allowed: all, {', '.join(known)}")
        return {asked: "asked for"}
    commits = _git(root, "rev-list", "--first-parent", f"--max-count={FURTHEST + 1}", "HEAD")
    base = trained(Repository.of_this_run(), environment["STACK"], commits[1:])
    if base is None:
        return dict.fromkeys(known, f"none of the last {FURTHEST} commits has been trained")
    changed = _git(root, "diff", "--name-only", "--no-renames", base, "HEAD")
    found = {one: why(root, one, changed) for one in known}
    return {one: f"{file} has changed since {base[:12]}" for one, file in found.items() if file}


def main() -> int:
    """Write the step's output, and why to the log."""
    try:
        found = chosen(Path.cwd(), dict(os.environ))
    except Refused as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    for product, reason in found.items():
        print(f"{product}: {reason}")  # noqa: T201
    if not found:
        print("no product's training code has changed")  # noqa: T201
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as outputs:
        outputs.write(f"products={json.dumps(sorted(found))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
