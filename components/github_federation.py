"""Workload Identity Federation for GitHub Actions: a workflow deploys without a key.

A token of GitHub is taken from one repository only, and only one branch of it may become the
service account that deploys. Pull requests get nothing: their previews need no credentials.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

ISSUER: Final = "https://token.actions.githubusercontent.com"
REPOSITORY: Final = (
    re.compile(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}"),
    "`owner/name` of a repository on GitHub",
)
BRANCH: Final = (re.compile(r"[\w./-]{1,200}"), "the name of a branch")
POOL: Final = (
    re.compile(r"(?!gcp-)[a-z0-9-]{4,32}"),
    "4 to 32 lower-case letters, digits and hyphens, not starting with `gcp-`",
)
MAPPING: Final = {
    "google.subject": "assertion.sub",
    "attribute.repository": "assertion.repository",
    "attribute.ref": "assertion.ref",
    # One claim that holds both: a grant can be made to one attribute only.
    "attribute.repository_ref": "assertion.repository + ':' + assertion.ref",
    "attribute.actor": "assertion.actor",
}
"""What of GitHub's token Google keeps; docs.github.com has the claims, `actor` is for the logs."""


@dataclass(frozen=True, kw_only=True)
class GithubFederationArgs:
    """What the federation needs.

    Raises:
        InvalidArgs: at construction, when repository or branch is none.
    """

    project: str
    repository: str
    """`owner/name`, spelt as GitHub does: the comparison minds upper and lower case."""
    branch: str
    """The branch whose workflows may deploy."""
    deployer: str
    """E-mail of the service account that deploys."""

    def __post_init__(self) -> None:
        checks.matches("GithubFederation", "repository", self.repository, REPOSITORY)
        checks.matches("GithubFederation", "branch", self.branch, BRANCH)


class GithubFederation(pulumi.ComponentResource):
    """Pool `<name>` with the provider `github`, and who may deploy through it."""

    pool: gcp.iam.WorkloadIdentityPool
    provider: gcp.iam.WorkloadIdentityPoolProvider
    member: pulumi.Output[str]
    """The workflows of the branch, as IAM writes them."""
    grant: gcp.serviceaccount.IAMMember

    def __init__(
        self, name: str, *, args: GithubFederationArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("GithubFederation", "name", name, POOL)
        super().__init__("esteira:github_federation:GithubFederation", name, {}, opts)
        self.pool = gcp.iam.WorkloadIdentityPool(
            name,
            workload_identity_pool_id=name,
            project=args.project,
            display_name=name,
            description="GitHub Actions",
            opts=child_opts(self),
        )
        self.provider = gcp.iam.WorkloadIdentityPoolProvider(
            name,
            workload_identity_pool_id=self.pool.workload_identity_pool_id,
            workload_identity_pool_provider_id="github",
            project=args.project,
            display_name="github",
            description=args.repository,
            attribute_mapping=MAPPING,
            attribute_condition=f'assertion.repository == "{args.repository}"',
            oidc=gcp.iam.WorkloadIdentityPoolProviderOidcArgs(issuer_uri=ISSUER),
            opts=child_opts(self),
        )
        claim = f"attribute.repository_ref/{args.repository}:refs/heads/{args.branch}"
        self.member = pulumi.Output.concat(
            "principalSet://iam.googleapis.com/", self.pool.name, "/", claim
        )
        self.grant = gcp.serviceaccount.IAMMember(
            f"{name}-deploy",
            service_account_id=f"projects/{args.project}/serviceAccounts/{args.deployer}",
            role="roles/iam.workloadIdentityUser",
            member=self.member,
            opts=child_opts(self),
        )
        self.register_outputs({"provider": self.provider.name, "member": self.member})
