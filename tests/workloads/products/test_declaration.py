"""What a product may declare of what another takes in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from workloads import product as products
from workloads.ingestion.tables import tables
from workloads.product import Arrival, InvalidProduct, Product, Source
from workloads.products.flight_delay.contracts import DelayQuestion, Flight, Weather


@pytest.fixture(scope="module")
def sharing() -> Product:
    return products.load("arrival-delay")


@pytest.fixture(scope="module")
def owner() -> Product:
    return products.load("flight-delay")


def test_what_is_shared_is_read_where_it_is(sharing: Product, owner: Product) -> None:
    assert sharing.own == ()
    assert sharing.streams == ()
    assert sharing.owners == (owner.name,)
    assert {sharing.raw(one) for one in sharing.sources} == {"flight_delay_raw"}
    assert tables(sharing) == ()
    assert {owner.raw(one) for one in owner.sources} == {"flight_delay_raw"}


def test_what_is_shared_cannot_be_sent_to_the_product_that_reads_it(sharing: Product) -> None:
    with pytest.raises(InvalidProduct, match="takes in no 'flights': flight-delay does"):
        sharing.source("flights")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Source(contract=Flight, arrival=Arrival.SHARED), "an owner for shared, and for nothing"),
        (
            Source(contract=Flight, arrival=Arrival.FILES, owner="flight-delay"),
            "is files and has owner 'flight-delay'",
        ),
        (
            Source(contract=Flight, arrival=Arrival.SHARED, owner="arrival-delay"),
            "allowed: the name of another product",
        ),
        (
            Source(contract=Flight, arrival=Arrival.SHARED, owner="Flight Delay"),
            "allowed: the name of another product",
        ),
    ],
)
def test_a_source_whose_owner_does_not_fit_is_refused(
    sharing: Product, source: Source, said: str
) -> None:
    with pytest.raises(InvalidProduct, match=said):
        dataclasses.replace(sharing, sources=(source,))


class Cloud(Weather, frozen=True):
    """A contract that nobody takes in."""


@pytest.mark.parametrize(
    ("contract", "owner", "said"),
    [
        (Flight, "ferry-delay", "has owner 'ferry-delay'; allowed: flight-delay"),
        (Cloud, "flight-delay", "allowed: the contracts it takes in itself, imported from it"),
    ],
)
def test_an_owner_that_does_not_take_it_in_is_refused(
    sharing: Product, monkeypatch: pytest.MonkeyPatch, contract: Any, owner: str, said: str
) -> None:
    source = Source(contract=contract, arrival=Arrival.SHARED, owner=owner)
    wrong = dataclasses.replace(sharing, sources=(source,))
    declared = products._declared
    monkeypatch.setattr(
        products, "_declared", lambda name: wrong if name == sharing.name else declared(name)
    )

    with pytest.raises(InvalidProduct, match=said):
        products.load(sharing.name)


@pytest.mark.parametrize("column", ["probability", "lower", "upper", "model"])
def test_a_label_may_not_be_called_as_a_field_of_the_answer(owner: Product, column: str) -> None:
    label = dataclasses.replace(owner.label, column=column)

    with pytest.raises(InvalidProduct, match=f"label.column is '{column}'"):
        dataclasses.replace(owner, label=label)


def test_the_questions_of_both_flight_products_are_told_apart(sharing: Product) -> None:
    request = sharing.features.request

    assert issubclass(request, DelayQuestion)
    assert request.NAME != DelayQuestion.NAME
