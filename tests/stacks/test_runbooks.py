"""What runbooks ask Google Cloud and Prometheus about is there, and they know the question.

There is no gcloud here to run its lines by, and it would ask Google. So each command is held to the
method of the API that it calls, its options to gcloud's reference, and the names in it to what the
stack of prod makes. The steps that can be run are run by tests/e2e/test_on_call.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from esteira.dashboards import known, rules
from esteira.dashboards.promql import check
from localcloud.rest.discovery import folder
from tests.stacks.test_operations import GCLOUD, RUNBOOKS, Stack, prod

__all__ = ["prod"]

METHODS = {
    "ai endpoints list": ("aiplatform.v1", "aiplatform.projects.locations.endpoints.list"),
    "api-gateway gateways list": ("apigateway.v1", "apigateway.projects.locations.gateways.list"),
    "billing budgets list": ("billingbudgets.v1", "billingbudgets.billingAccounts.budgets.list"),
    "dataflow jobs describe": ("dataflow.v1b3", "dataflow.projects.locations.jobs.get"),
    "dataflow jobs drain": ("dataflow.v1b3", "dataflow.projects.locations.jobs.update"),
    "dataflow jobs list": ("dataflow.v1b3", "dataflow.projects.locations.jobs.list"),
    "logging read": ("logging.v2", "logging.entries.list"),
    "pubsub subscriptions describe": ("pubsub.v1", "pubsub.projects.subscriptions.get"),
    "pubsub subscriptions pull": ("pubsub.v1", "pubsub.projects.subscriptions.pull"),
    "run jobs execute": ("run.v2", "run.projects.locations.jobs.run"),
    "run jobs executions list": ("run.v2", "run.projects.locations.jobs.executions.list"),
    "run services describe": ("run.v2", "run.projects.locations.services.get"),
    "run services list": ("run.v2", "run.projects.locations.services.list"),
    "run services update": ("run.v2", "run.projects.locations.services.patch"),
    "run services update-traffic": ("run.v2", "run.projects.locations.services.patch"),
    "scheduler jobs list": ("cloudscheduler.v1", "cloudscheduler.projects.locations.jobs.list"),
    "secrets versions add": ("secretmanager.v1", "secretmanager.projects.secrets.addVersion"),
    "sql instances describe": ("sqladmin.v1", "sql.instances.get"),
    "sql operations list": ("sqladmin.v1", "sql.operations.list"),
    "storage cp": ("storage.v1", "storage.objects.rewrite"),
}
"""What each command asks Google for."""
MADE = {
    r"subscriptions (?:describe|pull) (\S+)": "gcp:pubsub/subscription:Subscription",
    r"services (?:describe|update|update-traffic) (\S+)": "gcp:cloudrunv2/service:Service",
    r'service_name="([^"]+)"': "gcp:cloudrunv2/service:Service",
    r"--job=(\S+)": "gcp:cloudrunv2/job:Job",
    r"jobs execute (\S+)": "gcp:cloudrunv2/job:Job",
    r'"cloud_run_job".*job_name="([^"]+)"': "gcp:cloudrunv2/job:Job",
    r'"dataflow_step".*job_name="([^"]+)"': "gcp:dataflow/flexTemplateJob:FlexTemplateJob",
    r'--filter="name=([^"\s]+)': "gcp:dataflow/flexTemplateJob:FlexTemplateJob",
    r"secrets versions add (\S+)": "gcp:secretmanager/secretIamMember:SecretIamMember",
    r"(?:--instance=|instances describe )(\S+)": "gcp:sql/databaseInstance:DatabaseInstance",
    r"gs://([^/\s]+)/": "gcp:storage/bucket:Bucket",
}
"""Where the lines name something, and what makes that."""


def lines() -> Iterator[tuple[str, str]]:
    """Every line of gcloud, and the runbook that it is in."""
    for page in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            yield from ((page.stem, line) for line in block.splitlines())


@pytest.mark.parametrize("command", sorted(GCLOUD))
def test_each_command_is_a_method_that_google_describes(command: str) -> None:
    document, method = METHODS[command]
    assert f'"id": "{method}"' in (folder() / f"{document}.json").read_text(), command
    assert any(line.startswith(f"gcloud {command} ") for _, line in lines()), "no runbook has it"


def test_what_the_lines_name_is_what_the_stack_makes(prod: Stack) -> None:
    checked = 0
    for page, line in lines():
        for pattern, token in MADE.items():
            for name in re.findall(pattern, line):
                keys = ("name", "secretId", "bucket")
                made = {
                    str(one[key]) for one in prod.of(token).values() for key in keys if key in one
                }
                assert name in made, f"{page}: `{line}` names {name}; there are {sorted(made)}"
                checked += 1
    assert checked > 20


def test_what_prometheus_is_asked_for_is_recorded_or_served() -> None:
    there = {**known.scraped(), **rules.RECORDED}
    asked = 0
    for page in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
            for query in block.splitlines():
                check(query, there)
                asked += 1
    assert asked >= 4
