"""Roles on one resource: added where they are missing, never taken from anyone else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from esteira.project.calls import Calls
from esteira.project.step import Change

Policy = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Binding:
    """A role for a member."""

    role: str
    member: str
    condition: Mapping[str, str] | None = None
    """With `title`, `description`, `expression`. A binding of the same title is replaced."""


@final
@dataclass(kw_only=True)
class Granted:
    """Members have roles on a resource.

    Args:
        get: makes the request that reads the resource's policy.
        set_: makes the request that replaces it with a policy.
        before: called first, to find out what `wanted` needs.
        warn: what a person should know about a policy.
    """

    subject: str
    wanted: Callable[[], Sequence[Binding]]
    get: Callable[[], Any]
    set_: Callable[[Policy], Any]
    before: Callable[[Calls], None] = lambda _: None
    warn: Callable[[Policy], Sequence[str]] = lambda _: ()

    def look(self, calls: Calls) -> Policy:
        self.before(calls)
        return calls.read(self.get()) or {}

    def changes(self, found: Policy) -> Sequence[Change]:
        bindings = [dict(one) for one in found.get("bindings", ())]
        added: dict[str, list[str]] = {}
        for binding in self.wanted():
            if not _held(bindings, binding):
                _without_predecessor(bindings, binding)
                _add(bindings, binding)
                added.setdefault(binding.member, []).append(binding.role)
        if not added:
            return ()
        conditional = any("condition" in one for one in bindings)
        policy = {**found, "bindings": bindings, "version": 3 if conditional else 1}
        what = "; ".join(f"grant {', '.join(roles)} to {who}" for who, roles in added.items())
        return [Change(what=what, request=self.set_(policy))]

    def notes(self, found: Policy) -> Sequence[str]:
        return self.warn(found)


def _held(bindings: Sequence[Policy], wanted: Binding) -> bool:
    return any(
        one.get("role") == wanted.role
        and wanted.member in one.get("members", ())
        and _expression(one) == (wanted.condition or {}).get("expression", "")
        for one in bindings
    )


def _expression(binding: Policy) -> str:
    return str(binding.get("condition", {}).get("expression", ""))


def _without_predecessor(bindings: list[Policy], wanted: Binding) -> None:
    """Take the member out of a binding that had the same condition in an older wording."""
    if wanted.condition is None:
        return
    for one in list(bindings):
        same = one.get("condition", {}).get("title") == wanted.condition["title"]
        if same and one.get("role") == wanted.role and wanted.member in one.get("members", ()):
            one["members"] = [member for member in one["members"] if member != wanted.member]
            if not one["members"]:
                bindings.remove(one)


def _add(bindings: list[Policy], wanted: Binding) -> None:
    for one in bindings:
        expression = (wanted.condition or {}).get("expression", "")
        if one.get("role") == wanted.role and _expression(one) == expression:
            one["members"] = [*one.get("members", ()), wanted.member]
            return
    made: Policy = {"role": wanted.role, "members": [wanted.member]}
    if wanted.condition is not None:
        made["condition"] = dict(wanted.condition)
    bindings.append(made)
