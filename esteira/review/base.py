"""The plan of the program at another revision, for a change that is not merged yet."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from esteira.paths import ROOT
from esteira.review import images
from esteira.review.plan import Plan, read
from esteira.review.planned import Planned

_PATIENCE: Final = 600.0
"""Seconds that a preview may take; a big stack on a small machine takes one minute."""
# No hook of the repository runs: nothing but its files is wanted.
_WORKTREE_ADD: Final = (
    *("git", "-c", "core.hooksPath=/dev/null"),
    *("worktree", "add", "--detach", "--quiet"),
)
_PLAN: Final = (sys.executable, "-m", "esteira.review.planned")


class NoSuchRevision(ValueError):
    """Git has no revision of that name here."""


class NoBase(ValueError):
    """There is nothing that a change could be compared with; the message says why."""


class BaseFailed(RuntimeError):
    """The program at the revision could not be previewed; the message is what it said."""


class NewStack(ValueError):
    """The revision has no settings of the stack: it is new."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A commit to compare with."""

    ref: str
    """As it was asked for."""
    commit: str
    """The commit where the two histories part, or the ref's own where that is not known."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """What the program at a revision plans."""

    planned: Planned
    plan: Plan
    images: dict[str, str]
    """See `images.digests`."""


def resolve(ref: str, root: Path = ROOT) -> Revision:
    """The commit to compare with: where this branch left `ref`, as a pull request shows it.

    Raises:
        NoSuchRevision: with what to fetch.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        raise NoSuchRevision(
            f"--base {ref}: Git knows no such revision in {root}; name a branch, tag or commit, "
            f"and fetch it first where the checkout is shallow: git fetch --depth=1 origin <branch>"
        )
    # In a shallow checkout the histories may have no commit in common.
    return Revision(ref=ref, commit=_git(root, "merge-base", "HEAD", commit) or commit)


def default(root: Path = ROOT) -> Revision:
    """The commit to compare with where none is named: where this branch left what it goes into.

    That is the pull request's own base branch in its workflow, else the remote's default branch,
    else `main`.

    Raises:
        NoBase: with why there is none.
    """
    if _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") is None:
        raise NoBase(f"{root} is no Git checkout with a commit")
    target = os.environ.get("GITHUB_BASE_REF")
    # As a name that says which branch it is.
    remote = _git(root, "rev-parse", "--abbrev-ref", "--verify", "--quiet", "origin/HEAD")
    asked = [*([f"origin/{target}"] if target else []), remote or "origin/HEAD", "main"]
    for ref in asked:
        try:
            found = resolve(ref, root)
        except NoSuchRevision:
            continue
        shallow = _git(root, "rev-parse", "--is-shallow-repository") == "true"
        if not shallow and _git(root, "rev-list", "--max-count=2", "--count", "HEAD") == "1":
            raise NoBase("HEAD is the first commit")
        return found
    raise NoBase(f"Git knows none of {', '.join(asked)} here; fetch one, or name another")


@contextlib.contextmanager
def planning(revision: Revision, stack: str, root: Path = ROOT) -> Iterator[Planning]:
    """Start to preview the stack at a revision, in a process beside this one.

    Raises:
        NewStack: the revision has no such stack.
        BaseFailed: there is no room for its files.
    """
    with tempfile.TemporaryDirectory(prefix="esteira-base-") as folder:
        tree = Path(folder).resolve() / "tree"
        made = subprocess.run(
            [*_WORKTREE_ADD, str(tree), revision.commit],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            if made.returncode:
                raise BaseFailed(made.stderr.strip())
            if not (tree / f"Pulumi.{stack}.yaml").is_file():
                raise NewStack(f"{revision.ref} has no Pulumi.{stack}.yaml")
            with subprocess.Popen(
                [*_PLAN, "--checkout", tree, "--to", tree.parent / "plan.json", stack],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                try:
                    yield Planning(process, tree)
                finally:
                    if process.poll() is None:
                        process.terminate()
        finally:
            _git(root, "worktree", "remove", "--force", str(tree))
            _git(root, "worktree", "prune")


class Planning:
    """A preview that runs beside this process."""

    def __init__(self, process: subprocess.Popen[str], tree: Path) -> None:
        self._process = process
        self._tree = tree

    def result(self) -> Base:
        """Wait for it.

        Raises:
            BaseFailed: with the last that it said.
        """
        try:
            _, said = self._process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise BaseFailed(f"it took longer than {_PATIENCE:.0f} s") from error
        if self._process.returncode:
            lines = [line for line in said.strip().splitlines() if line.strip()]
            raise BaseFailed(
                lines[-1].replace(f"{self._tree}/", "") if lines else "it said nothing"
            )
        planned = Planned.from_dict(json.loads((self._tree.parent / "plan.json").read_text()))
        plan = read(planned.digest, self._tree)
        return Base(
            planned=planned, plan=plan, images=images.digests(plan.resources.values(), self._tree)
        )


def _git(root: Path, *words: str) -> str | None:
    """What Git says, or None if it fails."""
    try:
        ran = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # there is no Git
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
