"""Jobs of Dataflow."""

from __future__ import annotations

from typing import Final

from policies.checks import equals, is_set
from policies.rule import Level, Rule, Severity

FLEX_JOB: Final = "gcp:dataflow/flexTemplateJob:FlexTemplateJob"
JOB: Final = "gcp:dataflow/job:Job"

RULES: Final = (
    Rule(
        name="dataflow-private-workers",
        description="Workers have no public address.",
        remedy="Set `ipConfiguration` to `WORKER_IP_PRIVATE`, in a subnetwork with private access "
        "to Google's APIs.",
        references=("CKV_GCP_94",),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(FLEX_JOB, JOB),
        checks=(equals("ipConfiguration", "WORKER_IP_PRIVATE"),),
    ),
    Rule(
        name="dataflow-customer-key",
        description="A job's state is encrypted with a key of our own.",
        remedy="Set `kmsKeyName` (setting `security.customerManagedKeys`).",
        references=("CKV_GCP_90",),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(FLEX_JOB, JOB),
        checks=(is_set("kmsKeyName"),),
    ),
)
