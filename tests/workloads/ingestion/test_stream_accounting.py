"""Whatever comes in, every message leaves the pipeline by exactly one door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.testing.test_pipeline import TestPipeline as MemoryPipeline
from apache_beam.testing.util import assert_that
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from workloads import contracts, product
from workloads.ingestion.streaming import Deduplication, Ingest, Judged
from workloads.products.flight_delay.contracts import FlightArrival

PRODUCT = product.load("flight-delay")
SOURCE = PRODUCT.source("arrival")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)

Kind = Literal["event", "poison", "late"]


@dataclass(frozen=True)
class Sent:
    """One generated message."""

    kind: Kind
    number: int
    """Of the flight; messages that share it are one event."""
    minutes: int
    """Of its event time, after noon."""

    def message(self, index: int) -> PubsubMessage:
        row = FlightArrival(
            flight_id=f"2013-01-01-UA-{self.number}-EWR-0515",
            landed_at=datetime(2013, 1, 1, tzinfo=UTC),
            arrival_delay=1,
        )
        data = b'{"flight_id": 5}' if self.kind == "poison" else contracts.encode(row)
        happened = NOON + timedelta(minutes=self.minutes)
        waited = timedelta(minutes=61 if self.kind == "late" else 59)
        return PubsubMessage(
            data,
            {"event_timestamp": happened.isoformat()},
            message_id=f"m{index}",
            publish_time=happened + waited,
        )

    @property
    def window(self) -> int:
        return self.minutes // 60


streams = st.lists(
    st.builds(
        Sent,
        kind=st.sampled_from(["event", "event", "event", "poison", "late"]),
        number=st.integers(1, 8),
        minutes=st.integers(0, 179),
    ),
    # A pipeline costs the same for one message as for many: few streams, each with all kinds.
    min_size=20,
    max_size=60,
)


def doors(judged: Judged) -> Any:
    """Every outcome as (door, message id, identity)."""
    named = [
        judged.rows | "Rows" >> beam.Map(lambda row: ("row", row["message_id"], row["flight_id"])),
        judged.dead | "Dead" >> beam.Map(lambda row: ("dead", row["message_id"], "")),
        judged.late | "Late" >> beam.Map(lambda row: (row["outcome"], row["message_id"], "")),
        judged.duplicates
        | "Duplicates" >> beam.Map(lambda row: (row["outcome"], row["message_id"], "")),
    ]
    unwindowed = [
        one | f"Global {index}" >> beam.WindowInto(beam.window.GlobalWindows())
        for index, one in enumerate(named)
    ]
    return unwindowed | beam.Flatten()


def exactly(sent: list[Sent]) -> Callable[[list[Any]], None]:
    def check(found: list[Any]) -> None:
        ids = Counter(message_id for _, message_id, _ in found)
        assert ids == Counter(f"m{index}" for index in range(len(sent))), "one outcome each"
        events = [one for one in sent if one.kind == "event"]
        by_door = Counter(door for door, _, _ in found)
        assert by_door["dead"] == sum(one.kind == "poison" for one in sent)
        assert by_door["late"] == sum(one.kind == "late" for one in sent)
        # Within a window an event is told from its copies; across windows the reader tells them.
        assert by_door["row"] == len({(one.number, one.window) for one in events})
        ingested = len({identity for door, _, identity in found if door == "row"})
        assert ingested == len({one.number for one in events})
        duplicates = by_door["row"] + by_door["duplicate"] - ingested
        assert len(sent) == ingested + by_door["dead"] + duplicates + by_door["late"]

    return check


@example([], 1)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(streams, st.sampled_from([1, 4, 16]))
def test_published_is_ingested_plus_dead_plus_duplicates_plus_late(
    sent: list[Sent], shards: int
) -> None:
    with MemoryPipeline(runner="BundleBasedDirectRunner") as pipeline:
        judged: Any = (
            pipeline
            | beam.Create([one.message(index) for index, one in enumerate(sent)])
            | Ingest(PRODUCT, SOURCE, Deduplication(shards=shards))
        )
        assert_that(doors(judged), exactly(sent))


def test_a_window_that_has_passed_forgets_what_it_saw() -> None:
    """Memory ends with the window, so what comes an age later passes and is told when read."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.testing.test_stream import TestStream

    first = Sent("event", 1, 0)
    stamp = NOON.timestamp()
    stream = (
        TestStream()
        .advance_watermark_to(stamp)
        .add_elements([beam.window.TimestampedValue(first.message(0), stamp)])
        .add_elements([beam.window.TimestampedValue(first.message(1), stamp)])
        .advance_watermark_to(stamp + 4 * 3600)
        .add_elements([beam.window.TimestampedValue(first.message(2), stamp)])
        .advance_watermark_to_infinity()
    )

    def check(found: list[Any]) -> None:
        assert sorted((door, message_id) for door, message_id, _ in found) == [
            ("duplicate", "m1"),
            ("row", "m0"),
            ("row", "m2"),
        ]

    options = PipelineOptions(streaming=True)
    with MemoryPipeline(runner="BundleBasedDirectRunner", options=options) as pipeline:
        judged: Any = pipeline | stream | Ingest(PRODUCT, SOURCE, Deduplication())
        assert_that(doors(judged), check)
