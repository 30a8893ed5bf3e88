"""A feature query that builds on another product's."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from esteira import product_check
from workloads import product as products
from workloads.features import leakage, views
from workloads.features.query import FeatureQuery, InvalidFeatureQuery
from workloads.gate.guard import guard
from workloads.manifest import Data
from workloads.product import InvalidProduct, Product

MOMENT = datetime(2013, 1, 9, 12, tzinfo=UTC)


@pytest.fixture
def upper() -> Product:
    return products.load("arrival-delay")


@pytest.fixture
def base() -> Product:
    return products.load("flight-delay")


def with_sql(product: Product, folder: Path, old: str, new: str) -> Product:
    text = product.features.sql.read_text()
    assert old in text
    sql = folder / f"{product.id}.sql"
    sql.write_text(text.replace(old, new))
    return dataclasses.replace(product, features=dataclasses.replace(product.features, sql=sql))


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Declares products anew for one test."""
    known = products._declared
    changed: dict[str, Product] = {}
    monkeypatch.setattr(products, "_declared", lambda name: changed.get(name) or known(name))

    def declare(*new: Product) -> None:
        changed.update({one.name: one for one in new})

    return declare


def test_it_holds_the_rows_of_the_base_and_only_declared_columns(
    upper: Product, base: Product
) -> None:
    relation = FeatureQuery(base).relation(project="p")

    assert relation in FeatureQuery(upper).text(project="p")
    assert relation.startswith(f"(SELECT {', '.join(FeatureQuery(base).columns)} FROM (")
    for view in (views.examples, views.features, views.latest):
        assert "airports_late_3h" in view(upper, "p")
        assert "{base}" not in view(upper, "p")


def test_every_source_of_the_base_is_cut_off_too(upper: Product) -> None:
    text = FeatureQuery(upper).text(known_at=MOMENT, project="p")

    # Flights and arrivals are read by both queries.
    assert text.count("`p.") == text.count("<= TIMESTAMP '2013-01-09 12:00:00.000000+00:00'") == 6


def test_its_hash_changes_with_the_base(
    upper: Product,
    base: Product,
    declared: Any,
    tmp_path: Path,
) -> None:
    def digest() -> str:
        return hashlib.sha256(FeatureQuery(upper).text(project="p").encode()).hexdigest()

    before = digest()
    declared(with_sql(base, tmp_path, "INTERVAL 6 HOUR", "INTERVAL 5 HOUR"))

    assert digest() != before


def test_a_base_that_reads_the_future_is_found_out_by_who_builds_on_it(
    january: Product, upper: Product, declared: Any, tmp_path: Path
) -> None:
    declared(
        with_sql(
            january,
            tmp_path,
            "recent.origin_delay_3h,",
            "CAST(landings.arrival_delay AS FLOAT64) AS origin_delay_3h,",
        )
    )
    query = FeatureQuery(upper)
    rows = query.run(MOMENT, MOMENT.replace(hour=14))

    with pytest.raises(leakage.LeakFound, match="`origin_delay_3h`"):
        leakage.check(query, rows, moments=1)


def test_the_verdict_of_the_guard_is_not_kept_beyond_the_base(
    january: Product, upper: Product, declared: Any, tmp_path: Path
) -> None:
    from workloads import gcp

    bucket = f"{gcp.project()}-base-test"
    if gcp.storage_client().lookup_bucket(bucket) is None:
        gcp.storage_client().create_bucket(bucket)
    rows = FeatureQuery(upper).run(MOMENT, MOMENT.replace(hour=14))
    holdout = Data(
        uri=f"gs://{bucket}/snapshots/one.parquet",
        sha256="one",
        rows=rows.num_rows,
        start=MOMENT,
        end=MOMENT.replace(hour=14),
    )

    assert guard(upper, holdout, rows).leaking is None
    declared(
        with_sql(
            january,
            tmp_path,
            "recent.carrier_late_7d,",
            "CAST(landings.late AS FLOAT64) AS carrier_late_7d,",
        )
    )
    assert guard(upper, holdout, rows).leaking == "carrier_late_7d"


@pytest.mark.parametrize("name", ["arrival-delay", "Flight", ""])
def test_a_name_that_no_base_can_have_is_refused(upper: Product, name: str) -> None:
    features = dataclasses.replace(upper.features, base=name)

    with pytest.raises(InvalidProduct, match=f"features.base is '{name}'; allowed: the name of"):
        dataclasses.replace(upper, features=features)


def test_a_base_that_is_no_product_is_refused(upper: Product, declared: Any) -> None:
    features = dataclasses.replace(upper.features, base="ferry-delay")
    declared(dataclasses.replace(upper, features=features))

    with pytest.raises(InvalidProduct, match="'ferry-delay', which is none; allowed: flight-delay"):
        products.load(upper.name)


def test_two_that_build_on_each_other_are_refused(
    upper: Product, base: Product, declared: Any
) -> None:
    declared(
        dataclasses.replace(base, features=dataclasses.replace(base.features, base=upper.name))
    )

    with pytest.raises(InvalidProduct, match="'arrival-delay', which builds on it in turn"):
        products.load(upper.name)


def test_a_base_that_reads_what_the_product_may_not_is_refused(
    upper: Product, declared: Any
) -> None:
    declared(dataclasses.replace(upper, sources=upper.sources[:2]))

    with pytest.raises(InvalidProduct, match="the features of flight-delay read weather"):
        products.load(upper.name)


def test_the_base_is_named_in_the_declaration_and_in_the_query_or_in_neither(
    upper: Product, tmp_path: Path
) -> None:
    alone = dataclasses.replace(upper, features=dataclasses.replace(upper.features, base=None))

    with pytest.raises(InvalidFeatureQuery, match=r"\{base\}; allowed: \{flights\}"):
        FeatureQuery(alone).text(project="p")
    unread = with_sql(upper, tmp_path, "{base}", "{flights} CROSS JOIN {weather}, {aircraft}")
    found = [one.found for one in product_check.check(unread, None) if one.passed is False]
    assert any("reads no {base}; read them, or take them out" in one for one in found), found


def test_what_it_builds_on_is_told(upper: Product) -> None:
    declaration = next(iter(product_check.check(upper, None)))

    assert declaration.found.endswith("builds on the features of flight-delay")
