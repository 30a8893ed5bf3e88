"""What KMS, Secret Manager, IAM, Artifact Registry and VPC-SC want beyond single values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from localcloud.provider.check import Failure, dotted
from localcloud.provider.rules.given import Given, possible, present
from localcloud.provider.values import UNKNOWN

_ATTRIBUTE: Final = re.compile(
    r"google\.(?:subject|groups|display_name|profile_photo|posix_username|email)"
    r"|attribute\.[a-z0-9_]{1,100}"
)


def _key(given: Given) -> Iterator[Failure]:
    """cloud.google.com/kms/docs/key-rotation: only symmetric keys rotate by themselves."""
    purpose = given.values.get("purpose", "ENCRYPT_DECRYPT")
    if isinstance(purpose, str) and purpose not in ("", "ENCRYPT_DECRYPT") and present(
        given.values, "rotationPeriod"
    ):  # fmt: skip
        yield Failure(
            "rotationPeriod", f"only allowed with purpose 'ENCRYPT_DECRYPT', not {purpose!r}"
        )


def _secret(given: Given) -> Iterator[Failure]:
    """Docstrings of Secret."""
    rotation = given.one("rotation")
    if isinstance(rotation, Mapping):
        if present(rotation, "rotationPeriod") and not possible(rotation, "nextRotationTime"):
            yield Failure("rotation.nextRotationTime", "missing; rotationPeriod needs it")
        if not possible(given.values, "topics"):
            yield Failure("topics", "missing; rotation needs a topic to notify")


def _provider(given: Given) -> Iterator[Failure]:
    """cloud.google.com/iam/docs/workload-identity-federation#mapping."""
    mapping = given.values.get("attributeMapping")
    if mapping is UNKNOWN:
        return
    mapped = mapping if isinstance(mapping, Mapping) else {}
    if "google.subject" not in mapped and not possible(given.values, "aws"):
        yield Failure("attributeMapping", "needs `google.subject`, such as 'assertion.sub'")
    for name in mapped:
        if not _ATTRIBUTE.fullmatch(name):
            yield Failure(
                dotted(("attributeMapping", name)),
                "is no attribute; map google.subject, google.groups or attribute.NAME",
            )


def _repository(given: Given) -> Iterator[Failure]:
    """cloud.google.com/artifact-registry/docs/repositories/{remote,virtual}-repo."""
    mode = given.values.get("mode")
    for wanted, name in (
        ("REMOTE_REPOSITORY", "remoteRepositoryConfig"),
        ("VIRTUAL_REPOSITORY", "virtualRepositoryConfig"),
    ):
        if mode == wanted and not possible(given.values, name):
            yield Failure(name, f"missing; mode {wanted!r} needs it")
        if mode in (None, "", "STANDARD_REPOSITORY") and present(given.values, name):
            yield Failure(name, f"only allowed with mode {wanted!r}")
    for where, policy in given.at("cleanupPolicies[]"):
        if (
            isinstance(policy, Mapping)
            and policy.get("action") == "DELETE"
            and present(policy, "mostRecentVersions")
        ):
            yield Failure(dotted((*where, "mostRecentVersions")), "only allowed with action 'KEEP'")


def _perimeter(given: Given) -> Iterator[Failure]:
    """Docstrings of ServicePerimeter."""
    if given.values.get("perimeterType") == "PERIMETER_TYPE_BRIDGE":
        for part in ("status", "spec"):
            for name in ("accessLevels", "restrictedServices"):
                if given.one(f"{part}.{name}"):
                    yield Failure(f"{part}.{name}", "must be empty in a perimeter bridge")
    if present(given.values, "spec") and not possible(given.values, "useExplicitDryRunSpec"):
        yield Failure("useExplicitDryRunSpec", "missing; `spec` is only used where it is true")


JUDGES: Final[dict[str, Callable[[Given], Iterator[Failure]]]] = {
    "gcp:kms/cryptoKey:CryptoKey": _key,
    "gcp:secretmanager/secret:Secret": _secret,
    "gcp:iam/workloadIdentityPoolProvider:WorkloadIdentityPoolProvider": _provider,
    "gcp:artifactregistry/repository:Repository": _repository,
    "gcp:accesscontextmanager/servicePerimeter:ServicePerimeter": _perimeter,
}
