"""Commands for data: send events, replay a product's past, account for messages, dead letters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from esteira.printing import AsJson, console, fail, out, print_json, result

ProductName = Annotated[str, typer.Argument(metavar="PRODUCT", help="e.g. flight-delay")]
OnStack = Annotated[str, typer.Option("--stack", "-s", help="Which stack's cloud.")]

dead_letters_app = typer.Typer(help="What ingestion refused, and why.", no_args_is_help=True)


class Happened(StrEnum):
    """When a sent event counts as having happened."""

    THEN = "then"
    NOW = "now"


def send(
    product: ProductName,
    contract: Annotated[str, typer.Argument(help="Name or plural of a contract, e.g. flights.")],
    file: Annotated[
        Path, typer.Argument(help="JSON, one row a line; `-` reads the input stream.")
    ] = Path("-"),
    happened: Annotated[
        Happened,
        typer.Option(help="`then`: at the row's own time; `now`: as if it happened just now."),
    ] = Happened.THEN,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Publish rows to a contract's topic. Each is checked first; one bad row and none is sent."""
    from workloads.product import load

    declared = load(product)
    from esteira.session import connect
    from workloads import contracts, gcp
    from workloads.ingestion.judging import EVENT_TIMESTAMP, rfc3339

    source = declared.source(contract)
    if source not in declared.streams:
        fail(
            f"{source.contract.PLURAL} of {product} come as files; put them into "
            f"gs://PROJECT-{product}-landing/{source.contract.PLURAL}/"
        )
    messages = list[dict[str, Any]]()
    problems = list[str]()
    for number, line in enumerate(_lines(file), start=1):
        try:
            row = contracts.decode(source.contract, line)
        except contracts.ContractViolation as violation:
            problems.append(f"line {number}: {violation}")
            continue
        now = happened is Happened.NOW
        moment = datetime.now(UTC) if now else contracts.event_time(row)
        messages.append(
            {"data": contracts.encode(row), "attributes": {EVENT_TIMESTAMP: rfc3339(moment)}}
        )
    if problems:
        listed = "\n".join(problems[:20])
        fail(f"nothing was sent; {len(problems)} row(s) break the contract:\n{listed}")
    if not messages:
        fail(f"{file} holds no rows")
    with console.status("connecting") as status:
        connect(stack, status.update)
    publisher = gcp.publisher()
    topic = publisher.topic_path(gcp.project(), f"{declared.name}-{source.contract.PLURAL}")
    ids = list[str]()
    for start in range(0, len(messages), 500):
        ids += gcp.publish(publisher, topic, messages[start : start + 500])
    result({"topic": topic, "message_ids": ids}, as_json, f"{len(ids)} message(s) sent to {topic}")


def _lines(file: Path) -> Iterator[bytes]:
    if str(file) == "-":
        data = sys.stdin.buffer.read()
    elif file.is_file():
        data = file.read_bytes()
    else:
        fail(f"{file} is no file; give one, or `-` for the input stream")
    return (line for line in data.splitlines() if line.strip())


def replay(
    product: ProductName,
    start: Annotated[datetime, typer.Option(help="First moment, UTC.")],
    end: Annotated[datetime, typer.Option(help="First moment not replayed, UTC.")],
    speed: Annotated[
        float, typer.Option(help="Times faster than it happened; 0: as fast as it goes.")
    ] = 0,
    poison: Annotated[int, typer.Option(min=0, help="Broken messages among them.")] = 0,
    duplicates: Annotated[int, typer.Option(min=0, help="Messages sent twice.")] = 0,
    late: Annotated[int, typer.Option(min=0, help="Messages that come too late.")] = 0,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Publish a product's past as if it happened now."""
    from esteira.session import connect
    from workloads.replay.replayer import Plan
    from workloads.replay.replayer import replay as run

    plan = Plan(
        product=product,
        start=start.replace(tzinfo=UTC),
        end=end.replace(tzinfo=UTC),
        speed=speed,
        poison=poison,
        duplicates=duplicates,
        late=late,
    )
    with console.status("connecting") as status:
        connect(stack, status.update)
        published = run(
            plan, progress=lambda done, total: status.update(f"{done.total:,} of {total:,}")
        )
    result(published.to_dict(), as_json, f"{published.total:,} messages published")


def accounting(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Say where every message ended: ingested, dead letter, duplicate or too late."""
    from esteira.session import connect
    from workloads.ingestion.accounting import account

    with console.status("counting") as status:
        connect(stack, status.update)
        accounts = account(product)
    if as_json:
        print_json(accounts.to_dict())
        return
    names = ("received", "ingested", "dead_letters", "duplicates", "late", "replayed")
    table = Table("contract", *names, box=None)
    for one in (*accounts.contracts, accounts.total):
        table.add_row(one.contract or "none", *(f"{getattr(one, name):,}" for name in names))
    out.print(table)


@dead_letters_app.command("list")
def list_dead_letters(
    product: ProductName,
    contract: Annotated[str, typer.Option(help="Only of this contract.")] = "",
    field: Annotated[str, typer.Option(help="Only those that this field made invalid.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """List what was refused, newest first, each with its reason."""
    from esteira.session import connect
    from workloads.ingestion import dead_letters

    with console.status("reading") as status:
        connect(stack, status.update)
        letters = dead_letters.listed(product, contract, field, limit)
    if as_json:
        print_json(
            [
                {
                    name: getattr(one, name).decode("utf-8", "replace")
                    if name == "raw"
                    else getattr(one, name)
                    for name in one.__dataclass_fields__
                }
                for one in letters
            ]
        )
        return
    table = Table("message", "contract", "why", box=None)
    for one in letters:
        table.add_row(one.message_id, one.contract or "none", one.reason)
    out.print(table)


@dead_letters_app.command("replay")
def replay_dead_letters(
    product: ProductName,
    contract: Annotated[str, typer.Option(help="Only of this contract.")] = "",
    field: Annotated[str, typer.Option(help="Only those that this field made invalid.")] = "",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Send again, after a fix, what today's contract allows. The rest stays, with its reason."""
    from esteira.session import connect
    from workloads.ingestion import dead_letters

    with console.status("replaying") as status:
        connect(stack, status.update)
        done = dead_letters.replay(product, dead_letters.listed(product, contract, field))
    document = {
        "sent": done.sent,
        "still_broken": [str(one) for one in done.still_broken],
        "refused": list(done.refused),
    }
    text = (
        f"{done.sent} sent again; {len(done.still_broken)} still break their contract, "
        f"{len(done.refused)} were refused"
    )
    result(document, as_json, text)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(send)
    app.command()(replay)
    app.command()(accounting)
    app.add_typer(dead_letters_app, name="dead-letters")
