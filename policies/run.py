"""Services and jobs of Cloud Run."""

from __future__ import annotations

from typing import Final

from policies.checks import for_types, no_public_member, not_true, one_of
from policies.rule import HOUSE, Level, Rule, Severity

SERVICE: Final = "gcp:cloudrunv2/service:Service"
JOB: Final = "gcp:cloudrunv2/job:Job"
GRANTS: Final = (
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember",
    "gcp:cloudrunv2/serviceIamBinding:ServiceIamBinding",
    "gcp:cloudrunv2/serviceIamPolicy:ServiceIamPolicy",
    "gcp:cloudrunv2/jobIamMember:JobIamMember",
    "gcp:cloudrunv2/jobIamBinding:JobIamBinding",
    "gcp:cloudrun/iamMember:IamMember",
    "gcp:cloudrun/iamBinding:IamBinding",
)

RULES: Final = (
    Rule(
        name="run-no-public-invoker",
        description="A service or job is not for everyone to call.",
        remedy="Grant `roles/run.invoker` to the callers; leave `invokerIamDisabled` out.",
        references=("CKV_GCP_102",),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(SERVICE, *GRANTS),
        checks=(
            for_types((SERVICE,), not_true("invokerIamDisabled")),
            for_types(GRANTS, no_public_member),
        ),
    ),
    Rule(
        name="run-private-ingress",
        description="A service is reached from inside or through a load balancer.",
        remedy="Set `ingress` to `INGRESS_TRAFFIC_INTERNAL_ONLY` or "
        "`INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER`.",
        references=(HOUSE,),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(SERVICE,),
        checks=(
            one_of(
                "ingress",
                "INGRESS_TRAFFIC_INTERNAL_ONLY",
                "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
            ),
        ),
    ),
)
