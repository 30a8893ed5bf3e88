"""What a job says of itself: its messages, from the log, and its metrics, from a file."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

log = logging.getLogger(__name__)

IMPORTANCES: Final = (
    "JOB_MESSAGE_IMPORTANCE_UNKNOWN",
    "JOB_MESSAGE_DEBUG",
    "JOB_MESSAGE_DETAILED",
    "JOB_MESSAGE_BASIC",
    "JOB_MESSAGE_WARNING",
    "JOB_MESSAGE_ERROR",
)
_LEVELS: Final = {
    "DEBUG": "JOB_MESSAGE_DEBUG",
    "INFO": "JOB_MESSAGE_DETAILED",
    "WARNING": "JOB_MESSAGE_WARNING",
    "WARN": "JOB_MESSAGE_WARNING",
    "ERROR": "JOB_MESSAGE_ERROR",
    "CRITICAL": "JOB_MESSAGE_ERROR",
    "FATAL": "JOB_MESSAGE_ERROR",
}
_LEVEL: Final = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b")
_TIME: Final = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*Z?")
_MARK: Final = "--- "
# The messages are for people: the end of a log is what they ask for.
_MAX_LINES: Final = 5000


class Counter(msgspec.Struct):
    """A counter of the pipeline: `value` is the total so far."""

    name: str
    value: int
    namespace: str = ""
    step: str = ""


class Distribution(msgspec.Struct):
    """A distribution of the pipeline."""

    name: str
    count: int
    sum: int
    min: int
    max: int
    namespace: str = ""
    step: str = ""


class Metrics(msgspec.Struct):
    """What a pipeline may write, as JSON, to the file that `DATAFLOW_METRICS_FILE` names."""

    counters: list[Counter] = []
    distributions: list[Distribution] = []


def read_metrics(file: Path) -> dict[str, Any]:
    """The metrics as `JobMetrics`; none while nothing was written, or nothing that can be read."""
    try:
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        metrics = msgspec.json.decode(file.read_bytes(), type=Metrics)
    except FileNotFoundError:
        return {"metricTime": _text(datetime.now(UTC))}
    except msgspec.MsgspecError as error:
        log.warning("the metrics in %s cannot be read: %s", file, error)
        return {"metricTime": _text(datetime.now(UTC))}
    at = _text(written)
    updates: list[dict[str, Any]] = []
    for one in [*metrics.counters, *metrics.distributions]:
        context = {"namespace": one.namespace, "step": one.step}
        update: dict[str, Any] = {
            "name": {
                "origin": "user",
                "name": one.name,
                "context": {key: value for key, value in context.items() if value},
            },
            "cumulative": True,
            "updateTime": at,
        }
        if isinstance(one, Counter):
            update |= {"kind": "Sum", "scalar": one.value}
        else:
            update |= {
                "kind": "Distribution",
                "distribution": {
                    "count": one.count,
                    "sum": one.sum,
                    "min": one.min,
                    "max": one.max,
                    "mean": one.sum / one.count if one.count else 0,
                },
            }
        updates.append(update)
    return {"metricTime": at, "metrics": updates}


def read_messages(lines: list[str], begun: str) -> list[dict[str, Any]]:
    """Log lines as job messages, in order.

    A line without a time or a level of its own, as those of a traceback, has those of the line
    before it; all times of workloads are in UTC.

    Args:
        lines: of the log.
        begun: the time of the first lines, RFC 3339.
    """
    messages: list[dict[str, Any]] = []
    moment, importance = begun, "JOB_MESSAGE_DETAILED"
    for number, raw in enumerate(lines[-_MAX_LINES:], max(1, len(lines) - _MAX_LINES + 1)):
        line = raw.rstrip()
        if not line:
            continue
        marked = line.startswith(_MARK)
        text = line.removeprefix(_MARK) if marked else line
        if stamp := _TIME.match(text):
            fraction = (stamp[2] or "0").ljust(6, "0")
            moment = f"{stamp[1].replace(' ', 'T')}.{fraction}Z"
            importance = "JOB_MESSAGE_DETAILED"
        if marked:
            importance = "JOB_MESSAGE_BASIC"
            text = text.partition(" ")[2]
        elif level := _LEVEL.search(text[:80]):
            importance = _LEVELS[level[1]]
        elif text.startswith("Traceback "):
            importance = "JOB_MESSAGE_ERROR"
        messages.append(
            {
                "id": f"{number:09d}",
                "time": moment,
                "messageText": text,
                "messageImportance": importance,
            }
        )
    return messages


def select(messages: list[dict[str, Any]], query: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages that a request wants: of an importance at least, and within its times."""
    least = IMPORTANCES.index(query.get("minimumImportance") or IMPORTANCES[0])
    start, end = query.get("startTime"), query.get("endTime")
    return [
        one
        for one in messages
        if IMPORTANCES.index(one["messageImportance"]) >= least
        and (start is None or _moment(one["time"]) >= _moment(start))
        and (end is None or _moment(one["time"]) < _moment(end))
    ]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
