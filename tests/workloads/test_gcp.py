"""What is done to Google's libraries so that they behave as parts of a program."""

from __future__ import annotations

import logging

import pytest

from workloads import gcp


def test_a_librarys_loggers_leave_it_to_the_program_who_hears_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loud = logging.getLogger("a_library.loud")
    loud.addHandler(logging.StreamHandler())
    loud.setLevel(logging.INFO)
    quiet = logging.getLogger("a_library.quiet")
    another = logging.getLogger("another.loud")
    another.setLevel(logging.INFO)
    set_levels = list[str]()
    real = logging.Logger.setLevel

    def counted(self: logging.Logger, level: int | str) -> None:
        set_levels.append(self.name)
        real(self, level)

    monkeypatch.setattr(logging.Logger, "setLevel", counted)
    gcp._let_loggers_propagate("a_library")

    assert not loud.handlers
    assert loud.level == quiet.level == logging.NOTSET
    assert another.level == logging.INFO
    # Hundreds of a library's loggers have no level, and each that is set costs as much as all.
    assert set_levels == ["a_library.loud"]
