"""Listing answers as the definition of prefixes, delimiters, offsets and globs says."""

from __future__ import annotations

import fnmatch
import sqlite3
from pathlib import Path

import httpx
import pytest
from google.cloud import storage
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.services.storage import database
from localcloud.services.storage.glob import compile_glob
from localcloud.services.storage.listing import Listing, list_objects
from localcloud.services.storage.server import InProcess

NAMES = st.lists(
    st.text(st.sampled_from("ab/\U0010ffff\ud7ffé"), min_size=1, max_size=6), max_size=25
)


@pytest.fixture
def names(bucket: storage.Bucket) -> list[str]:
    names = ["a.csv", "b/1.csv", "b/2.csv", "b/c/3.csv", "b/c/d/4.json", "z"]
    for name in names:
        bucket.blob(name).upload_from_string(b"")
    return names


def test_folders(bucket: storage.Bucket, names: list[str]) -> None:
    def listed(**options) -> tuple[list[str], list[str]]:
        found = bucket.list_blobs(**options)
        return [blob.name for blob in found], sorted(found.prefixes)

    assert listed() == (names, [])
    assert listed(delimiter="/") == (["a.csv", "z"], ["b/"])
    assert listed(prefix="b/", delimiter="/") == (["b/1.csv", "b/2.csv"], ["b/c/"])
    assert listed(prefix="b/c") == (["b/c/3.csv", "b/c/d/4.json"], [])
    assert listed(start_offset="b/2.csv", end_offset="z") == (
        ["b/2.csv", "b/c/3.csv", "b/c/d/4.json"],
        [],
    )
    assert listed(prefix="nothing") == ([], [])


def test_globs(bucket: storage.Bucket, names: list[str]) -> None:
    def matching(glob: str) -> list[str]:
        return [blob.name for blob in bucket.list_blobs(match_glob=glob)]

    assert matching("*.csv") == ["a.csv"]
    assert matching("**.csv") == ["a.csv", "b/1.csv", "b/2.csv", "b/c/3.csv"]
    assert matching("b/[1-9].csv") == ["b/1.csv", "b/2.csv"]
    assert matching("b/**/*.{csv,json}") == ["b/1.csv", "b/2.csv", "b/c/3.csv", "b/c/d/4.json"]
    assert matching("?") == ["z"]


@pytest.mark.parametrize("pattern", ["[a", "{a,b", "[z-a]"])
def test_globs_that_are_none(server: InProcess, bucket: storage.Bucket, pattern: str) -> None:
    answer = httpx.get(f"{server.url}/storage/v1/b/{bucket.name}/o", params={"matchGlob": pattern})
    assert answer.status_code == 400
    assert pattern in answer.json()["error"]["message"]


def test_a_trailing_delimiter_is_a_folder_and_an_object(bucket: storage.Bucket) -> None:
    for name in ("a/", "a/1"):
        bucket.blob(name).upload_from_string(b"")
    plain = bucket.list_blobs(delimiter="/")
    assert ([blob.name for blob in plain], plain.prefixes) == ([], {"a/"})
    both = bucket.list_blobs(delimiter="/", include_trailing_delimiter=True)
    assert ([blob.name for blob in both], both.prefixes) == (["a/"], {"a/"})


def test_a_mask_keeps_what_it_names(server: InProcess, bucket: storage.Bucket) -> None:
    bucket.blob("a").upload_from_string(b"123")
    path = f"{server.url}/storage/v1/b/{bucket.name}/o"
    masked = httpx.get(path, params={"fields": "items(name,size),nextPageToken"})
    assert masked.json() == {"items": [{"name": "a", "size": "3"}]}
    assert httpx.get(path, params={"fields": "items/name"}).json() == {"items": [{"name": "a"}]}
    assert httpx.get(path, params={"fields": "items("}).status_code == 400


def test_a_page_token_is_ours(server: InProcess, bucket: storage.Bucket) -> None:
    answer = httpx.get(
        f"{server.url}/storage/v1/b/{bucket.name}/o", params={"pageToken": "nonsense"}
    )
    assert answer.status_code == 400


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    folder: Path = tmp_path_factory.mktemp("listing")
    return database.connect(folder / "storage.sqlite")


def fill(connection: sqlite3.Connection, names: list[str]) -> None:
    connection.execute("DELETE FROM objects")
    connection.executemany(
        "INSERT INTO objects VALUES "
        "('b', ?, 1, 1, 'live', 0, '', '', '', 0, 0, NULL, NULL, '', 0, 0, NULL, '{}')",
        [(name,) for name in set(names)],
    )


@settings(max_examples=150, deadline=None)
@given(
    names=NAMES,
    prefix=st.text(st.sampled_from("ab/"), max_size=2),
    delimiter=st.sampled_from(["", "/", "ab", "\U0010ffff"]),
    limit=st.integers(1, 5),
    start=st.text(st.sampled_from("ab/"), max_size=2),
)
def test_pages_together_are_the_whole(
    connection: sqlite3.Connection,
    names: list[str],
    prefix: str,
    delimiter: str,
    limit: int,
    start: str,
) -> None:
    fill(connection, names)
    items: list[str] = []
    folders: set[str] = set()
    for name in sorted(set(names), key=str.encode):
        if not name.startswith(prefix) or name.encode() < start.encode():
            continue
        end = name.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            items.append(name)
        else:
            folders.add(name[: end + len(delimiter)])

    found_items: list[str] = []
    found_folders: list[str] = []
    token = ""
    while True:
        page = list_objects(
            connection,
            Listing(
                bucket="b",
                prefix=prefix,
                delimiter=delimiter,
                limit=limit,
                start=start,
                token=token,
            ),
        )
        assert len(page.items) + len(page.prefixes) <= limit
        found_items += [item.name for item in page.items]
        found_folders += page.prefixes
        if page.token is None:
            break
        token = page.token
    assert found_items == items
    assert found_folders == sorted(folders, key=str.encode)


@given(
    pattern=st.text(st.sampled_from("ab?*[]!-"), max_size=5),
    name=st.text(st.sampled_from("ab-"), max_size=5),
)
def test_without_slashes_a_glob_is_a_shell_pattern(pattern: str, name: str) -> None:
    if "[" in pattern:
        pattern = pattern.replace("[", "").replace("]", "")
    assert bool(compile_glob(pattern).fullmatch(name)) == fnmatch.fnmatchcase(name, pattern)
