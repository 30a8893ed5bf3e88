"""The page that documents the components."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

from components import page as pages
from components.page import PAGE, Undocumented, page
from tests.components.test_contract import SAMPLES, every_component


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """What the page says, by component."""
    parts = re.split(r"^#{2,3} (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m components.page`"


@every_component
def test_each_argument_has_its_type_its_default_and_its_meaning(
    component: type, sections: dict[str, str]
) -> None:
    args = getattr(importlib.import_module(component.__module__), f"{component.__name__}Args")
    # The first table is the component's own, others are of what its arguments are made of.
    table = sections[component.__name__].partition("|---|")[2].partition("\n\n")[0]
    rows = {
        cells[1].strip().strip("`"): [cell.strip() for cell in cells[2:-1]]
        for line in table.splitlines()[1:]
        for cells in [re.split(r"(?<!\\)\|", line)]
    }
    for field in dataclasses.fields(args):
        kind, default, meaning = rows[field.name]
        assert kind.strip("`").replace("\\|", "|").replace("'", '"') == str(field.type)
        required = field.default is field.default_factory is dataclasses.MISSING
        assert (default == "required") == required
        assert len(meaning) > len("Text.")


def test_what_may_be_given_is_listed(sections: dict[str, str]) -> None:
    assert "`REACH`: `internal`, `load-balancer`, `anywhere`." in sections["WebService"]


@every_component
def test_the_example_is_the_one_that_is_declared(component: type, sections: dict[str, str]) -> None:
    [shown] = re.findall(r"```python\n(.*?)\n```", sections[component.__name__], re.DOTALL)
    declared = ast.parse(textwrap.dedent(inspect.getsource(SAMPLES[component]))).body[0]
    assert isinstance(declared, ast.FunctionDef)
    returned = declared.body.pop()
    assert isinstance(returned, ast.Return)
    assert ast.unparse(ast.parse(shown)).splitlines() == [
        *(line for one in declared.body[1:] for line in ast.unparse(one).splitlines()),
        *ast.unparse(returned).removeprefix("return ").splitlines(),
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "@dataclass\nclass BucketArgs:\n    size: int = 1\n",
            "`BucketArgs.size` has no docstring",
        ),
        ("class Bucket(pulumi.ComponentResource):\n    '''A bucket.'''\n", "example in examples/"),
    ],
)
def test_what_is_not_documented_stops_it(
    source: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bucket.py").write_text(source)
    monkeypatch.setattr(pages, "SOURCES", tmp_path)
    with pytest.raises(Undocumented, match=expected):
        page()
