"""Plans and reviews for tests: constructed ones, and one that the engine recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esteira.engine.policies import Finding
from esteira.review import compare, security
from esteira.review.cost import estimate
from esteira.review.outputs import OutputChange
from esteira.review.plan import Plan, Resource, read
from esteira.review.result import Basis, Comparison, Review
from localcloud.provider.values import UNKNOWN as NOT_KNOWN

ROOT = Path("/home/someone/checkout")
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("review_state.json").read_text())
"""A preview against a state, as Pulumi 3.250 told it: a topic renamed, and what follows."""

TOPIC = "gcp:pubsub/topic:Topic"
SUBSCRIPTION = "gcp:pubsub/subscription:Subscription"
BUCKET = "gcp:storage/bucket:Bucket"
TABLE = "gcp:bigquery/table:Table"
SERVICE = "gcp:cloudrunv2/service:Service"
MEMBER = "gcp:storage/bucketIAMMember:BucketIAMMember"


def urn(token: str, name: str, component: str = "") -> str:
    """`component` is the type of the component that it lies in."""
    return f"urn:pulumi:prod::esteira::{component + '$' if component else ''}{token}::{name}"


def resource(token: str, name: str = "one", **facts: Any) -> Resource:
    """A resource; what is no field of it is one of its inputs."""
    fields = ("component", "product", "protect", "ignored", "dependencies")
    known = {key: facts.pop(key) for key in fields if key in facts}
    return Resource(urn=urn(token, name), type=token, name=name, inputs=facts, **known)


def digest(*steps: Mapping[str, Any]) -> dict[str, Any]:
    """Pulumi's digest with these steps, and the stack and a provider of one product."""
    stack = {"type": "pulumi:pulumi:Stack", "custom": False}
    provider = {
        "type": "pulumi:providers:gcp",
        "custom": True,
        "inputs": {"defaultLabels": json.dumps({"product": "flight-delay"})},
    }
    return {
        "steps": [
            {"op": "create", "urn": urn("pulumi:pulumi:Stack", "esteira-prod"), "newState": stack},
            {"op": "create", "urn": PROVIDER, "newState": provider},
            *steps,
        ]
    }


PROVIDER = urn("pulumi:providers:gcp", "flight-delay")


def created(token: str, name: str = "one", **state: Any) -> dict[str, Any]:
    """A step that creates a resource."""
    return {
        "op": "create",
        "urn": urn(token, name),
        "newState": {
            "type": token,
            "custom": True,
            "provider": f"{PROVIDER}::{UNKNOWN}",
            "parent": urn("pulumi:pulumi:Stack", "esteira-prod"),
            "inputs": {},
            **state,
        },
    }


def plan(*steps: Mapping[str, Any]) -> Plan:
    return read(digest(*steps), ROOT)


def reviewed(
    before: list[Resource],
    after: list[Resource],
    *,
    outputs: tuple[OutputChange, ...] = (),
    **facts: Any,
) -> Review:
    """The review of one plan that gives way to another."""
    changes = compare.changes({x.urn: x for x in before}, {x.urn: x for x in after})
    comparison = Comparison(basis=Basis.BASE, ref="origin/main", commit="0123456789abcdef")
    return Review(
        stack="prod",
        command="esteira preview prod --offline --base origin/main --format text",
        comparison=facts.pop("comparison", comparison),
        changes=changes,
        total=len(after),
        outputs=outputs,
        security=security.changes(changes),
        judged=True,
        cost=estimate(after, {}),
        cost_before=estimate(before, {}),
        **facts,
    )


def finding(policy: str, *, mandatory: bool = True, decided: bool = True) -> Finding:
    """Something that a policy found."""
    return Finding(
        policy=policy,
        mandatory=mandatory,
        decided=decided,
        resource="urn:pulumi:prod::esteira::x::landing",
        message="`versioning.enabled` is not set",
        remedy="Set it.",
        references=("house",),
    )


def sample() -> Review:
    """What docs/pull-requests.md shows: a pull request with something of each kind in it."""
    renamed = OutputChange(
        name="flight_delay_landing",
        breaks=True,
        what="renamed",
        instead="flight_delay_landing_bucket",
    )
    violation = Finding(
        policy="bucket-versioning",
        mandatory=True,
        decided=True,
        resource=urn(BUCKET, "flight-delay-landing"),
        message="`versioning.enabled` is `false`; it has to be `true`",
        remedy="Set `versioning.enabled` to true, with a lifecycle rule that ends old versions.",
        references=("CKV_GCP_78",),
    )
    waiting = Finding(
        policy="topic-customer-key",
        mandatory=True,
        decided=False,
        resource=urn(TOPIC, "flight-delay-flights"),
        message="not known yet",
        remedy="",
        references=(),
    )
    return reviewed(
        _sampled(changed=False),
        _sampled(changed=True),
        outputs=(renamed,),
        findings=(violation, waiting),
        rebuilt=("training",),
    )


def _sampled(*, changed: bool) -> list[Resource]:
    def of(component: str) -> dict[str, str]:
        return {"product": "flight-delay", "component": component}

    topic = Resource(
        urn=urn(TOPIC, "flight-delay-flights"),
        type=TOPIC,
        name="flight-delay-flights",
        inputs={"name": "flight-delay-flight-events" if changed else "flight-delay-flights"},
        product="flight-delay",
        component="EventStream flight-delay-flights",
    )
    columns = [{"name": "flight_id", "type": "STRING", "mode": "REQUIRED"}]
    if changed:
        columns.append({"name": "gate", "type": "STRING", "mode": "NULLABLE"})
    return [
        topic,
        resource(
            SUBSCRIPTION,
            "flight-delay-flights-ingestion",
            topic=NOT_KNOWN,
            dependencies={"topic": (topic.urn,)},
            **of("EventStream flight-delay-flights"),
        ),
        resource(
            BUCKET,
            "flight-delay-landing",
            versioning={"enabled": not changed},
            **of("LandingZone flight-delay"),
        ),
        resource(
            TABLE,
            "flight-delay-raw-flights",
            schema=json.dumps(columns),
            **of("Warehouse flight-delay"),
        ),
        resource(
            MEMBER,
            "flight-delay-ingest-read-landing",
            bucket="esteira-prod-flight-delay-landing",
            member="serviceAccount:flight-delay-ingest@esteira-prod.iam.gserviceaccount.com",
            role="roles/storage.objectAdmin" if changed else "roles/storage.objectViewer",
            **of("WorkloadIdentity flight-delay-ingest"),
        ),
        resource(
            SERVICE,
            "flight-delay-ingestion-starter",
            template={
                "containers": [{"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}],
                "scaling": {"minInstanceCount": 1 if changed else 0},
            },
            **of("PushService flight-delay-ingestion-starter"),
        ),
    ]
