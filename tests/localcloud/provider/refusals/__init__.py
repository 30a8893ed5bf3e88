"""Inputs that Google takes, and how each is broken: the table of `test_refusals`.

One module a domain. A type has a base that is accepted, and a list of cases: the property that is
changed, its new value (`GONE` leaves it out), words that the refusal must have, and the property
that it must name where that is not the changed one.
"""

from __future__ import annotations

from typing import Any, Final

type Case = tuple[str, Any, str] | tuple[str, Any, str, str]
type Table = dict[str, tuple[dict[str, Any], list[Case]]]

GONE: Final = object()
KEY: Final = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
LONG: Final = "x" * 2000
