"""Where the container images of the workloads are kept."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts


@dataclass(frozen=True, kw_only=True)
class ImageRepositoryArgs:
    """What a repository needs.

    Raises:
        InvalidArgs: at construction, when a number is out of range.
    """

    project: str
    location: str
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the images; Google's own when not given."""
    scan: bool = False
    """Whether each image is scanned for known vulnerabilities, which costs by the image and needs
    the API `containerscanning`."""
    keep_versions: int = 20
    """How many versions of each image stay, however old: one can be rolled back to."""
    delete_untagged_after_days: int = 90
    """Age at which versions without a tag go, beyond those kept."""
    protect: bool = False

    def __post_init__(self) -> None:
        who = "ImageRepository"
        checks.between(who, "keep_versions", self.keep_versions, 1, 1000)
        checks.between(
            who, "delete_untagged_after_days", self.delete_untagged_after_days, 1, 3650, "days"
        )


class ImageRepository(pulumi.ComponentResource):
    """A Docker repository `<name>` in Artifact Registry.

    Tags are not immutable: everything here refers to images by digest, and a tag that moves is how
    the versions in use keep clear of the clean-up.
    """

    repository: gcp.artifactregistry.Repository
    url: pulumi.Output[str]
    """`<location>-docker.pkg.dev/<project>/<name>`, the start of every image's reference."""

    def __init__(
        self, name: str, *, args: ImageRepositoryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("ImageRepository", "name", name, checks.SERVICE)
        super().__init__("esteira:image_repository:ImageRepository", name, {}, opts)
        self.repository = gcp.artifactregistry.Repository(
            name,
            repository_id=name,
            format="DOCKER",
            location=args.location,
            description="Container images of the workloads",
            kms_key_name=args.kms_key,
            vulnerability_scanning_config=(
                gcp.artifactregistry.RepositoryVulnerabilityScanningConfigArgs(
                    enablement_config="INHERITED" if args.scan else "DISABLED"
                )
            ),
            cleanup_policies=[
                gcp.artifactregistry.RepositoryCleanupPolicyArgs(
                    id="keep-recent",
                    action="KEEP",
                    most_recent_versions=(
                        gcp.artifactregistry.RepositoryCleanupPolicyMostRecentVersionsArgs(
                            keep_count=args.keep_versions
                        )
                    ),
                ),
                gcp.artifactregistry.RepositoryCleanupPolicyArgs(
                    id="delete-untagged",
                    action="DELETE",
                    condition=gcp.artifactregistry.RepositoryCleanupPolicyConditionArgs(
                        tag_state="UNTAGGED",
                        older_than=f"{args.delete_untagged_after_days * 86_400}s",
                    ),
                ),
            ],
            opts=child_opts(self, protect=args.protect),
        )
        self.url = pulumi.Output.concat(
            args.location,
            "-docker.pkg.dev/",
            args.project,
            "/",
            self.repository.repository_id,
        )
        self.register_outputs({"url": self.url})
