"""What changes between two plans, where there is no state to compare with.

A replacement is told as the provider's Diff tells it: by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping

from esteira.review.plan import Change, Difference, Kind, Resource, ordered
from esteira.review.values import unknown_in
from localcloud.provider import diff, schema
from localcloud.provider.values import UNKNOWN


def changes(before: Mapping[str, Resource], after: Mapping[str, Resource]) -> tuple[Change, ...]:
    """What becomes of each resource when the plan `before` gives way to `after`, by URN."""
    found: list[Change] = []
    for urn in sorted({*before, *after}):
        old, new = before.get(urn), after.get(urn)
        if old is None:
            found.append(Change(kind=Kind.CREATE, new=new))
        elif new is None:
            found.append(Change(kind=Kind.DELETE, old=old))
        elif changed := differences(old, new):
            replaces = any(one.replaces for one in changed)
            kind = Kind.REPLACE if replaces else Kind.UPDATE
            found.append(Change(kind=kind, old=old, new=new, differences=changed))
    return ordered(_followed(found, before, after))


def _followed(
    found: list[Change], before: Mapping[str, Resource], after: Mapping[str, Resource]
) -> list[Change]:
    """Also what changes because something that it takes a value from is made anew.

    The value is known on neither side, yet it will be another one: a subscription goes with its
    topic. Grants are left out: nothing takes a value from them, all that waits is their order.
    """
    changes = {one.resource.urn: one for one in found}
    waiting = [urn for urn, one in changes.items() if one.kind is Kind.REPLACE]
    while waiting:
        anew = waiting.pop()
        if "IAMMember" in anew or "IamMember" in anew:
            continue
        for urn in sorted(before.keys() & after.keys()):
            old, new = before[urn], after[urn]
            known = {one.path for one in changes[urn].differences} if urn in changes else set()
            come = [
                _moved(new, name, {anew})
                for name, urns in sorted(new.dependencies.items())
                if anew in urns
                and anew in old.dependencies.get(name, ())
                and not any(path == name or path.startswith(f"{name}.") for path in known)
                and unknown_in(old.inputs.get(name))
                and unknown_in(new.inputs.get(name))
            ]
            if not come:
                continue
            differences = (*(changes[urn].differences if urn in changes else ()), *come)
            differences = tuple(sorted(differences, key=lambda one: one.path))
            was = changes[urn].kind if urn in changes else Kind.UPDATE
            kind = Kind.REPLACE if any(one.replaces for one in differences) else was
            if kind is Kind.REPLACE and was is not Kind.REPLACE:
                waiting.append(urn)
            changes[urn] = Change(kind=kind, old=old, new=new, differences=differences)
    return list(changes.values())


def _moved(resource: Resource, name: str, come: set[str]) -> Difference:
    """A property whose value is known neither before nor after, but comes from elsewhere."""
    known = _schema(resource.type)
    replaces = any(
        one.replaces
        for one in diff.planned_changes(known, {name: "old"}, {name: "new"}, ignored=())
    )
    return Difference(
        path=name,
        old=UNKNOWN,
        new=UNKNOWN,
        replaces=replaces,
        moved=tuple(sorted(urn.rpartition("::")[2] for urn in come)),
    )


def _schema(token: str) -> schema.Resource:
    try:
        return schema.resource(token)
    except schema.NoSuchResource:
        # Of another provider: what changes can be told, what it would replace cannot.
        return schema.Resource(token, None, {}, {}, None, open=True)


def differences(old: Resource, new: Resource) -> tuple[Difference, ...]:
    """The properties of one resource that change, in the order of their paths."""
    known = _schema(new.type)
    found = {
        one.path: Difference(
            path=one.path,
            old=_at(old.inputs, one.keys),
            new=_at(new.inputs, one.keys),
            replaces=one.replaces,
        )
        for one in diff.planned_changes(known, old.inputs, new.inputs, ignored=new.ignored)
    }
    for name, urns in new.dependencies.items():
        # Neither value is known, but each comes from somewhere: from elsewhere is a change.
        before = set(old.dependencies.get(name, ()))
        gone, come = before - set(urns), set(urns) - before
        if gone and come and name not in found and unknown_in(new.inputs.get(name)):
            found[name] = _moved(new, name, come)
    if old.protect != new.protect:
        found["protect"] = Difference(path="protect", old=old.protect, new=new.protect)
    return tuple(found[path] for path in sorted(found))


def _at(values: object, keys: tuple[str | int, ...]) -> object:
    for key in keys:
        if isinstance(values, Mapping):
            values = values.get(key)
        elif isinstance(values, list) and isinstance(key, int) and key < len(values):
            values = values[key]
        else:
            return None
    return values
