"""The document store keeps what was written, whatever happens to its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.rest.errors import Aborted, AlreadyExists, NotFound
from localcloud.rest.store import Documents

ROOT = Path(__file__).parents[3]


@pytest.fixture
def documents(tmp_path: Path) -> Documents:
    return Documents(tmp_path / "deep" / "store.sqlite")


def test_a_document_is_read_as_it_was_written(documents: Documents) -> None:
    documents.put("a", {"n": [1, {"x": None}]})
    assert documents.get("a") == {"n": [1, {"x": None}]}
    assert documents.get("b") is None


def test_creation_refuses_what_exists(documents: Documents) -> None:
    documents.create("a", {})
    with pytest.raises(AlreadyExists):
        documents.create("a", {})


def test_a_write_with_an_old_etag_is_aborted(documents: Documents) -> None:
    first = documents.put("a", {"v": 1})
    second = documents.put("a", {"v": 2}, if_etag=first)
    assert second != first
    with pytest.raises(Aborted):
        documents.put("a", {"v": 3}, if_etag=first)
    with pytest.raises(Aborted):
        documents.delete("a", if_etag=first)
    assert documents.get("a") == {"v": 2}


def test_lists_take_a_prefix_and_sort_by_key(documents: Documents) -> None:
    for key in ("b/2", "a/1", "b/1", "b0"):
        documents.put(key, {})
    assert [one.key for one in documents.list("b/")] == ["b/1", "b/2"]


def test_a_failed_transaction_leaves_nothing(documents: Documents) -> None:
    def half_way() -> None:
        with documents.transaction():
            documents.put("a", {})
            with documents.transaction():
                documents.put("b", {})
                raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        half_way()
    assert documents.list() == []


def test_a_missing_document_cannot_be_changed(documents: Documents) -> None:
    with pytest.raises(NotFound):
        documents.change("a", lambda one: one.update(x=1))


def test_numbers_never_come_twice(documents: Documents, tmp_path: Path) -> None:
    first = [documents.next_number() for _ in range(3)]
    documents.close()
    again = Documents(tmp_path / "deep" / "store.sqlite").next_number()
    assert len({*first, again}) == 4


def test_what_was_written_survives_kill_9(tmp_path: Path) -> None:
    writer = (
        "import sys\n"
        "from pathlib import Path\n"
        "from localcloud.rest.store import Documents\n"
        "documents = Documents(Path(sys.argv[1]))\n"
        "for number in range(10**6):\n"
        "    documents.put(f'{number:07}', {'n': number})\n"
        "    print(number, flush=True)\n"
    )
    file = tmp_path / "store.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", writer, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        last = -1
        for line in process.stdout:
            last = int(line)
            if last >= 200:
                process.kill()
                break
    kept = [one.value["n"] for one in Documents(file).list()]
    assert kept[: last + 1] == list(range(last + 1))
