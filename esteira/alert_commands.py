"""Commands for alerts: what is wrong now, what people were told, and whether telling them works."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from esteira.data_commands import OnStack, ProductName
from esteira.printing import AsJson, console, fail, result

if TYPE_CHECKING:
    from workloads.notifications.ledger import BucketLedger

alerts_app = typer.Typer(help="What is wrong, and what people were told.")

_TOPIC: Final = "alerts"
"""As stacks/operations.py names the topic; the ledger's bucket is `<project>-alerts`."""
_GIVEN_UP: Final = "alerts-to-teams-dead-letters-inspection"
_BATCH: Final = 100
_PAUSE: Final = 0.25
_PULL: Final = 10.0


@alerts_app.callback(invoke_without_command=True)
def alerts(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, max=1_000, help="Messages to show.")] = 20,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Show the incidents that are open, and the messages that were delivered, newest last."""
    if context.invoked_subcommand is not None:
        return
    with console.status("connecting") as status, _refused(stack):
        _connect(stack, status.update)
        status.update("asking")
        now = _open()
        told = _told(last)
    lines = [
        *(f"open since {one['since']}: {one['title']} ({one['severity']})" for one in now),
        *(line for one in told for line in _lines(one)),
    ]
    text = "\n".join(lines) or f"{stack}: nothing is wrong, and nobody was told of anything"
    result({"stack": stack, "open": now, "messages": told}, as_json, text)


@alerts_app.command("test")
def send_test(
    product: ProductName,
    wait: Annotated[
        int, typer.Option("--wait", min=1, max=600, help="Seconds until it has to be there.")
    ] = 60,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Send a test notice from the alerts' topic to every channel. Exits 1 if none gets it."""
    from workloads.notifications.channels import NAMES, mark
    from workloads.product import load

    declared = load(product)
    number = f"test.{secrets.token_hex(6)}"
    with console.status("connecting") as status, _refused(stack):
        _connect(stack, status.update)
        ledger = _ledger()
        started = time.monotonic()
        _publish(declared.name, declared.owner, number)
        status.update("waiting for the relay")
        key = f"incident/{number}/open"
        reached: list[str] = []
        while not reached and time.monotonic() - started < wait:
            time.sleep(_PAUSE)
            reached = [name for name in NAMES if ledger.has(mark(key, name))]
    seconds = time.monotonic() - started
    if not reached:
        fail(
            f"{stack}: the test notice {number} reached no channel in {wait} s; it is not lost: "
            "see docs/runbooks/undelivered-alerts.md"
        )
    document = {"product": product, "notice": number, "reached": reached, "seconds": seconds}
    text = f"the test notice reached {' and '.join(reached)} in {seconds:.1f} s"
    result({"stack": stack, **document}, as_json, text)


@alerts_app.command("resend")
def resend(stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Put alerts that the relay has given up back on their topic, once its channel is mended.

    One that was told meanwhile is not told again. Killed in between, run it again.
    """
    from workloads import gcp

    with console.status("connecting") as status, _refused(stack):
        _connect(stack, status.update)
        status.update("sending")
        topic = f"projects/{gcp.project()}/topics/{_TOPIC}"
        name = f"projects/{gcp.project()}/subscriptions/{_GIVEN_UP}"
        publisher, count = gcp.publisher(), 0
        with gcp.subscriber() as subscriber:
            while received := _pulled(subscriber, name):
                messages = [{"data": one.message.data} for one in received]
                gcp.publish(publisher, topic, messages, timeout=30)
                # After the topic has them: to have one twice is harmless, to lose one is not.
                subscriber.acknowledge(
                    request={"subscription": name, "ack_ids": [one.ack_id for one in received]}
                )
                count += len(received)
    text = f"{stack}: {count} alerts that had been given up are on their topic again"
    result({"stack": stack, "resent": count}, as_json, text)


def _pulled(subscriber: Any, name: str) -> list[Any]:
    """Some messages of a subscription; none once it is empty."""
    from google.api_core.exceptions import DeadlineExceeded

    request = {"subscription": name, "max_messages": _BATCH}
    try:
        return list(subscriber.pull(request=request, timeout=_PULL, retry=None).received_messages)
    except DeadlineExceeded:
        # Pub/Sub waits for messages to come, rather than say that there are none.
        return []


def _open() -> list[dict[str, Any]]:
    from workloads import gcp

    api = gcp.monitoring().projects().alerts()
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"parent": f"projects/{gcp.project()}", "filter": 'state="OPEN"'}
    while True:
        answer = api.list(**query).execute()
        for one in answer.get("alerts", ()):
            policy = one.get("policy", {})
            labels = policy.get("userLabels", {})
            found.append(
                {
                    "incident": one["name"],
                    "title": policy.get("displayName", ""),
                    "product": labels.get("product", ""),
                    "alert": labels.get("alert", ""),
                    "severity": policy.get("severity", ""),
                    "since": one.get("openTime", ""),
                }
            )
        if not answer.get("nextPageToken"):
            return found
        query["pageToken"] = answer["nextPageToken"]


def _told(last: int) -> list[dict[str, Any]]:
    from workloads import gcp
    from workloads.notifications.reading import plain

    inbox = gcp.alert_inbox()
    if inbox is None:
        return [plain(one) for one in _ledger().told(last)]
    import httpx

    answer = httpx.get(inbox, timeout=30)
    answer.raise_for_status()
    return [plain(one) for one in answer.json()["messages"][-last:]]


def _ledger() -> BucketLedger:
    from workloads import gcp
    from workloads.notifications.ledger import BucketLedger

    return BucketLedger(f"gs://{gcp.project()}-alerts")


def _publish(product: str, owner: str, number: str) -> None:
    """Say on the topic what Cloud Monitoring would, of an alert that there is not."""
    import json

    from workloads import gcp

    now = int(time.time())
    notice = {
        "version": "1.2",
        "incident": {
            "incident_id": number,
            "state": "open",
            "started_at": now,
            "summary": "Somebody tries whether alerts arrive. Nothing is wrong.",
            "severity": "Warning",
            "policy_name": f"{product}: a test of the alerts",
            "policy_user_labels": {"product": product, "owner": owner, "alert": "test"},
            # Of a group by itself, so that one test does not belong to the last.
            "resource": {"type": "test", "labels": {"notice": number}},
        },
    }
    topic = f"projects/{gcp.project()}/topics/{_TOPIC}"
    gcp.publish(gcp.publisher(), topic, [{"data": json.dumps(notice).encode()}], timeout=30)


def _lines(message: dict[str, Any]) -> Iterator[str]:
    yield f"{message['received']} to {message['to']}: {message['heading']}: {message['title']}"
    for text in message["texts"]:
        yield f"  {text}"
    for name, value in {**message["facts"], **message["links"]}.items():
        yield f"  {name}: {value}"


def _connect(stack: str, progress: Any) -> None:
    from esteira.session import connect

    connect(stack, progress)


@contextmanager
def _refused(stack: str) -> Iterator[None]:
    """Say in a line what a service answered."""
    import httpx
    from google.api_core.exceptions import GoogleAPICallError, NotFound
    from googleapiclient.errors import HttpError

    try:
        yield
    except NotFound as error:
        fail(f"{stack}: {error.message}; does the stack have alerts? See docs/alerts.md")
    except GoogleAPICallError as error:
        fail(f"{stack}: {error.message}")
    except (HttpError, httpx.HTTPError) as error:
        fail(f"{stack}: {error}")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(alerts_app, name="alerts")
