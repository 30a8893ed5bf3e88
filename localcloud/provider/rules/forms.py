"""Forms that values have wherever they appear: keys, principals, addresses, schedules, labels."""

from __future__ import annotations

import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.given import Given

_KEY: Final = re.compile(
    r"(?:(?:https:)?//cloudkms\.googleapis\.com/(?:v1/)?)?"
    r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+(?:/cryptoKeyVersions/\d+)?"
)
_REGION: Final = re.compile(r"(?:\S*/)?[a-z]+(?:-[a-z]+)+\d{1,2}")
_EMAIL: Final = re.compile(r"[^@\s:/]+@[^@\s/]+\.[^@\s/]+")
_ACCOUNT: Final = re.compile(
    r"(?:projects/[^/]+/serviceAccounts/)?(?:[^@\s:/]+@[^@\s/]+\.[^@\s/]+|\d+)|default|-"
)


def _key(text: str) -> str | None:
    if _KEY.fullmatch(text):
        return None
    return "is no key; write it projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY"


def _email(text: str) -> str | None:
    return None if _EMAIL.fullmatch(text) else "is no e-mail address; write it NAME@DOMAIN"


def _account(text: str) -> str | None:
    if _ACCOUNT.fullmatch(text):
        return None
    return "is no service account; give its e-mail, NAME@PROJECT.iam.gserviceaccount.com"


def _cidr(text: str) -> str | None:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "is no range of addresses; write it in CIDR notation, such as 10.0.0.0/24"
    return None


def _zone(text: str) -> str | None:
    try:
        zoneinfo.ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        return "is no time zone; give a name of the tz database, such as America/Sao_Paulo"
    return None


# cloud.google.com/kms/docs/resource-hierarchy, cloud.google.com/iam/docs/service-accounts-create,
# cloud.google.com/compute/docs/regions-zones, www.iana.org/time-zones.
_BY_NAME: Final[dict[str, Callable[[str], str | None]]] = {
    **dict.fromkeys(
        ("kmsKeyName", "defaultKmsKeyName", "encryptionKeyName", "encryptionKey", "kmsKey"), _key
    ),
    **dict.fromkeys(("serviceAccountEmail", "userByEmail", "groupByEmail"), _email),
    "serviceAccount": _account,
    "timeZone": _zone,
    **dict.fromkeys(
        ("sourceRanges", "destinationRanges", "ipCidrRange", "sourceIpRanges", "cidrBlock",
         "allowedIpCidrRanges", "masterIpv4CidrBlock"),
        _cidr,
    ),
}  # fmt: skip
# Their `region` may be a multi-region, or is not one of Google Cloud's.
_OTHER_REGIONS: Final = ("gcp:datacatalog/",)


def wrong(name: str, text: str) -> str | None:
    """Why a text is refused as a property of this name, at any depth; None where it is taken."""
    form = _BY_NAME.get(name)
    return form(text) if form is not None and text else None


def judge(given: Given) -> Iterator[Failure]:
    """Regions, labels and principals that are no such things."""
    region = given.one("region")
    if (
        isinstance(region, str)
        and region
        and not given.token.startswith(_OTHER_REGIONS)
        and not _REGION.fullmatch(region)
    ):
        yield given.refuse(("region",), region, "is no region; give one such as us-central1")
    for name in ("labels", "userLabels", "resourceLabels", "settings.userLabels"):
        # A notification channel's labels hold its address.
        if name != "labels" or not given.token.startswith("gcp:monitoring/"):
            yield from _labels(given, name)
    if _IAM.search(given.token):
        yield from _grant(given)


# cloud.google.com/compute/docs/labeling-resources#requirements
_MANY_LABELS: Final = 64
_LABEL: Final = re.compile(r"[\w-]{0,63}")


def _labels(given: Given, name: str) -> Iterator[Failure]:
    for where, labels in given.at(name):
        if not isinstance(labels, Mapping):
            continue
        if len(labels) > _MANY_LABELS:
            yield Failure(dotted(where), f"{len(labels)} labels; at most {_MANY_LABELS} may be set")
        for key, value in labels.items():
            if not (
                _label(key) and key[:1].isalpha() and (not isinstance(value, str) or _label(value))
            ):
                yield Failure(
                    f'{dotted(where)}["{key}"]',
                    f"{key}={given.shown((*where, key), value)} is no label; keys and values are "
                    "at most 63 lower-case letters, digits, underscores and hyphens, and keys "
                    "start with a letter",
                )


def _label(text: str) -> bool:
    return bool(_LABEL.fullmatch(text)) and text == text.lower()


_IAM: Final = re.compile(r"(?:IAM|Iam)(?:Member|Binding)$")
_ROLE: Final = re.compile(r"(?:^|/)roles/[\w.]+$")
# cloud.google.com/iam/docs/principal-identifiers
_PRINCIPAL: Final = re.compile(
    r"allUsers|allAuthenticatedUsers|"
    r"(?:user|serviceAccount|group):(?:[^@\s]+@[^@\s]+|\S+\.svc\.id\.goog\[[^\]]+\])|"
    r"(?:domain|principal|principalSet|projectOwner|projectEditor|"
    r"projectViewer|deleted|iamMember|specialGroup|principalHierarchy):\S+"
)


def _grant(given: Given) -> Iterator[Failure]:
    for path in ("member", "members[]"):
        for where, member in given.at(path):
            if isinstance(member, str) and not _PRINCIPAL.fullmatch(member):
                yield given.refuse(
                    where,
                    member,
                    "is no principal; write it like `serviceAccount:NAME@PROJECT"
                    ".iam.gserviceaccount.com`, `user:`, `group:`, `domain:` or `allUsers`",
                )
    role = given.one("role")
    if isinstance(role, str) and not _ROLE.search(role):
        yield given.refuse(("role",), role, "is no role; write it like `roles/pubsub.publisher`")
    for path, longest in (("condition.title", 100), ("condition.description", 256)):
        for where, text in given.at(path):
            # cloud.google.com/iam/docs/conditions-overview#structure
            if isinstance(text, str) and len(text) > longest:
                yield Failure(
                    dotted(where), f"{len(text)} characters; at most {longest} are allowed"
                )


# cloud.google.com/scheduler/docs/configuring/cron-job-schedules
_FIELDS: Final = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12),
                  ("day of week", 0, 7))  # fmt: skip
_ITEM: Final = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")
_WORDS: Final = {
    name: number
    for names, first in (("jan feb mar apr may jun jul aug sep oct nov dec", 1),
                         ("sun mon tue wed thu fri sat", 0))
    for number, name in enumerate(names.split(), first)
}  # fmt: skip
_ENGLISH: Final = re.compile(
    r"\s*(?:every|first|second|third|fourth|fifth|last|\d+(?:st|nd|rd|th))\b", re.I
)


def cron(text: str) -> str | None:
    """Why a schedule is refused; None for crontab's five fields or App Engine's English form."""
    if _ENGLISH.match(text):
        return None
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return (
            f"has {len(fields)} fields; write crontab's five: minute, hour, day of month, month, "
            "day of week"
        )
    for field, (name, low, high) in zip(fields, _FIELDS, strict=True):
        if not all(_cron_item(item, low, high) for item in field.split(",")):
            return f"is no schedule: {field!r} as its {name} must be from {low} to {high}"
    return None


def _cron_item(item: str, low: int, high: int) -> bool:
    found = _ITEM.fullmatch(item)
    if found is None or found[3] == "0":
        return False
    bounds = [_cron_number(text) for text in found.groups()[:2] if text is not None]
    return all(bound is not None and low <= bound <= high for bound in bounds)


def _cron_number(text: str) -> int | None:
    return int(text) if text.isdecimal() else _WORDS.get(text.lower())


def schedules(given: Given, path: str) -> Iterator[Failure]:
    """Schedules at a path that are none, a leading time zone aside."""
    for where, value in given.at(path):
        if isinstance(value, str):
            why = cron(re.sub(r"^(?:CRON_)?TZ=\S+\s+", "", value))
            if why:
                yield given.refuse(where, value, why)


def documents(given: Given, path: str, read: Callable[[str], Any], what: str) -> Iterator[Failure]:
    """Texts at a path that `read` cannot read."""
    for where, value in given.at(path):
        if isinstance(value, str):
            try:
                read(value)
            except ValueError as error:
                yield Failure(dotted(where), f"is no {what}: {error}")
