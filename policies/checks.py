"""The checks that many rules share, and how they read properties.

A path is written as Pulumi writes it, `settings.ipConfiguration.sslMode`; `*` stands for each
element of a list. Only what lies on the path is read, so that an unknown value elsewhere does not
keep a rule from its verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from policies.rule import Check, Resource

PUBLIC: Final = ("allUsers", "allAuthenticatedUsers")
"""IAM's names for everyone, and for everyone with a Google account."""
DEFAULT_ACCOUNTS: Final = (
    "-compute@developer.gserviceaccount.com",
    "@appspot.gserviceaccount.com",
    "@cloudservices.gserviceaccount.com",
)
"""Ends of the addresses that Google makes in every project, and grants the editor role."""
ANYWHERE: Final = ("0.0.0.0/0", "::/0")


def at(props: Any, path: str) -> Any:
    """The value at a path without `*`; None where there is none."""
    value = props
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = cast("Mapping[str, Any]", value).get(part)
    return value


def each(props: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value at a path that may hold `*`, with the path that it was found at."""
    before, star, after = path.partition(".*")
    found = at(props, before)
    if not star:
        yield path, found
        return
    for index in range(len(_listed(found))):
        where = f"{before}[{index}]"
        if after:
            for deeper, value in each(found[index], after.removeprefix(".")):
                yield f"{where}.{deeper}", value
        else:
            yield where, found[index]


def texts(value: Any) -> list[str]:
    """The texts of a list; none where there is no list."""
    return [str(one) for one in _listed(value)]


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return ()
    return cast("Sequence[Any]", value)


def shown(value: Any) -> str:
    """A value as a message names it."""
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return f"`{value}`"


def is_set(*paths: str) -> Check:
    """Each property has a value."""

    def check(resource: Resource) -> Iterator[str]:
        for path in paths:
            for where, value in each(resource.props, path):
                if not value:
                    yield f"`{where}` is not set"

    return check


def is_true(path: str) -> Check:
    """The property is true; not being set is not enough."""
    return equals(path, True)


def not_true(path: str) -> Check:
    """The property is not true; not being set will do."""

    def check(resource: Resource) -> Iterator[str]:
        if at(resource.props, path) is True:
            yield f"`{path}` is true; it has to be false"

    return check


def not_false(path: str) -> Check:
    """The property is not false; not being set will do, for Google's default is true."""

    def check(resource: Resource) -> Iterator[str]:
        if at(resource.props, path) is False:
            yield f"`{path}` is false; it has to be true"

    return check


def equals(path: str, wanted: Any) -> Check:
    """The property has one value and no other."""

    def check(resource: Resource) -> Iterator[str]:
        for where, value in each(resource.props, path):
            if value != wanted:
                yield f"`{where}` is {shown(value)}; it has to be {shown(wanted)}"

    return check


def one_of(path: str, *allowed: str) -> Check:
    """The property has one of some values."""

    def check(resource: Resource) -> Iterator[str]:
        value = at(resource.props, path)
        if value not in allowed:
            words = " or ".join(f"`{one}`" for one in allowed)
            yield f"`{path}` is {shown(value)}; it has to be {words}"

    return check


def for_types(types: Sequence[str], *checks: Check) -> Check:
    """Checks that only some of a rule's types are held to."""

    def check(resource: Resource) -> Iterator[str]:
        if resource.type in types:
            for one in checks:
                yield from one(resource)

    return check


def members(props: Mapping[str, Any]) -> Iterator[str]:
    """Everyone to whom an IAM resource grants: a member, a binding's members, a policy's all."""
    if "policyData" in props:
        policy = json.loads(props["policyData"])
        for binding in policy.get("bindings", []):
            yield from binding.get("members", [])
        return
    if member := props.get("member"):
        yield str(member)
    yield from texts(props.get("members"))


def no_public_member(resource: Resource) -> Iterator[str]:
    """Grants nothing to everyone."""
    for member in members(resource.props):
        if member in PUBLIC:
            yield f"grants {resource.props.get('role', 'a role')} to `{member}`"


def own_account(path: str) -> Check:
    """The property is the address of a service account, and not of one that Google made."""

    def check(resource: Resource) -> Iterator[str]:
        account = at(resource.props, path)
        if not account or account == "default":
            yield f"`{path}` is {shown(account)}, which means the project's default account"
        elif str(account).endswith(DEFAULT_ACCOUNTS):
            yield f"`{path}` is the default account `{account}`"

    return check
