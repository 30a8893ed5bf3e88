"""What goes to which stream: what was asked for can be piped, and what goes wrong is seen."""

from __future__ import annotations

import json

import pytest
import typer

from esteira import printing

LONG = "https://example.com/" + "a" * 300


def test_an_answer_goes_to_the_output_stream_and_no_line_of_it_is_broken(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printing.result({"url": LONG}, False, f"it is [at] {LONG}")
    told = capsys.readouterr()
    assert (told.out, told.err) == (f"it is [at] {LONG}\n", "")


def test_a_history_can_be_piped_and_that_there_is_none_is_said_beside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printing.history([LONG], False, str, "nothing yet")
    assert capsys.readouterr() == (f"{LONG}\n", "")
    printing.history(list[str](), False, str, "nothing yet")
    assert capsys.readouterr() == ("", "nothing yet\n")


def test_a_refusal_is_an_error_and_a_document_is_one_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as ended:
        printing.attempt({"ok": False}, False, "another one runs", ok=False)
    assert ended.value.exit_code == 1
    assert capsys.readouterr() == ("", "error another one runs\n")
    with pytest.raises(typer.Exit) as ended:
        printing.attempt({"ok": False}, True, "another one runs", ok=False)
    assert ended.value.exit_code == 1
    told = capsys.readouterr()
    assert json.loads(told.out) == {"ok": False}
    assert told.err == ""


def test_an_attempt_that_succeeds_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    printing.attempt({"ok": True}, False, "it is done", ok=True)
    assert capsys.readouterr() == ("it is done\n", "")
