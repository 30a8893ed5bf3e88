"""The APIs of a project, as Google's own client meets them: state, checks and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from localcloud.rest.discovery import Api

PROJECT = "acme-dev"
NAME = f"projects/{PROJECT}"
PLACE = f"{NAME}/locations/us-central1"


class Clients:
    """Google's clients for one running process; new ones after a restart."""

    def __init__(self, rest: Any) -> None:
        self.rest = rest

    def usage(self) -> Any:
        return self.rest.client("serviceusage", "v1").services()

    def on(self, *apis: str) -> None:
        hosts = [f"{api}.googleapis.com" for api in apis]
        self.usage().batchEnable(parent=NAME, body={"serviceIds": hosts}).execute()

    def rings(self) -> Any:
        return self.rest.client("cloudkms", "v1").projects().locations().keyRings()

    def accounts(self) -> Any:
        return self.rest.client("iam", "v1").projects().serviceAccounts()

    def projects(self) -> Any:
        return self.rest.client("cloudresourcemanager", "v3").projects()


@pytest.fixture
def clients(rest_process: Callable[[str], Any]) -> Clients:
    return Clients(rest_process("project"))


def refused(code: int, call: Any) -> HttpError:
    with pytest.raises(HttpError) as caught:
        call.execute()
    assert caught.value.status_code == code
    return caught.value


def info_of(error: HttpError) -> dict[str, Any]:
    """Google's own reason for an error."""
    return json.loads(error.content)["error"]["details"][0]


def test_a_project_from_its_first_api_to_a_restart(clients: Clients) -> None:
    """One process for all of it: starting one takes a second."""
    an_api_that_is_off_says_so(clients)
    keys_are_checked_and_kept(clients)
    accounts_come_before_their_roles(clients)
    policies_change_by_etag(clients)
    clients.rest.kill()
    clients.rest.start()
    assert clients.rings().get(name=f"{PLACE}/keyRings/ring").execute()["name"].endswith("/ring")
    denied_permissions_and_constraints_refuse(clients)
    quotas_can_be_lowered(clients)
    answers_fit_googles_documents(clients)


def an_api_that_is_off_says_so(clients: Clients) -> None:
    error = refused(403, clients.rings().get(name=f"{PLACE}/keyRings/ring"))
    info = info_of(error)
    assert info["reason"] == "SERVICE_DISABLED"
    assert info["metadata"]["service"] == "cloudkms.googleapis.com"
    clients.on("cloudkms", "iam", "cloudresourcemanager", "orgpolicy", "compute")
    names = [f"{NAME}/services/{api}.googleapis.com" for api in ("cloudkms", "run")]
    found = clients.usage().batchGet(parent=NAME, names=names).execute()["services"]
    assert [one["state"] for one in found] == ["ENABLED", "DISABLED"]


def keys_are_checked_and_kept(clients: Clients) -> None:
    rings = clients.rings()
    rings.create(parent=PLACE, keyRingId="ring", body={}).execute()
    refused(409, rings.create(parent=PLACE, keyRingId="ring", body={}))
    refused(400, rings.create(parent=PLACE, keyRingId="no spaces", body={}))
    ring = f"{PLACE}/keyRings/ring"
    keys = rings.cryptoKeys()
    wrong = {"purpose": "ENCRYPT_DECRYPT", "rotationPeriod": "60s"}
    assert "86400s" in refused(400, keys.create(parent=ring, cryptoKeyId="key", body=wrong)).reason
    refused(400, keys.create(parent=ring, cryptoKeyId="key", body={"purpose": "ANYTHING"}))
    body = {"purpose": "ENCRYPT_DECRYPT"}
    keys.create(parent=ring, cryptoKeyId="key", body=body).execute()
    key = keys.get(name=f"{ring}/cryptoKeys/key").execute()
    assert key["primary"]["state"] == "ENABLED"
    refused(404, keys.get(name=f"{ring}/cryptoKeys/other"))


def accounts_come_before_their_roles(clients: Clients) -> None:
    member = f"serviceAccount:deploy@{PROJECT}.iam.gserviceaccount.com"
    policy = {"bindings": [{"role": "roles/viewer", "members": [member]}]}
    grant = clients.projects().setIamPolicy(resource=NAME, body={"policy": policy})
    assert "does not exist" in refused(400, grant).reason
    body: dict[str, Any] = {"accountId": "deploy", "serviceAccount": {}}
    clients.accounts().create(name=NAME, body=body).execute()
    refused(409, clients.accounts().create(name=NAME, body=body))
    refused(400, clients.accounts().create(name=NAME, body={**body, "accountId": "x"}))
    grant.execute()


def policies_change_by_etag(clients: Clients) -> None:
    read = clients.projects().getIamPolicy(resource=NAME, body={})
    policy = read.execute()
    everybody = {"role": "roles/browser", "members": ["user:ana@example.com"]}
    changed = {**policy, "bindings": [*policy["bindings"], everybody]}
    clients.projects().setIamPolicy(resource=NAME, body={"policy": changed}).execute()
    stale = clients.projects().setIamPolicy(resource=NAME, body={"policy": changed})
    assert "concurrent policy changes" in refused(409, stale).reason
    condition = {"title": "t", "expression": "true"}
    current = read.execute()
    conditional = {"bindings": [{**everybody, "condition": condition}], "etag": current["etag"]}
    asked = clients.projects().setIamPolicy(resource=NAME, body={"policy": conditional})
    assert "version to 3" in refused(400, asked).reason
    wrong = {"bindings": [{"role": "roles/browser", "members": ["ana"]}]}
    refused(400, clients.projects().setIamPolicy(resource=NAME, body={"policy": wrong}))


def denied_permissions_and_constraints_refuse(clients: Clients) -> None:
    rule = {"denyRule": {"deniedPermissions": ["cloudkms.googleapis.com/keyRings.create"]}}
    point = f"cloudresourcemanager.googleapis.com%2Fprojects%2F{PROJECT}"
    policies = clients.rest.client("iam", "v2").policies()
    parent = f"policies/{point}/denypolicies"
    policies.createPolicy(parent=parent, policyId="no-rings", body={"rules": [rule]}).execute()
    create = clients.rings().create(parent=PLACE, keyRingId="more", body={})
    info = info_of(refused(403, create))
    assert info["metadata"]["permission"] == "cloudkms.keyRings.create"
    asked = ["cloudkms.keyRings.create", "cloudkms.keyRings.get"]
    tested = clients.projects().testIamPermissions(resource=NAME, body={"permissions": asked})
    assert tested.execute() == {"permissions": ["cloudkms.keyRings.get"]}
    policies.delete(name=f"{parent}/no-rings").execute()

    policy = {
        "name": f"{NAME}/policies/gcp.resourceLocations",
        "spec": {"rules": [{"values": {"allowedValues": ["in:eu-locations"]}}]},
    }
    org = clients.rest.client("orgpolicy", "v2").projects().policies()
    org.create(parent=NAME, body=policy).execute()
    assert "constraints/gcp.resourceLocations" in refused(400, create).reason
    org.delete(name=policy["name"]).execute()
    create.execute()


def quotas_can_be_lowered(clients: Clients) -> None:
    regions = clients.rest.client("compute", "v1")
    regions._baseUrl = f"{clients.rest.url}/compute.googleapis.com/compute/v1/"
    regions = regions.regions()

    def cpus() -> float:
        found = regions.get(project=PROJECT, region="us-central1").execute()
        return next(one["limit"] for one in found["quotas"] if one["metric"] == "CPUS")

    assert cpus() == 24
    limits = (
        clients.rest.client("serviceusage", "v1beta1").services().consumerQuotaMetrics().limits()
    )
    parent = (
        f"{NAME}/services/compute.googleapis.com/consumerQuotaMetrics/"
        "compute.googleapis.com%2Fcpus/limits/%2Fproject%2Fregion"
    )
    limits.consumerOverrides().create(parent=parent, body={"overrideValue": "4"}).execute()
    assert cpus() == 4
    refused(404, regions.get(project=PROJECT, region="moon-east1"))


def answers_fit_googles_documents(clients: Clients) -> None:
    """What the client was given has no field that Google's answers do not have."""
    billing = clients.rest.client("cloudbilling", "v1").projects()
    clients.on("cloudbilling")
    answers = {
        ("cloudkms", "v1", "CryptoKey"): clients.rings()
        .cryptoKeys()
        .get(name=f"{PLACE}/keyRings/ring/cryptoKeys/key")
        .execute(),
        ("iam", "v1", "ServiceAccount"): clients.accounts()
        .get(name=f"{NAME}/serviceAccounts/deploy@{PROJECT}.iam.gserviceaccount.com")
        .execute(),
        ("cloudresourcemanager", "v3", "Project"): clients.projects().get(name=NAME).execute(),
        ("cloudbilling", "v1", "ProjectBillingInfo"): billing.getBillingInfo(name=NAME).execute(),
        ("serviceusage", "v1", "GoogleApiServiceusageV1Service"): clients.usage()
        .get(name=f"{NAME}/services/run.googleapis.com")
        .execute(),
    }
    for (name, version, schema), answer in answers.items():
        assert Api.load(name, version).violations_of(schema, answer) == []
