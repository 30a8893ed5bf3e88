"""Service Usage: which APIs of a project are on, and the quotas of those that have some.

Quotas are Google's of a new project with billing; a consumer override lowers one, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import FailedPrecondition, InvalidArgument, NotFound
from localcloud.rest.store import Documents
from localcloud.services.project.guard import Guard
from localcloud.services.storage.buckets import project_number

_FREE: Final = frozenset(
    {
        "bigquery",
        "cloudapis",
        "cloudbilling",
        "cloudresourcemanager",
        "iam",
        "iamcredentials",
        "logging",
        "monitoring",
        "orgpolicy",
        "serviceusage",
        "storage",
        "sts",
    }
)
"""APIs that a project without billing may have on."""
_MOST: Final = 20
"""APIs that one request can switch on."""
QUOTAS: Final[Mapping[str, Mapping[str, int]]] = {
    "aiplatform": {"custom_model_serving_cpus": 42, "custom_model_training_cpus": 42},
    "compute": {"cpus": 24, "in_use_addresses": 8, "cpus_all_regions": 32},
    "run": {"cpu_allocation": 20_000},
}
"""By API and metric: the limit in each region. Cloud Run counts thousandths of a vCPU."""


class Usage:
    """The methods of `serviceusage`, v1 and v1beta1."""

    def __init__(self, documents: Documents, guard: Guard) -> None:
        self._documents = documents
        self._guard = guard

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        services = "serviceusage.services"
        metrics = f"{services}.consumerQuotaMetrics"
        return {
            f"{services}.get": self._get,
            f"{services}.batchGet": self._batch_get,
            f"{services}.enable": self._enable,
            f"{services}.disable": self._disable,
            f"{services}.batchEnable": self._batch_enable,
            "serviceusage.operations.get": self._operation,
            f"{metrics}.list": self._metrics,
            f"{metrics}.limits.consumerOverrides.create": self._override,
        }

    async def _get(self, request: Request) -> dict[str, Any]:
        project, api = _service(request.path["name"])
        self._guard.allow(
            project, "serviceusage", "serviceusage.services.get", f"projects/{project}"
        )
        return self._shown(project, api)

    async def _batch_get(self, request: Request) -> dict[str, Any]:
        project = request.path["parent"].partition("/")[2]
        self._guard.allow(
            project, "serviceusage", "serviceusage.services.get", f"projects/{project}"
        )
        names = request.query.get("names", [])
        if not 0 < len(names) <= 30:
            raise InvalidArgument(f"names: 1 to 30 services can be asked for, not {len(names)}.")
        return {"services": [self._shown(project, _service(name)[1]) for name in names]}

    async def _enable(self, request: Request) -> dict[str, Any]:
        project, api = _service(request.path["name"])
        return self._switch_on(project, [api])

    async def _batch_enable(self, request: Request) -> dict[str, Any]:
        project = request.path["parent"].partition("/")[2]
        names = request.body.get("serviceIds", [])
        if not 0 < len(names) <= _MOST:
            raise InvalidArgument(f"service_ids: 1 to {_MOST} can be enabled, not {len(names)}.")
        return self._switch_on(project, [name.removesuffix(".googleapis.com") for name in names])

    async def _disable(self, request: Request) -> dict[str, Any]:
        project, api = _service(request.path["name"])
        permission = "serviceusage.services.disable"
        self._guard.allow(project, "serviceusage", permission, f"projects/{project}")
        self._guard.switch(project, api, on=False)
        return self._done({"service": self._shown(project, api)}, "DisableServiceResponse")

    def _switch_on(self, project: str, apis: list[str]) -> dict[str, Any]:
        permission = "serviceusage.services.enable"
        self._guard.allow(project, "serviceusage", permission, f"projects/{project}")
        billing = self._documents.get(f"billing:{project}")
        costly = [f"{api}.googleapis.com" for api in apis if api not in _FREE]
        if costly and billing is not None and not billing.get("billingEnabled"):
            number = project_number(project)
            raise FailedPrecondition(
                f"Billing account for project '{number}' is not found. Billing must be enabled for "
                f"activation of service(s) '{','.join(costly)}' to proceed.",
                [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "UREQ_PROJECT_BILLING_NOT_FOUND",
                        "domain": "serviceusage.googleapis.com/billing-enabled",
                        "metadata": {"project": str(number), "services": ",".join(costly)},
                    }
                ],
            )
        if "compute" in apis and not self._guard.enabled(project, "compute"):
            self._default_network(project)
        for api in apis:
            self._guard.switch(project, api, on=True)
        shown = [self._shown(project, api) for api in apis]
        return self._done({"services": shown}, "BatchEnableServicesResponse")

    def _default_network(self, project: str) -> None:
        """Compute Engine makes one when it is switched on, unless a constraint forbids."""
        rules = self._guard.constraint(project, "compute.skipDefaultNetworkCreation")
        if not any(rule.get("enforce") for rule in rules.get("rules", ())):
            self._documents.put(f"network:{project}:default", {"autoCreateSubnetworks": True})

    def _shown(self, project: str, api: str) -> dict[str, Any]:
        number = f"projects/{project_number(project)}"
        return {
            "name": f"{number}/services/{api}.googleapis.com",
            "parent": number,
            "config": {"name": f"{api}.googleapis.com"},
            "state": "ENABLED" if self._guard.enabled(project, api) else "DISABLED",
        }

    def _done(self, response: dict[str, Any], kind: str) -> dict[str, Any]:
        name = f"operations/acat.p2-{self._documents.next_number()}"
        typed = {"@type": f"type.googleapis.com/google.api.serviceusage.v1.{kind}", **response}
        operation = {"name": name, "done": True, "response": typed}
        self._documents.put(f"operation:{name}", operation)
        return operation

    async def _operation(self, request: Request) -> dict[str, Any]:
        found = self._documents.get(f"operation:{request.path['name']}")
        if found is None:
            raise NotFound(f"Operation '{request.path['name']}' not found.")
        return found

    async def _metrics(self, request: Request) -> dict[str, Any]:
        project, api = _service(request.path["parent"])
        self._guard.allow(project, "serviceusage", "serviceusage.quotas.get", f"projects/{project}")
        self._guard.allow(project, api, "serviceusage.quotas.get", f"projects/{project}")
        parent = f"{request.path['parent']}/consumerQuotaMetrics"
        return {
            "metrics": [
                self._metric(project, api, metric, f"{parent}/{api}.googleapis.com%2F{metric}")
                for metric in QUOTAS.get(api, {})
            ]
        }

    def _metric(self, project: str, api: str, metric: str, name: str) -> dict[str, Any]:
        unit = "1/{project}/{region}"
        limit = str(limit_of(self._documents, project, api, metric))
        return {
            "name": name,
            "metric": f"{api}.googleapis.com/{metric}",
            "displayName": metric.replace("_", " "),
            "consumerQuotaLimits": [
                {
                    "name": f"{name}/limits/%2Fproject%2Fregion",
                    "metric": f"{api}.googleapis.com/{metric}",
                    "unit": unit,
                    "quotaBuckets": [
                        {
                            "effectiveLimit": limit,
                            "defaultLimit": str(QUOTAS[api][metric]),
                        }
                    ],
                }
            ],
        }

    async def _override(self, request: Request) -> dict[str, Any]:
        project, rest = request.path["parent"].removeprefix("projects/").split("/services/")
        api = rest.partition(".")[0]
        metric = unquote(rest.split("/consumerQuotaMetrics/")[1]).split("/")[1]
        if metric not in QUOTAS.get(api, {}):
            raise NotFound(f"Quota metric '{metric}' of {api}.googleapis.com not found.")
        value = int(request.body.get("overrideValue", 0))
        self._documents.put(f"quota:{project}:{api}:{metric}", {"overrideValue": value})
        return self._done({"overrideValue": str(value)}, "QuotaOverride")


def limit_of(documents: Documents, project: str, api: str, metric: str) -> int:
    """The limit in force."""
    override = documents.get(f"quota:{project}:{api}:{metric}")
    return QUOTAS[api][metric] if override is None else override["overrideValue"]


def _service(name: str) -> tuple[str, str]:
    """`projects/p/services/x.googleapis.com` -> (`p`, `x`)."""
    _, project, _, host = name.split("/")[:4]
    return project, host.removesuffix(".googleapis.com")
