"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every run, so that a failure is one of the change at hand. To look for new
# ones: `.venv/bin/python -m pytest --hypothesis-profile=explore`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2_000)
settings.load_profile("repeatable")
