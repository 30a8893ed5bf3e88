"""The numbers behind enum names, read from the sources of Google's generated client packages.

Google's generated REST clients send enum values as numbers, which discovery documents do not
list. Importing the generated types would cost the service some 4 s and 130 MB; their sources hold
the same numbers as plain text.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_ENUM = re.compile(r"class (\w+)\(proto\.Enum\):(.*?)((?:\n[ \t]+[A-Z][A-Z0-9_]* = -?\d+)+)", re.S)
_VALUE = re.compile(r"([A-Z][A-Z0-9_]*) = (-?\d+)")


class EnumNumbers:
    """Finds the numbers of an enum by the set of its names.

    Args:
        package: a generated package of proto-plus types, such as `google.cloud.aiplatform_v1`.
    """

    def __init__(self, package: str) -> None:
        self._package = package

    def __call__(self, owner: str, names: tuple[str, ...]) -> Mapping[int, str]:
        """`{number: name}`, empty when the package has no such enum.

        Args:
            owner: dotted schema and property, to choose between enums with the same names.
            names: the enum's names as the discovery document lists them.
        """
        found = _index(self._package).get(frozenset(names), {})
        if len(found) <= 1:
            return next(iter(found.values()), {})
        wanted = owner.rpartition(".")[2].lower()
        for name, numbers in found.items():
            if name.lower() == wanted:
                return numbers
        return {}


@cache
def _index(package: str) -> dict[frozenset[str], dict[str, Mapping[int, str]]]:
    parent, _, leaf = package.rpartition(".")
    # Found through the parent, because asking for the package itself would import it.
    spec = importlib.util.find_spec(parent)
    folders = list(spec.submodule_search_locations or []) if spec else []
    index: dict[frozenset[str], dict[str, Mapping[int, str]]] = {}
    for folder in folders:
        for file in sorted((Path(folder) / leaf / "types").glob("*.py")):
            for name, _, body in _ENUM.findall(file.read_text()):
                numbers = {int(number): value for value, number in _VALUE.findall(body)}
                same = index.setdefault(frozenset(numbers.values()), {})
                if numbers not in same.values():
                    same[name] = numbers
    return index
