"""Every product's feature query, as BigQuery reads it over raw tables without rows."""

from __future__ import annotations

from datetime import datetime

import pytest

from esteira import product_check
from tests.workloads.conftest import LocalCloud
from workloads import gcp
from workloads import product as products


@pytest.mark.parametrize("name", products.names())
def test_it_gives_what_its_product_declares(cloud: LocalCloud, name: str) -> None:
    from google.cloud import bigquery

    def ask(sql: str, parameters: dict[str, datetime]) -> list[tuple[str, str]]:
        given = [
            bigquery.ScalarQueryParameter(one, "TIMESTAMP", value)
            for one, value in parameters.items()
        ]
        config = bigquery.QueryJobConfig(query_parameters=given)
        rows = gcp.bigquery_client().query(sql, job_config=config).result()
        return [(field.name, field.field_type) for field in rows.schema]

    del cloud
    findings = list(product_check.check(products.load(name), ask))

    assert {one.what: one.found for one in findings if one.passed is False} == {}
    assert {"features", "leak guard"} <= {one.what for one in findings if one.passed}
