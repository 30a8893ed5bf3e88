"""A notebook instance for data scientists: private, shielded, and asleep when nobody works.

Its identity reads what data teams read, and writes nowhere; whoever may act as it opens JupyterLab
through Google's proxy, which asks who they are. Nothing reaches it from the internet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)

METADATA: Final = {
    "disable-mixer": "true",
    "install-unattended-upgrades": "true",
    "notebook-disable-root": "true",
    "report-event-health": "true",
}
"""Switches of an instance, by Google's document "Manage features through metadata": no Dataproc
kernels, updates of the system by themselves, nobody is root, its health is reported. Idle shutdown
is an argument."""
IMAGE: Final = {"project": "cloud-notebooks-managed", "family": "workbench-instances"}
"""Google's own image. Updates of it are taken by the instance, not by this program."""
PROJECT_ROLES: Final = {
    "query": "roles/bigquery.jobUser",
    "read-fast": "roles/bigquery.readSessionUser",
    "track": "roles/aiplatform.user",
    "log": "roles/logging.logWriter",
}
"""What a notebook cannot do without, and what Google grants on a project only."""


@dataclass(frozen=True, kw_only=True)
class WorkbenchArgs:
    """What an instance needs.

    Raises:
        InvalidArgs: at construction, when a value is out of range.
    """

    project: str
    zone: str
    """Of the region of the data, e.g. `us-central1-a`."""
    account_id: str
    """The part of its identity's e-mail before the `@`."""
    machine_type: str = "e2-standard-4"
    idle_minutes: int = 60
    """It stops after so long without use, 10 to 1440."""
    disk_gb: int = 100
    """Of the disk that keeps notebooks."""
    reads: Mapping[str, gcp.bigquery.Dataset]
    """Datasets that notebooks query, by a short name."""
    users: Sequence[str] = ()
    """Principals who may start, stop and use it."""
    subnetwork: pulumi.Input[str] | None = None
    """With private Google access; the default network's when not given."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts its disks; Google's own when not given."""
    protect: bool = False

    def __post_init__(self) -> None:
        who = "Workbench"
        checks.matches(who, "zone", self.zone, checks.ZONE)
        checks.between(who, "idle_minutes", self.idle_minutes, 10, 1440, "minutes")
        checks.between(who, "disk_gb", self.disk_gb, 100, 64_000, "GB")
        for user in self.users:
            checks.matches(who, "users", user, checks.PRINCIPAL)


class Workbench(pulumi.ComponentResource):
    """Instance `<name>` and its identity."""

    identity: WorkloadIdentity
    instance: gcp.workbench.Instance
    access: dict[str, pulumi.Resource]
    """What its users were granted, on the instance and on its identity."""

    def __init__(
        self, name: str, *, args: WorkbenchArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("Workbench", "name", name, checks.SERVICE)
        super().__init__("esteira:workbench:Workbench", name, {}, opts)
        self.identity = WorkloadIdentity(
            name,
            args=WorkloadIdentityArgs(
                account_id=args.account_id,
                description="Notebooks of data scientists",
                grants=[
                    *(
                        Grant(role="roles/bigquery.dataViewer", on=dataset, label=f"read-{label}")
                        for label, dataset in args.reads.items()
                    ),
                    *(
                        Grant(role=role, on=ProjectWide(project=args.project), label=label)
                        for label, role in PROJECT_ROLES.items()
                    ),
                ],
            ),
            opts=child_opts(self),
        )
        self.instance = gcp.workbench.Instance(
            name,
            name=name,
            instance_id=name,
            location=args.zone,
            gce_setup=_setup(args, self.identity.email),
            enable_deletion_protection=args.protect,
            # Started and stopped by its users, and by itself.
            opts=child_opts(self, protect=args.protect, ignore_changes=["desiredState"]),
        )
        self.access = {}
        for user in args.users:
            # Admin of this instance alone: it is the one role that can start it once it slept.
            self.access[f"use-{user}"] = gcp.workbench.InstanceIamMember(
                f"{name}-use-{user}",
                name=self.instance.name,
                location=args.zone,
                role="roles/notebooks.admin",
                member=user,
                opts=child_opts(self),
            )
            self.access[f"open-{user}"] = gcp.serviceaccount.IAMMember(
                f"{name}-open-{user}",
                service_account_id=self.identity.account.name,
                role="roles/iam.serviceAccountUser",
                member=user,
                opts=child_opts(self),
            )
        self.register_outputs(
            {"instance": self.instance.id, "service_account": self.identity.email}
        )


def _setup(args: WorkbenchArgs, email: pulumi.Output[str]) -> gcp.workbench.InstanceGceSetupArgs:
    workbench = gcp.workbench
    disk = {
        "disk_type": "PD_BALANCED",
        "disk_encryption": "GMEK" if args.kms_key is None else "CMEK",
        "kms_key": args.kms_key,
    }
    return workbench.InstanceGceSetupArgs(
        machine_type=args.machine_type,
        disable_public_ip=True,
        service_accounts=[workbench.InstanceGceSetupServiceAccountArgs(email=email)],
        shielded_instance_config=workbench.InstanceGceSetupShieldedInstanceConfigArgs(
            enable_secure_boot=True, enable_vtpm=True, enable_integrity_monitoring=True
        ),
        vm_image=workbench.InstanceGceSetupVmImageArgs(**IMAGE),
        boot_disk=workbench.InstanceGceSetupBootDiskArgs(disk_size_gb="150", **disk),
        data_disks=workbench.InstanceGceSetupDataDisksArgs(disk_size_gb=str(args.disk_gb), **disk),
        network_interfaces=None
        if args.subnetwork is None
        else [workbench.InstanceGceSetupNetworkInterfaceArgs(subnet=args.subnetwork)],
        metadata={**METADATA, "idle-timeout-seconds": str(args.idle_minutes * 60)},
    )
