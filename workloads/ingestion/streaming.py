"""One streaming job for a product: every subscribed topic into the raw tables, nothing lost.

Run as a flex template's Python file or by hand, `python workloads/ingestion/streaming.py
--product=flight-delay --data_project=P`. The Dataflow launcher builds the job and returns; any
other runner is kept running until SIGTERM.

Each message is parsed and held to its contract; late events are told by publish time minus event
time, never by the watermark, so that the decision is the same whenever the message is read. Valid
events are deduplicated in windows of event time and written to the table of their contract. The
windows allow for the longest time that Pub/Sub keeps a message beyond the allowed lateness, so that
no runner drops an event of its own accord.
"""

from __future__ import annotations

import importlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import msgspec
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.io.gcp.bigquery_tools import RetryStrategy
from apache_beam.io.gcp.pubsub import PubsubMessage, ReadFromPubSub
from apache_beam.options.pipeline_options import StandardOptions
from apache_beam.pvalue import PCollection, TaggedOutput
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue

from workloads import gcp, product
from workloads.ingestion import beam_options, options, tables
from workloads.ingestion.deduplication import DUPLICATES, Candidate, FirstOfEach, shard
from workloads.ingestion.judging import Message, Row, discarded, judge, refused, rfc3339
from workloads.product import Product, Source

log: Final = logging.getLogger("esteira.ingestion")

DEAD: Final = "dead"
LATE: Final = "late"
# The longest that a Pub/Sub subscription keeps a message that nobody has taken.
RETENTION: Final = timedelta(days=31)


@dataclass(frozen=True, kw_only=True)
class Deduplication:
    """How duplicates are told."""

    window: timedelta = timedelta(minutes=60)
    shards: int = 16


class Judge(beam.DoFn):
    """Messages into candidates; `dead` and `late` leave as the rows that record them."""

    def __init__(self, product_name: str, contract: str) -> None:
        self._product_name = product_name
        self._contract = contract

    def setup(self) -> None:
        self._source = product.load(self._product_name).source(self._contract)

    def process(self, element: PubsubMessage) -> Iterator[Any]:
        message = Message(
            data=element.data or b"",
            attributes=element.attributes or {},
            message_id=element.message_id or "",
            publish_time=_publish_time(element),
        )
        verdict = judge(self._source, message, datetime.now(UTC))
        if verdict.outcome == "row":
            candidate: Candidate = (verdict.identity, rfc3339(verdict.event_time), verdict.row)
            # A replayed dead letter may have happened long ago. Runners drop what is older than
            # their windows allow, so that it counts here as old as the source allows.
            oldest = message.publish_time - self._source.allowed_lateness
            yield TimestampedValue(candidate, max(verdict.event_time, oldest).timestamp())
        else:
            yield TaggedOutput(verdict.outcome, verdict.row)


def _publish_time(message: PubsubMessage) -> datetime:
    time = message.publish_time
    if time is None:
        raise ValueError("Pub/Sub delivered a message without publish time")
    if isinstance(time, datetime):
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return time.to_utc_datetime().replace(tzinfo=UTC)


@dataclass(frozen=True)
class Judged:
    """What one contract's messages became."""

    rows: PCollection[Row]
    dead: PCollection[Row]
    late: PCollection[Row]
    duplicates: PCollection[Row]


class Ingest(beam.PTransform):
    """Messages of one contract -> `Judged`. Knows neither Pub/Sub nor BigQuery."""

    def __init__(self, product: Product, source: Source, how: Deduplication) -> None:
        super().__init__()
        self._product = product
        self._source = source
        self._how = how

    def expand(self, input_or_inputs: PCollection[PubsubMessage]) -> Judged:
        source, shards = self._source, self._how.shards
        judged: Any = input_or_inputs | "Judge" >> beam.ParDo(
            Judge(self._product.name, source.contract.NAME)
        ).with_outputs(DEAD, LATE, main="valid")
        first: Any = (
            judged["valid"]
            | "Shard"
            >> beam.Map(lambda one: (shard(one[0], shards), one)).with_output_types(
                tuple[int, tuple[str, str, dict[str, Any]]]
            )
            | "Window"
            >> beam.WindowInto(
                FixedWindows(self._how.window.total_seconds()),
                allowed_lateness=int((source.allowed_lateness + RETENTION).total_seconds()),
            )
            | "Deduplicate"
            >> beam.ParDo(FirstOfEach(source.allowed_lateness)).with_outputs(
                DUPLICATES, main="first"
            )
        )
        contract = source.contract
        duplicates = first[DUPLICATES] | "Duplicate" >> beam.Map(
            lambda one: discarded(
                contract,
                "duplicate",
                one[2]["message_id"],
                one[0],
                datetime.fromisoformat(one[1]),
                datetime.fromisoformat(one[2]["publish_time"]),
            )
        )
        return Judged(first["first"], judged[DEAD], judged[LATE], duplicates)


def refused_row(contract: str, version: int, failed: tuple[str, Row, Any]) -> Row:
    """The dead letter of a valid row that BigQuery would not take."""
    _, row, errors = failed
    return refused(
        message_id=row["message_id"],
        received_at=datetime.fromisoformat(row["publish_time"]),
        source=row["source"],
        raw=msgspec.json.encode({k: v for k, v in row.items() if k not in _PROVENANCE}),
        attributes={},
        field="$",
        value="a row that its contract allows",
        reason=f"BigQuery refused it: {errors}",
        contract=contract,
        version=version,
    )


_PROVENANCE: Final = frozenset(column["name"] for column in tables.PROVENANCE)


def subscription(project: str, product: Product, source: Source) -> str:
    """The full name of the subscription that ingestion reads."""
    return f"projects/{project}/subscriptions/{product.name}-{source.contract.PLURAL}-ingestion"


def build(
    pipeline: beam.Pipeline, product: Product, project: str, dataset: str, how: Deduplication
) -> None:
    """Add the whole job to a pipeline."""
    dead: list[PCollection[Row]] = []
    set_aside: list[PCollection[Row]] = []
    for source in product.streams:
        contract = source.contract
        plural = contract.PLURAL
        judged: Any = (
            pipeline
            | f"Read {plural}"
            >> ReadFromPubSub(
                subscription=subscription(project, product, source), with_attributes=True
            )
            | f"Ingest {plural}" >> Ingest(product, source, how)
        )
        rows = _global(judged.rows, f"Unwindow {plural}")
        written: Any = rows | f"Write {plural}" >> _sink(project, dataset, plural)
        name, version = contract.NAME, contract.VERSION
        not_taken = written.failed_rows_with_errors | f"Refused {plural}" >> beam.Map(
            lambda failed, name=name, version=version: refused_row(name, version, failed)
        )
        dead += [judged.dead, _global(not_taken, f"Unwindow refused {plural}")]
        set_aside += [
            judged.late,
            _global(judged.duplicates, f"Unwindow duplicates {plural}"),
        ]
    dead_rows: Any = dead | "All dead letters" >> beam.Flatten()
    _ = dead_rows | "Write dead letters" >> _sink(
        project, dataset, tables.DEAD_LETTERS, RetryStrategy.RETRY_ALWAYS
    )
    other_rows: Any = set_aside | "All discarded" >> beam.Flatten()
    _ = other_rows | "Write discarded" >> _sink(
        project, dataset, tables.DISCARDED, RetryStrategy.RETRY_ALWAYS
    )


def _global(rows: PCollection[Row], label: str) -> Any:
    return rows | label >> beam.WindowInto(GlobalWindows())


def _sink(
    project: str,
    dataset: str,
    table: str,
    retry: str = RetryStrategy.RETRY_ON_TRANSIENT_ERROR,
) -> WriteToBigQuery:
    return WriteToBigQuery(
        table=f"{project}:{dataset}.{table}",
        method=WriteToBigQuery.Method.STREAMING_INSERTS,
        create_disposition=BigQueryDisposition.CREATE_NEVER,
        write_disposition=BigQueryDisposition.WRITE_APPEND,
        insert_retry_strategy=retry,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Build and run the job.

    Raises:
        InvalidOption: an option is missing or not allowed.
        InvalidProduct: the product does not exist, or takes in no stream.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Beam tells each annotation that it reads as text.
    logging.getLogger("apache_beam.typehints").setLevel(logging.WARNING)
    # DirectRunner by its own name: the others do not stream.
    told = beam_options.read(
        sys.argv[1:] if argv is None else argv, options.STREAMING, "BundleBasedDirectRunner"
    )
    chosen = told.values
    declared = product.load(chosen["product"])
    if not declared.streams:
        raise product.InvalidProduct(f"{declared.name} takes in no stream; nothing to run")
    told.view_as(StandardOptions).streaming = True
    if gcp.emulated("PUBSUB"):
        from workloads.ingestion import direct_runner

        direct_runner.install()
    gcp.point_beam_at_emulators()
    pipeline = beam.Pipeline(options=told.beam_options)
    build(
        pipeline,
        declared,
        chosen["data_project"],
        chosen["dataset"] or tables.dataset(declared),
        Deduplication(
            window=timedelta(minutes=int(chosen["window_minutes"])),
            shards=int(chosen["dedup_shards"]),
        ),
    )
    result = pipeline.run()
    if not told.on_dataflow:
        _run_until_stopped(result)


def _run_until_stopped(result: PipelineResult) -> None:
    """Wait for SIGTERM or SIGINT, or for the job to fail, whichever is first."""
    from workloads.ingestion import direct_runner

    wake = threading.Event()
    stopped = threading.Event()
    failure: list[BaseException] = []

    def stop(*_: Any) -> None:
        stopped.set()
        wake.set()

    def wait() -> None:
        try:
            result.wait_until_finish()
        except BaseException as error:  # noqa: BLE001 - it is raised again, by the main thread
            failure.append(error)
        wake.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    threading.Thread(target=wait, name="pipeline", daemon=True).start()
    log.info("ingestion is running")
    wake.wait()
    if failure:
        raise failure[0]
    if stopped.is_set():
        left = direct_runner.drain(timedelta(seconds=5))
        log.info("stopped; %d messages were under way and will be delivered again", left)


if __name__ == "__main__":
    # Run by path, Python searches this folder, whose modules are not meant to be found by name.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    # Workers find the steps by module name, so the job is built from the module, not from here.
    importlib.import_module("workloads.ingestion.streaming").main()
