"""What metrics there are: `projects.metricDescriptors`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import InvalidArgument, NotFound, Unimplemented
from localcloud.rest.store import Documents
from localcloud.services.listing import page, page_answer
from localcloud.services.monitoring.filters import Header, parse
from localcloud.services.monitoring.names import CUSTOM, project_parent
from localcloud.services.monitoring.series import SeriesStore

_PREFIX: Final = "monitoring.projects.metricDescriptors"
_TYPE: Final = re.compile(r"custom\.googleapis\.com/[A-Za-z0-9_./]{1,180}")
_VALUES: Final = ("BOOL", "INT64", "DOUBLE")


class Descriptors:
    """The metric descriptors of every project. A metric that is written first makes its own."""

    def __init__(self, documents: Documents, series: SeriesStore) -> None:
        self._documents = documents
        self._series = series
        self.handlers: dict[str, Handler] = {
            f"{_PREFIX}.create": self._create,
            f"{_PREFIX}.get": self._get,
            f"{_PREFIX}.list": self._list,
            f"{_PREFIX}.delete": self._delete,
        }

    def find(self, project: str, metric: str) -> dict[str, Any] | None:
        """The descriptor of a metric, or None."""
        return self._documents.get(f"descriptor:{project}/metricDescriptors/{metric}")

    def written(self, project: str, header: Header, value_type: str) -> None:
        """Make the descriptor of a metric that is written for the first time.

        Raises:
            InvalidArgument: it is declared, and as something else.
        """
        known = self.find(project, header.metric)
        if known is None:
            _check_type(header.metric)
            self._save(
                project,
                {
                    "type": header.metric,
                    "metricKind": "GAUGE",
                    "valueType": value_type,
                    "labels": [{"key": key} for key in sorted(header.metric_labels)],
                },
            )
            return
        if known["valueType"] != value_type:
            raise InvalidArgument(
                f"Value type for metric {header.metric} must be {known['valueType']}, but is "
                f"{value_type}."
            )
        labels = {one["key"] for one in known.get("labels") or ()}
        if unknown := sorted(set(header.metric_labels) - labels):
            raise InvalidArgument(
                f"Unrecognized metric labels: {', '.join(unknown)}; {header.metric} has "
                f"{', '.join(sorted(labels)) or 'none'}."
            )

    async def _create(self, request: Request) -> dict[str, Any]:
        project = project_parent(request.path["name"])
        body: Mapping[str, Any] = request.body
        _check_type(body.get("type") or "")
        if body.get("metricKind") != "GAUGE" or body.get("valueType") not in _VALUES:
            raise Unimplemented(
                "MetricDescriptor: the local cloud keeps gauges of "
                f"{', '.join(_VALUES)}, not {body.get('metricKind')} of {body.get('valueType')}."
            )
        return self._save(project, body)

    async def _get(self, request: Request) -> dict[str, Any]:
        return self._existing(request.path["name"])

    async def _list(self, request: Request) -> dict[str, Any]:
        project = project_parent(request.path["name"])
        wanted = request.query.get("filter")
        metric = parse(wanted).metric if wanted else None
        found = [
            (stored.key, stored.value)
            for stored in self._documents.list(f"descriptor:{project}/metricDescriptors/")
            if metric in (None, stored.value["type"])
        ]
        return page_answer("metricDescriptors", page(found, request.query, default=10_000))

    async def _delete(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        metric = self._existing(name)["type"]
        self._documents.delete(f"descriptor:{name}")
        self._series.forget(name.partition("/metricDescriptors/")[0], metric)
        return {}

    def _save(self, project: str, body: Mapping[str, Any]) -> dict[str, Any]:
        name = f"{project}/metricDescriptors/{body['type']}"
        # The API itself replaces a descriptor that is there.
        descriptor = {**body, "name": name}
        self._documents.put(f"descriptor:{name}", descriptor)
        return descriptor

    def _existing(self, name: str) -> dict[str, Any]:
        found = self._documents.get(f"descriptor:{name}")
        if found is None:
            raise NotFound(f"Could not find descriptor for metric '{name}'.")
        return found


def _check_type(metric: str) -> None:
    if metric.startswith(CUSTOM) and _TYPE.fullmatch(metric):
        return
    if metric.startswith("workload.googleapis.com/"):
        raise Unimplemented(f"MetricDescriptor.type: the local cloud keeps {CUSTOM}... only.")
    raise InvalidArgument(f"MetricDescriptor.type: '{metric}' must be {CUSTOM}NAME.")
