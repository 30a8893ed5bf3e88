"""Functions that a program may call while it runs, such as `getProject`.

The values are those that the resources of the local cloud have. A function that is not here is
refused by name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from localcloud.provider.check import Failure
from localcloud.provider.configuration import Configuration
from localcloud.provider.identity import project_number

if TYPE_CHECKING:
    from localcloud.provider.lifecycle import Lifecycle

type _Function = Callable[["Lifecycle", Mapping[str, Any], Configuration], dict[str, Any]]


def invoke(
    lifecycle: Lifecycle, token: str, args: Mapping[str, Any], configuration: Configuration
) -> tuple[dict[str, Any], list[Failure]]:
    """The result of a function, or why there is none."""
    function = _FUNCTIONS.get(token)
    if function is None:
        return {}, [
            Failure(
                "",
                f"the local cloud does not answer {token}; it answers "
                + ", ".join(sorted(name.rpartition(":")[2] for name in _FUNCTIONS)),
            )
        ]
    try:
        return function(lifecycle, args, configuration), []
    except _Missing as missing:
        return {}, [Failure(missing.args[0], missing.args[1])]


class _Missing(Exception):
    """An argument is missing or names nothing."""


def _project(args: Mapping[str, Any], configuration: Configuration, name: str = "project") -> str:
    project = args.get(name) or configuration.project
    if not project:
        raise _Missing(name, "missing; give it or set `gcp:project`")
    return str(project)


def _client_config(_: Lifecycle, __: Mapping[str, Any], own: Configuration) -> dict[str, Any]:
    return {
        "id": f'projects/"{own.project}"/regions/"{own.region}"/zones/"{own.zone or ""}"/scopes/[]',
        "project": own.project or "",
        "region": own.region or "",
        "zone": own.zone or "",
        "accessToken": "",
        "defaultLabels": dict(own.labels),
    }


def _get_project(_: Lifecycle, args: Mapping[str, Any], own: Configuration) -> dict[str, Any]:
    project = _project(args, own, "projectId")
    return {
        "id": f"projects/{project}",
        "projectId": project,
        "name": project,
        "number": project_number(project),
        "autoCreateNetwork": True,
        "billingAccount": "",
        "deletionPolicy": "PREVENT",
        "effectiveLabels": {},
        "folderId": "",
        "labels": {},
        "orgId": "",
        "pulumiLabels": {},
        "tags": {},
    }


def _agent(email: str, field: str = "email") -> _Function:
    """A service agent that Google makes for each project; `email` is its address' pattern."""

    def answer(_: Lifecycle, args: Mapping[str, Any], own: Configuration) -> dict[str, Any]:
        project = _project(args, own)
        address = email.format(number=project_number(project), project=project)
        return {
            "id": address,
            field: address,
            "member": f"serviceAccount:{address}",
            "project": project,
        }

    return answer


def _compute_account(_: Lifecycle, args: Mapping[str, Any], own: Configuration) -> dict[str, Any]:
    project = _project(args, own)
    email = f"{project_number(project)}-compute@developer.gserviceaccount.com"
    name = f"projects/{project}/serviceAccounts/{email}"
    return {
        "id": name,
        "name": name,
        "email": email,
        "member": f"serviceAccount:{email}",
        "displayName": "Compute Engine default service account",
        "uniqueId": project_number(email),
        "project": project,
    }


def _iam_policy(_: Lifecycle, args: Mapping[str, Any], __: Configuration) -> dict[str, Any]:
    """Render a policy as JSON, as `google_iam_policy` does: bindings and members in order."""
    bindings: list[dict[str, Any]] = []
    for binding in args.get("bindings", []):
        rendered: dict[str, Any] = {
            "role": binding["role"],
            "members": sorted(binding.get("members", [])),
        }
        if binding.get("condition"):
            rendered["condition"] = binding["condition"]
        bindings.append(rendered)
    bindings.sort(key=lambda one: (one["role"], json.dumps(one.get("condition", {}))))
    policy: dict[str, Any] = {"bindings": bindings} if bindings else {}
    audit = [
        {
            "service": one["service"],
            "auditLogConfigs": [
                {"logType": log["logType"], "exemptedMembers": log.get("exemptedMembers", [])}
                for log in one.get("auditLogConfigs", [])
            ],
        }
        for one in args.get("auditConfigs", [])
    ]
    if audit:
        policy["auditConfigs"] = audit
    data = json.dumps(policy, separators=(",", ":"))
    checksum = str(int.from_bytes(hashlib.sha256(data.encode()).digest()[:4]))
    return {**args, "id": checksum, "policyData": data}


def _reader(token: str, format: str) -> _Function:  # noqa: A002 - the format of an id
    """The outputs of an existing resource; nested objects become lists, as in data sources."""

    def answer(lifecycle: Lifecycle, args: Mapping[str, Any], own: Configuration) -> dict[str, Any]:
        values = {"project": _project(args, own), **args}
        id = format.format_map(values)  # noqa: A001
        state = lifecycle.read(token, id, "", state={}, inputs={}, configuration=own)
        if state is None:
            raise _Missing("name", f"{token.rpartition(':')[2]} {id!r} not found")
        return {**_listed(state.outputs), "id": state.id}

    return answer


def _listed(outputs: Mapping[str, Any]) -> dict[str, Any]:
    maps = ("labels", "effectiveLabels", "pulumiLabels", "tags", "annotations")
    return {
        name: [value] if isinstance(value, Mapping) and name not in maps else value
        for name, value in outputs.items()
    }


def _secret_version(
    lifecycle: Lifecycle, args: Mapping[str, Any], own: Configuration
) -> dict[str, Any]:
    secret = str(args.get("secret", "")).rpartition("/")[2]
    project = _project(args, own)
    token = "gcp:secretmanager/secretVersion:SecretVersion"  # noqa: S105 - a type, no secret
    wanted = str(args.get("version") or "")
    mine = [
        record
        for record in lifecycle.store.all(token)
        if str(record.outputs.get("secret", "")).rpartition("/")[2] == secret
        and wanted in ("", "latest", str(record.outputs.get("version")))
    ]
    if not mine:
        raise _Missing("secret", f"secret {secret!r} has no version {wanted or 'latest'!r}")
    latest = max(mine, key=lambda record: int(record.outputs.get("version", "1")))
    return {
        "id": latest.id,
        "name": latest.outputs.get("name", latest.id),
        "secret": secret,
        "project": project,
        "version": str(latest.outputs.get("version", "1")),
        "secretData": latest.outputs.get("secretData", ""),
        "enabled": True,
        "createTime": latest.outputs.get("createTime", ""),
        "destroyTime": "",
    }


def _secret_access(
    lifecycle: Lifecycle, args: Mapping[str, Any], own: Configuration
) -> dict[str, Any]:
    """As `_secret_version`, without what is told of the version."""
    try:
        found = _secret_version(lifecycle, args, own)
    except _Missing:
        if lifecycle.home is not None:
            raise
        # An offline preview has no project to read it from, and must not need it.
        version = str(args.get("version") or "1")
        name = f"projects/{_project(args, own)}/secrets/{args.get('secret')}/versions/{version}"
        found = {"id": name, "name": name, "version": version, "secretData": "not read offline"}
        found |= {"secret": args.get("secret"), "project": _project(args, own)}
    told = ("id", "name", "secret", "project", "version", "secretData")
    return {key: found[key] for key in told} | {"isSecretDataBase64": False}


_FUNCTIONS: Final[dict[str, _Function]] = {
    "gcp:organizations/getClientConfig:getClientConfig": _client_config,
    "gcp:organizations/getProject:getProject": _get_project,
    "gcp:organizations/getIAMPolicy:getIAMPolicy": _iam_policy,
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": _agent(
        "service-{number}@gs-project-accounts.iam.gserviceaccount.com", "emailAddress"
    ),
    "gcp:bigquery/getDefaultServiceAccount:getDefaultServiceAccount": _agent(
        "bq-{number}@bigquery-encryption.iam.gserviceaccount.com"
    ),
    "gcp:compute/getDefaultServiceAccount:getDefaultServiceAccount": _compute_account,
    "gcp:pubsub/getTopic:getTopic": _reader(
        "gcp:pubsub/topic:Topic", "projects/{project}/topics/{name}"
    ),
    "gcp:pubsub/getSubscription:getSubscription": _reader(
        "gcp:pubsub/subscription:Subscription", "projects/{project}/subscriptions/{name}"
    ),
    "gcp:storage/getBucket:getBucket": _reader("gcp:storage/bucket:Bucket", "{name}"),
    "gcp:serviceaccount/getAccount:getAccount": _reader(
        "gcp:serviceaccount/account:Account",
        "projects/{project}/serviceAccounts/{accountId}@{project}.iam.gserviceaccount.com",
    ),
    "gcp:secretmanager/getSecret:getSecret": _reader(
        "gcp:secretmanager/secret:Secret", "projects/{project}/secrets/{secretId}"
    ),
    "gcp:secretmanager/getSecretVersion:getSecretVersion": _secret_version,
    "gcp:secretmanager/getSecretVersionAccess:getSecretVersionAccess": _secret_access,
    "gcp:artifactregistry/getRepository:getRepository": _reader(
        "gcp:artifactregistry/repository:Repository",
        "projects/{project}/locations/{location}/repositories/{repositoryId}",
    ),
}
