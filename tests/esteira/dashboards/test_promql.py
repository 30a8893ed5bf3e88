"""A query that Prometheus would refuse, or that asks for nothing, is found before it is written."""

from __future__ import annotations

import pytest

from esteira.dashboards.promql import BadQuery, check, read

KNOWN = {
    "requests_total": {"product", "code"},
    "seconds_bucket": {"product", "le"},
    "ready": {"product"},
    "custom_googleapis_com:drift": {"product", "feature"},
}


@pytest.mark.parametrize(
    "query",
    [
        "ready",
        'sum by (code) (rate(requests_total{product="a",code=~"5.."}[5m]))',
        "sum(rate(requests_total[5m])) by (code)",
        "histogram_quantile(0.99, sum by (product, le) (rate(seconds_bucket[5m]))) > 0.5",
        "(sum(rate(requests_total[5m])) or 0 * sum(ready)) / sum(ready)",
        'max(last_over_time(custom_googleapis_com:drift{product="a"}[8d])) > 0.1',
        "ready / on (product) ready",
    ],
)
def test_what_prometheus_takes_is_taken(query: str) -> None:
    check(query, KNOWN)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sum(ready", "it ends"),
        ("sum(ready))", r"`\)` after its end"),
        ("ready ready", "after its end"),
        ("ready{product=a}", "text in quotes"),
        ('ready{"a"="b"}', "name of a label"),
        ("ready[5m]", "in no function"),
        ("rate(requests_total)", "takes a range"),
        ("rate(ready[5m])", "no counter"),
        ("irate(requests_total[5m])", "no function 'irate'"),
        ("requests", "no metric 'requests'"),
        ('ready{cod="5"}', "no label cod; allowed: product"),
        ("sum by (cod) (ready)", "grouped by cod"),
        ("ready + ", "it ends"),
        ("ready # why", "not understood"),
        ("", "it ends"),
    ],
)
def test_what_is_wrong_is_named(query: str, words: str) -> None:
    with pytest.raises(BadQuery, match=words):
        check(query, KNOWN)


def test_what_a_query_names() -> None:
    found = read('sum by (code) (rate(requests_total{product="a"}[5m])) / sum(ready)')
    assert dict(found.metrics) == {"requests_total": {"product"}, "ready": frozenset()}
    assert found.grouped == {"code"}
