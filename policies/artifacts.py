"""Repositories of Artifact Registry."""

from __future__ import annotations

from typing import Final

from policies.checks import is_set, is_true, no_public_member
from policies.rule import HOUSE, Level, Resource, Rule, Severity

REPOSITORY: Final = "gcp:artifactregistry/repository:Repository"


def _not_docker(resource: Resource) -> str | None:
    kind = resource.props.get("format")
    return None if kind == "DOCKER" else f"{kind} has no tags"


RULES: Final = (
    Rule(
        name="repository-customer-key",
        description="Images and packages are encrypted with a key of our own.",
        remedy="Set `kmsKeyName` (setting `security.customerManagedKeys`).",
        references=("CKV_GCP_84",),
        level=Level.IN_PROD,
        severity=Severity.MEDIUM,
        types=(REPOSITORY,),
        checks=(is_set("kmsKeyName"),),
    ),
    Rule(
        name="repository-no-public-member",
        description="No role on a repository is granted to everyone.",
        remedy="Grant the role to the service account that pulls.",
        references=("CKV_GCP_101",),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(
            "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember",
            "gcp:artifactregistry/repositoryIamBinding:RepositoryIamBinding",
            "gcp:artifactregistry/repositoryIamPolicy:RepositoryIamPolicy",
        ),
        checks=(no_public_member,),
    ),
    Rule(
        name="repository-immutable-tags",
        description="A tag that was pushed cannot be moved.",
        remedy="Set `dockerConfig.immutableTags` to true, or refer to images by digest only.",
        references=(HOUSE,),
        level=Level.ADVISORY,
        severity=Severity.LOW,
        types=(REPOSITORY,),
        checks=(is_true("dockerConfig.immutableTags"),),
        spared=_not_docker,
    ),
)
