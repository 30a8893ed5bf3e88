"""What is acknowledged, and when: one message for one row that was written."""

from __future__ import annotations

from workloads.ingestion.direct_runner import Outstanding


def test_a_message_is_acknowledged_once_its_row_is_written() -> None:
    outstanding = Outstanding()
    outstanding.add("m1", "flights", "ack-1")
    outstanding.add("m2", "arrivals", "ack-2")
    assert outstanding.take_written("flights") == []
    outstanding.confirm(["m1"])
    assert len(outstanding) == 1
    assert outstanding.take_written("arrivals") == []
    assert outstanding.take_written("flights") == ["ack-1"]
    assert outstanding.take_written("flights") == [], "each once"


def test_of_two_with_one_id_a_row_acknowledges_one() -> None:
    outstanding = Outstanding()
    outstanding.add("key", "flights", "ack-1")
    outstanding.add("key", "flights", "ack-2")
    outstanding.confirm(["key"])
    assert outstanding.take_written("flights") == ["ack-1"]
    assert len(outstanding) == 1
    outstanding.confirm(["key", "key"])
    assert outstanding.take_written("flights") == ["ack-2"]
    assert len(outstanding) == 0


def test_rows_of_messages_that_came_before_a_restart_are_nobodys() -> None:
    outstanding = Outstanding()
    outstanding.confirm(["m0"])
    assert outstanding.take_written("flights") == []
