"""Filters, orders and pages of lists."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.rest.errors import InvalidArgument
from localcloud.rest.listing import mask_fields, page, parse_filter, property_fields

FIELDS = property_fields("display_name", "create_time", "size", "state", "labels.")
MODELS: list[dict[str, Any]] = [
    {"name": "1", "displayName": "delay", "size": 3, "createTime": "2026-01-01T00:00:00Z",
     "labels": {"env": "prod", "a key": "x"}},
    {"name": "2", "displayName": "delay two", "size": 20, "createTime": "2026-02-01T00:00:00Z",
     "labels": {"env": "dev"}},
    {"name": "3", "displayName": "price", "size": 7, "createTime": "2026-03-01T00:00:00Z"},
]  # fmt: skip


def matching(text: str) -> str:
    wanted = parse_filter(text, FIELDS)
    return "".join(model["name"] for model in MODELS if wanted(model))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "123"),
        ("display_name=delay", "1"),
        ('displayName="delay two"', "2"),
        ("display_name!=delay", "23"),
        ("display_name:delay", "12"),
        ('display_name="delay*"', "12"),
        ("labels.env=prod", "1"),
        ("labels.env:*", "12"),
        ("labels:env", "12"),
        ('labels."a key"=x', "1"),
        ("NOT labels.env=prod", "23"),
        ("-labels.env=prod", "23"),
        ("size>5", "23"),
        ("size>=20 OR size<=3", "12"),
        ('create_time>"2026-01-15T00:00:00Z"', "23"),
        ("display_name:delay AND size>5", "2"),
        ("display_name:delay size>5", "2"),
        ("display_name=price AND (size<5 OR size>6)", "3"),
        # AIP-160: OR binds tighter than AND.
        ("size<5 OR size>6 AND display_name=price", "3"),
    ],
)
def test_a_filter_selects(text: str, found: str) -> None:
    assert matching(text) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("colour=red", "field 'colour' is not one of create_time, display_name"),
        ("display_name", "an operator is missing"),
        ("display_name=", "a value after display_name= is missing"),
        ("(size>1", "'\\)' is missing"),
        ("size>1)", "unexpected '\\)'"),
        ('display_name="open', "unexpected"),
    ],
)
def test_a_wrong_filter_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        parse_filter(text, FIELDS)


def test_pages_cover_the_list_without_overlap() -> None:
    names: list[str] = []
    query: dict[str, Any] = {"pageSize": 2, "orderBy": "display_name desc"}
    while True:
        found = page(MODELS, query, FIELDS, key="models")
        names += [model["name"] for model in found["models"]]
        if "nextPageToken" not in found:
            break
        query["pageToken"] = found["nextPageToken"]
    assert names == ["3", "2", "1"]


def test_a_foreign_page_token_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="page token"):
        page(MODELS, {"pageToken": "!!"}, FIELDS, key="models")


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="order_by"):
        page(MODELS, {"orderBy": "colour"}, FIELDS, key="models")


def test_a_read_mask_keeps_only_what_it_names() -> None:
    found = page(MODELS[:1], {"readMask": "displayName,labels.env"}, FIELDS, key="models")
    assert found["models"] == [{"name": "1", "displayName": "delay", "labels": {"env": "prod"}}]


def test_an_update_mask_names_only_what_can_change() -> None:
    assert mask_fields("display_name,labels.a", ["displayName", "labels"], what="Model") == [
        "displayName",
        "labels",
    ]
    with pytest.raises(InvalidArgument, match="'createTime' in update_mask cannot be updated"):
        mask_fields("createTime", ["displayName"], what="Model")
    with pytest.raises(InvalidArgument, match="update_mask is required"):
        mask_fields("", ["displayName"], what="Model")
