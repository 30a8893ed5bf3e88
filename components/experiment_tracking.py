"""What Vertex AI keeps of training runs: lineage in a metadata store, curves in a Tensorboard.

MLflow, where a stack has it, is a service of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

STORE: Final = "default"
"""The metadata store that Vertex AI Pipelines and the SDK write to. Vertex AI makes it at the first
run, with Google's key: one with ours has to be there before."""


@dataclass(frozen=True, kw_only=True)
class ExperimentTrackingArgs:
    """What is kept, and with which key.

    Raises:
        InvalidArgs: at construction, when nothing is kept.
    """

    location: str
    metadata_store: bool = True
    """Whether lineage of runs and artefacts is kept."""
    tensorboard: bool = True
    """Whether there is a Tensorboard instance."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts both; Google's own when not given. It cannot be changed later."""
    protect: bool = False

    def __post_init__(self) -> None:
        if not (self.metadata_store or self.tensorboard):
            raise checks.InvalidArgs(
                "ExperimentTracking",
                "metadata_store, tensorboard",
                False,
                "at least one of them",
            )


class ExperimentTracking(pulumi.ComponentResource):
    """The project's metadata store in a region, and a Tensorboard `<name>`."""

    metadata_store: gcp.vertex.AiMetadataStore | None
    tensorboard: gcp.vertex.AiTensorboard | None

    def __init__(
        self,
        name: str,
        *,
        args: ExperimentTrackingArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("esteira:experiment_tracking:ExperimentTracking", name, {}, opts)
        self.metadata_store = None
        self.tensorboard = None
        outputs: dict[str, pulumi.Output[str]] = {}
        if args.metadata_store:
            self.metadata_store = gcp.vertex.AiMetadataStore(
                f"{name}-metadata",
                name=STORE,
                region=args.location,
                description="Lineage of training runs, artefacts and models",
                encryption_spec=None
                if args.kms_key is None
                else gcp.vertex.AiMetadataStoreEncryptionSpecArgs(kms_key_name=args.kms_key),
                opts=child_opts(self, protect=args.protect),
            )
            outputs["metadata_store"] = self.metadata_store.id
        if args.tensorboard:
            self.tensorboard = gcp.vertex.AiTensorboard(
                f"{name}-tensorboard",
                display_name=name,
                region=args.location,
                description="Curves of training runs",
                encryption_spec=None
                if args.kms_key is None
                else gcp.vertex.AiTensorboardEncryptionSpecArgs(kms_key_name=args.kms_key),
                opts=child_opts(self, protect=args.protect),
            )
            outputs["tensorboard"] = self.tensorboard.name
        self.register_outputs(outputs)
