"""Rules of Google that the SDK's types do not carry, checked before anything is made.

Each is what Google's API or pulumi-gcp itself enforces, with its source; a name that Google would
refuse after minutes of deployment is refused in the preview.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.check import Failure

_PUBSUB: Final = (
    r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}",
    "3 to 255 letters, digits and -_.~+%, starting with a letter and not with `goog`",
)
_RFC1035: Final = (
    r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
    "1 to 63 lower-case letters, digits and hyphens, starting with a letter",
)
_BIGQUERY_ID: Final = (r"[0-9A-Za-z_]{1,1024}", "letters, digits and underscores")

PATTERNS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    # cloud.google.com/pubsub/docs/pubsub-basics#resource_names
    ("gcp:pubsub/topic:Topic", "name"): _PUBSUB,
    ("gcp:pubsub/subscription:Subscription", "name"): _PUBSUB,
    ("gcp:pubsub/schema:Schema", "name"): _PUBSUB,
    # cloud.google.com/storage/docs/buckets#naming
    ("gcp:storage/bucket:Bucket", "name"): (
        r"(?!goog)[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9]",
        "3 to 63 lower-case letters, digits, hyphens, underscores and dots",
    ),
    # cloud.google.com/iam/docs/service-accounts-create
    ("gcp:serviceaccount/account:Account", "accountId"): (
        r"[a-z]([-a-z0-9]{4,28}[a-z0-9])",
        "6 to 30 lower-case letters, digits and hyphens, starting with a letter",
    ),
    # cloud.google.com/bigquery/docs/datasets#dataset-naming
    ("gcp:bigquery/dataset:Dataset", "datasetId"): _BIGQUERY_ID,
    ("gcp:bigquery/table:Table", "datasetId"): _BIGQUERY_ID,
    # Docstring of AiEndpoint.name.
    ("gcp:vertex/aiEndpoint:AiEndpoint", "name"): (
        r"[1-9][0-9]{0,9}",
        "numeric, with no leading zero and at most 10 digits; set `name` yourself",
    ),
    ("gcp:cloudrunv2/service:Service", "name"): (
        r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?",
        "1 to 49 lower-case letters, digits and hyphens, starting with a letter",
    ),
    ("gcp:cloudrunv2/job:Job", "name"): _RFC1035,
    ("gcp:artifactregistry/repository:Repository", "repositoryId"): _RFC1035,
    ("gcp:secretmanager/secret:Secret", "secretId"): (
        r"[A-Za-z0-9_-]{1,255}",
        "letters, digits, hyphens and underscores",
    ),
}

_LABEL: Final = re.compile(r"[\w-]{0,63}")
_EXCLUSIVE: Final[dict[str, tuple[tuple[str, ...], bool]]] = {
    # Documents of google_storage_bucket_object: one of both has to be given.
    "gcp:storage/bucketObject:BucketObject": (("content", "source"), True),
    # Documents of google_pubsub_subscription: ways of delivery exclude each other.
    "gcp:pubsub/subscription:Subscription": (
        ("pushConfig", "bigqueryConfig", "cloudStorageConfig"),
        False,
    ),
    "gcp:cloudscheduler/job:Job": (("httpTarget", "pubsubTarget", "appEngineHttpTarget"), True),
}


def judge(token: str, inputs: Mapping[str, Any]) -> list[Failure]:
    """What Google would refuse in these inputs (plain values; unknown ones pass)."""
    return [
        *_names(token, inputs),
        *_labels(inputs),
        *_exclusive(token, inputs),
        *(_member(inputs) if "iam" in token.lower() else ()),
    ]


def _names(token: str, inputs: Mapping[str, Any]) -> list[Failure]:
    failures: list[Failure] = []
    for (of, name), (pattern, words) in PATTERNS.items():
        value = inputs.get(name)
        if of == token and isinstance(value, str) and not re.fullmatch(pattern, value):
            failures.append(Failure(name, f"{value!r} is not allowed; it must be {words}"))
    return failures


def _labels(inputs: Mapping[str, Any]) -> list[Failure]:
    labels = inputs.get("labels")
    if not isinstance(labels, Mapping):
        return []
    # cloud.google.com/compute/docs/labeling-resources#requirements
    return [
        Failure(
            f'labels["{key}"]',
            f"{key}={value!r} is no label; keys and values are at most 63 lower-case letters, "
            "digits, underscores and hyphens, and keys start with a letter",
        )
        for key, value in labels.items()
        if not (_label(key) and key[:1].isalpha() and (not isinstance(value, str) or _label(value)))
    ]


def _label(text: str) -> bool:
    return bool(_LABEL.fullmatch(text)) and text == text.lower()


def _exclusive(token: str, inputs: Mapping[str, Any]) -> list[Failure]:
    names, needed = _EXCLUSIVE.get(token, ((), False))
    given = [name for name in names if name in inputs]
    if len(given) > 1:
        return [Failure(given[1], f"conflicts with {given[0]!r}; give only one of them")]
    if needed and not given:
        return [Failure(names[0], f"missing; give one of {', '.join(names)}")]
    return []


# cloud.google.com/iam/docs/principal-identifiers
_MEMBER: Final = re.compile(
    r"allUsers|allAuthenticatedUsers|"
    r"(user|serviceAccount|group|domain|principal|principalSet|projectOwner|projectEditor|"
    r"projectViewer|deleted|iamMember|specialGroup):.+"
)


def _member(inputs: Mapping[str, Any]) -> list[Failure]:
    failures: list[Failure] = []
    members = inputs.get("members")
    listed = [("member", inputs.get("member"))]
    if isinstance(members, list):
        listed += [(f"members[{n}]", member) for n, member in enumerate(members)]
    for where, member in listed:
        if isinstance(member, str) and not _MEMBER.fullmatch(member):
            failures.append(
                Failure(
                    where,
                    f"{member!r} is no principal; write it like `serviceAccount:NAME@PROJECT"
                    ".iam.gserviceaccount.com`, `user:`, `group:`, `domain:` or `allUsers`",
                )
            )
    role = inputs.get("role")
    if isinstance(role, str) and not re.search(r"(?:^|/)roles/[\w.]+$", role):
        failures.append(
            Failure("role", f"{role!r} is no role; write it like `roles/pubsub.publisher`")
        )
    return failures
