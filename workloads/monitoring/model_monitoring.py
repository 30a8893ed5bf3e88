"""Vertex AI Model Monitoring (v2) of a product, with the thresholds of our own monitors.

Pulumi's provider has no resource for it, so this sets it up, and again whenever another version has
become champion or somebody asks: one model monitor of the champion, and two schedules.
`<product>-features` holds what servers were asked against what the model learned from;
`<product>-predictions` what they answered against the window before. Every threshold is given:
where one is left out, Vertex AI raises no alert at all, and its SDK leaves out those that are 0.

Requests are documents of the REST API v1beta1, so that the tests hold them to Google's own
discovery document.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from workloads import contracts, gcp
from workloads.artifacts import Folder
from workloads.features.query import FeatureQuery
from workloads.manifest import Data
from workloads.monitoring import tables
from workloads.monitoring.assessment import L_INFINITY
from workloads.monitoring.champion import Champion
from workloads.monitoring.tables import JENSEN_SHANNON
from workloads.monitoring.thresholds import thresholds
from workloads.prediction_log import tables as prediction_log
from workloads.prediction_log.contract import SHADOW
from workloads.product import Product, Task

log = logging.getLogger(__name__)

_TYPES: Final = {"string": "categorical", "boolean": "categorical", "number": "float"}
_METRICS: Final = {
    "categoricalMetricType": "l_infinity",
    "numericMetricType": "jensen_shannon_divergence",
}
_VALUE: Final = "value"
_ANSWER: Final = "answer"
_TIME: Final = "predicted_at"
_WAIT: Final = "60s"
_RETRIES: Final = 4


class NotInstalled(RuntimeError):
    """Vertex AI did not take the monitor. Says what it answered."""


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What there is now."""

    monitor: str
    schedules: tuple[str, ...]
    schedule: str
    """When they run, cron with its zone."""


def install(product: Product, reports: str, champion: Champion | None = None) -> Installed:
    """Make the monitor and its schedules, or bring those there are in line.

    Args:
        product: the declaration.
        reports: `gs://...` folder that Vertex AI writes its own output under.
        champion: whom it watches; the version that serves now when not given.

    Raises:
        NoSuchVersion: there is no champion.
        NotInstalled: Vertex AI refused.
    """
    import googleapiclient.errors

    champion = Champion.of(product) if champion is None else champion
    api = gcp.vertex_beta().projects().locations()
    try:
        name = _monitor(api, monitor_document(product, champion.number, reports))
        wanted = schedule_documents(product, name, champion.manifest.training)
        return Installed(
            monitor=name,
            schedules=tuple(_schedule(api, one) for one in wanted),
            schedule=wanted[0]["cron"],
        )
    except googleapiclient.errors.HttpError as error:
        more = (
            "; the local cloud has no Model Monitoring, `esteira monitor run` measures the same"
            if gcp.vertex_emulated()
            else ""
        )
        raise NotInstalled(
            f"Vertex AI Model Monitoring answered {error.status_code}: {error.reason}{more}"
        ) from error


def follow(product: Product, champion: Champion) -> None:
    """Have Vertex AI watch the champion, unless it does already; on the local cloud nothing.

    Our own monitors have said all there is to say by then: what Vertex AI refuses is logged, and
    asked for again by the next run.

    Args:
        product: the declaration.
        champion: whom it is to watch.
    """
    import googleapiclient.errors

    if gcp.vertex_emulated():
        return
    api = gcp.vertex_beta().projects().locations()
    try:
        if not _follows(api, product, champion):
            install(product, Folder.of(product, "reports").uri, champion)
            log.info("Vertex AI Model Monitoring watches version %s", champion.number)
    except (NotInstalled, googleapiclient.errors.HttpError, OSError) as error:
        log.warning("Vertex AI Model Monitoring does not watch the champion: %s", error)


def _follows(api: Any, product: Product, champion: Champion) -> bool:
    """Whether the monitor and both of its schedules are of this version.

    The schedules are made last, so an attempt that was killed between the two is found too.
    """
    import googleapiclient.errors

    name = f"{parent()}/modelMonitors/{product.name}"
    try:
        there = api.modelMonitors().get(name=name).execute(num_retries=_retries())
    except googleapiclient.errors.HttpError as error:
        if error.status_code != 404:
            raise
        return False
    target = there.get("modelMonitoringTarget", {}).get("vertexModel", {})
    if target.get("modelVersionId") != champion.number:
        return False
    for wanted in schedule_documents(product, name, champion.manifest.training):
        found = _scheduled(api, wanted["displayName"])
        if found is None or _baseline(found) != _baseline(wanted):
            return False
    return True


def _baseline(schedule: Mapping[str, Any]) -> str:
    """The query of what a schedule compares with."""
    job = schedule["createModelMonitoringJobRequest"]["modelMonitoringJob"]
    objective = job["modelMonitoringSpec"]["objectiveSpec"]
    return str(objective["baselineDataset"]["columnizedDataset"]["bigquerySource"]["query"])


def parent() -> str:
    """The location that monitors are of."""
    return f"projects/{gcp.project()}/locations/{gcp.location()}"


def monitor_document(product: Product, version: str, reports: str) -> dict[str, Any]:
    """The model monitor, `ModelMonitor` of the API.

    Args:
        product: the declaration.
        version: number of the model's version that is watched.
        reports: `gs://...` folder.
    """
    return {
        "name": f"{parent()}/modelMonitors/{product.name}",
        "displayName": product.name,
        "modelMonitoringTarget": {
            "vertexModel": {
                "model": f"{parent()}/models/{product.name}",
                "modelVersionId": version,
            }
        },
        "modelMonitoringSchema": {
            "featureFields": [
                {"name": one.name, "dataType": _TYPES.get(one.kind, "float"), "repeated": False}
                for one in contracts.fields(product.features.request)
            ],
            "predictionFields": [
                {"name": name, "dataType": kind, "repeated": False}
                for name, kind in _answers(product).items()
            ],
        },
        "tabularObjective": {
            "featureDriftSpec": feature_spec(product),
            "predictionOutputDriftSpec": prediction_spec(product),
        },
        "outputSpec": {"gcsBaseDirectory": {"outputUriPrefix": f"{reports}/vertex"}},
        # People are told by our own monitors, which hold back what does not last.
        "notificationSpec": {"enableCloudLogging": True},
    }


def feature_spec(product: Product) -> dict[str, Any]:
    """The thresholds of each feature, `DataDriftSpec` of the API."""
    ours = thresholds(product, tables.TRAINING)
    conditions: dict[str, dict[str, float]] = {}
    for one in contracts.fields(product.features.request):
        categorical = _TYPES.get(one.kind) == "categorical"
        statistic = L_INFINITY if categorical else JENSEN_SHANNON
        conditions[one.name] = {"threshold": ours.of(one.name, statistic)}
    return {
        **_METRICS,
        "features": list(conditions),
        "defaultCategoricalAlertCondition": {"threshold": ours.of("", L_INFINITY)},
        "defaultNumericAlertCondition": {"threshold": ours.of("", JENSEN_SHANNON)},
        "featureAlertConditions": conditions,
    }


def prediction_spec(product: Product) -> dict[str, Any]:
    """The thresholds of what the model answers, `DataDriftSpec` of the API."""
    ours = thresholds(product, tables.ANSWERS)
    limits = {
        name: L_INFINITY if kind == "categorical" else JENSEN_SHANNON
        for name, kind in _answers(product).items()
    }
    return {
        **_METRICS,
        "features": list(limits),
        "defaultCategoricalAlertCondition": {"threshold": ours.of("", L_INFINITY)},
        "defaultNumericAlertCondition": {"threshold": ours.of("", JENSEN_SHANNON)},
        "featureAlertConditions": {
            name: {"threshold": ours.of(name, statistic)} for name, statistic in limits.items()
        },
    }


def schedule_documents(product: Product, monitor: str, training: Data) -> list[dict[str, Any]]:
    """The two schedules, `Schedule` of the API.

    Args:
        product: the declaration.
        monitor: name of the model monitor.
        training: the rows that the model learned from.
    """
    window = _days(product.monitoring.window)
    served = {
        "columnizedDataset": {
            "bigquerySource": {"query": served_sql(product)},
            "timestampField": _TIME,
        },
        "timeOffset": {"offset": "0d", "window": window},
    }
    before = {**served, "timeOffset": {"offset": window, "window": window}}
    learned = {"columnizedDataset": {"bigquerySource": {"query": training_sql(product, training)}}}
    objectives = {
        "features": (learned, {"featureDriftSpec": feature_spec(product)}),
        "predictions": (before, {"predictionOutputDriftSpec": prediction_spec(product)}),
    }
    zone = product.monitoring.time_zone
    return [
        {
            "displayName": f"{product.name}-{name}",
            "cron": f"TZ={zone} {product.monitoring.schedule}",
            "maxConcurrentRunCount": "1",
            "createModelMonitoringJobRequest": {
                "parent": monitor,
                "modelMonitoringJob": {
                    "displayName": f"{product.name}-{name}",
                    "modelMonitoringSpec": {
                        "objectiveSpec": {
                            "tabularObjective": objective,
                            "baselineDataset": baseline,
                            "targetDataset": served,
                        }
                    },
                },
            },
        }
        for name, (baseline, objective) in objectives.items()
    ]


def served_sql(product: Product) -> str:
    """What servers were asked and answered, one column a field; without parameters."""
    columns = ",\n  ".join(
        f"JSON_VALUE(features, '$.{one.name}') AS {one.name}"
        if _TYPES.get(one.kind) == "categorical"
        else f"SAFE_CAST(JSON_VALUE(features, '$.{one.name}') AS FLOAT64) AS {one.name}"
        for one in contracts.fields(product.features.request)
    )
    answers = ", ".join(
        f"CAST({name} AS STRING) AS {name}" if kind == "categorical" else name
        for name, kind in _answers(product).items()
    )
    return (
        f"SELECT\n  {_TIME},\n  {columns},\n  {answers}\n"  # names of our own
        f"FROM `{gcp.project()}.{prediction_log.dataset(product)}.{prediction_log.NAME}`\n"
        f"WHERE features IS NOT NULL AND variant != '{SHADOW}'"
    )


def training_sql(product: Product, training: Data) -> str:
    """The rows that the model learned from, one column a field; without parameters."""
    columns = ", ".join(
        f"CAST({one.name} AS STRING) AS {one.name}"
        if _TYPES.get(one.kind) == "categorical"
        else f"CAST({one.name} AS FLOAT64) AS {one.name}"
        for one in contracts.fields(product.features.request)
    )
    text = FeatureQuery(product).text()
    for name, moment in (("@start", training.start), ("@end", training.end)):
        text = text.replace(name, _literal(moment))
    return f"SELECT {columns} FROM (\n{text}\n) WHERE {product.label.column} IS NOT NULL"  # noqa: S608  # names of our own


def _answers(product: Product) -> Mapping[str, str]:
    if product.task is Task.CLASSIFICATION:
        return {_VALUE: "float", _ANSWER: "categorical"}
    return {_VALUE: "float", "lower": "float", "upper": "float"}


def _literal(moment: datetime) -> str:
    return f"TIMESTAMP '{moment.astimezone(UTC).isoformat(sep=' ', timespec='microseconds')}'"


def _days(window: timedelta) -> str:
    return f"{window // timedelta(days=1)}d"


def _retries() -> int:
    """How often a call that a server failed at is made again. The local cloud fails always."""
    return 0 if gcp.vertex_emulated() else _RETRIES


def _monitor(api: Any, wanted: dict[str, Any]) -> str:
    import googleapiclient.errors

    monitors = api.modelMonitors()
    name = str(wanted["name"])
    try:
        monitors.get(name=name).execute(num_retries=_retries())
    except googleapiclient.errors.HttpError as error:
        if error.status_code != 404:
            raise
        operation = monitors.create(
            parent=parent(), modelMonitorId=name.rpartition("/")[2], body=wanted
        ).execute()
    else:
        mask = ",".join(one for one in wanted if one != "name")
        operation = monitors.patch(name=name, updateMask=mask, body=wanted).execute(
            num_retries=_retries()
        )
    while not operation.get("done"):
        operation = api.operations().wait(name=operation["name"], timeout=_WAIT).execute()
    if failed := operation.get("error"):
        raise NotInstalled(f"Vertex AI made no monitor {name}: {failed.get('message', failed)}")
    return name


def _schedule(api: Any, wanted: dict[str, Any]) -> str:
    schedules = api.schedules()
    there = _scheduled(api, wanted["displayName"])
    if there is None:
        return str(schedules.create(parent=parent(), body=wanted).execute()["name"])
    mask = "cron,maxConcurrentRunCount,createModelMonitoringJobRequest"
    body = {**wanted, "name": there["name"]}
    done = schedules.patch(name=there["name"], updateMask=mask, body=body)
    return str(done.execute(num_retries=_retries())["name"])


def _scheduled(api: Any, title: str) -> dict[str, Any] | None:
    """A schedule has no id of ours: it is known by its name."""
    found = (
        api.schedules()
        .list(parent=parent(), filter=f'display_name="{title}"')
        .execute(num_retries=_retries())
    )
    return next(
        (one for one in found.get("schedules", ()) if one.get("displayName") == title), None
    )
