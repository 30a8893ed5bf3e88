"""Exemptions: a resource that may break a rule for a while, and why.

They are the option `exemptions` of each rule, so the rule is named by where they stand:

    {"bucket-versioning": {"exemptions": [
        {"urn": "*::scratch", "reason": "thrown away daily, see T-12", "expires": "2027-01-31"}]}}

After its last day an exemption fails the whole pack until somebody takes it out.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

FIELDS: Final = ("urn", "reason", "expires")
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "array",
    "default": [],
    "description": "Resources that may break this rule until a date",
    "items": {
        "type": "object",
        "required": list(FIELDS),
        "additionalProperties": False,
        "properties": {
            "urn": {"type": "string", "minLength": 1, "description": "Pattern of urns, with `*`"},
            "reason": {"type": "string", "minLength": 10, "description": "Why it may"},
            "expires": {
                "type": "string",
                "pattern": r"^\d{4}-\d{2}-\d{2}$",
                "description": "The last day on which it may",
            },
        },
    },
}
"""The option as the engine checks it before a rule is run."""


class InvalidExemption(ValueError):
    """An exemption that says too little."""


@dataclass(frozen=True, kw_only=True)
class Exemption:
    """One exemption of one rule.

    Raises:
        InvalidExemption: at construction, when a field is missing or does not fit.
    """

    urn: str
    reason: str
    expires: datetime.date

    @classmethod
    def read(cls, rule: str, given: Mapping[str, Any]) -> Exemption:
        """An exemption out of the rule's options."""
        for field in (*FIELDS, *given):
            if field not in FIELDS:
                allowed = ", ".join(FIELDS)
                raise InvalidExemption(
                    f"{rule}: exemptions have no `{field}`; they have: {allowed}"
                )
            if not str(given.get(field) or "").strip():
                raise InvalidExemption(
                    f"{rule}: an exemption needs `{field}`; it has {dict(given)}"
                )
        try:
            expires = datetime.date.fromisoformat(given["expires"])
        except ValueError:
            raise InvalidExemption(
                f"{rule}: `expires` is {given['expires']!r}; allowed: a day, e.g. 2027-01-31"
            ) from None
        return cls(urn=given["urn"], reason=given["reason"], expires=expires)

    def covers(self, urn: str) -> bool:
        """Whether the resource of this urn is meant."""
        return fnmatchcase(urn, self.urn)


@dataclass(frozen=True, kw_only=True)
class Exemptions:
    """All exemptions of one rule."""

    all: Sequence[Exemption]
    today: datetime.date

    @classmethod
    def of(cls, rule: str, options: Mapping[str, Any], today: datetime.date) -> Exemptions:
        """Those that a rule's options hold.

        Raises:
            InvalidExemption: one says too little.
        """
        listed = options.get("exemptions") or ()
        return cls(all=[Exemption.read(rule, one) for one in listed], today=today)

    def allows(self, urn: str) -> Exemption | None:
        """The exemption that lets this resource break the rule today."""
        return next((x for x in self.all if x.covers(urn) and x.expires >= self.today), None)


def today() -> datetime.date:
    """The day that exemptions are held against, the same wherever a stack is updated from."""
    return datetime.datetime.now(datetime.UTC).date()


def faults(options: Mapping[str, Mapping[str, Any]], today: datetime.date) -> Iterator[str]:
    """What is wrong with exemptions, whatever they cover: an ended one is a debt that is due.

    It is so where its resource keeps the rule by now, or is gone, or the rule only advises.

    Args:
        options: Of each rule, by its name.
        today: The day.
    """
    for rule, given in sorted(options.items()):
        for one in given.get("exemptions") or ():
            try:
                exemption = Exemption.read(rule, one)
            except InvalidExemption as error:
                yield str(error)
                continue
            if exemption.expires < today:
                yield (
                    f"{rule}: the exemption of `{exemption.urn}` ended on {exemption.expires} "
                    f"({exemption.reason}); mend what it was for and take it out, or agree on "
                    "another day"
                )
