"""Writes the page of the components: `python -m components.page` from the checkout.

It reads the source alone: what a component is for and what its arguments mean are their docstrings,
and the examples are those that the tests declare.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

CHECKOUT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = CHECKOUT / "docs" / "components.md"
SOURCES: Final = CHECKOUT / "components"
EXAMPLES: Final = CHECKOUT / "examples" / "components"
GROUPS: Final = ("foundation", "data", "models", "operations")
"""Modules of the examples, in the order of the page."""
MEANINGS: Final = {
    "bucket_kms_key": "Key that encrypts the bucket; Google's own when not given.",
    "cpu": "Processors of an instance, as Cloud Run writes them.",
    "deletion_protection": "Whether Google refuses to delete it.",
    "description": "What it is for, in one line, as the console shows it.",
    "environment": "Variables that its container gets.",
    "kms_key": "Key that encrypts what it keeps; Google's own when not given.",
    "location": "Its region.",
    "machine_type": "Its machine, as Compute Engine names it.",
    "max_instances": "Instances that it may grow to.",
    "memory": "Memory of an instance, as Cloud Run writes it.",
    "min_instances": "Instances that always run.",
    "name": "Its name at Google.",
    "network": "`projects/.../global/networks/...`, in which it is.",
    "project": "The Google Cloud project, by its id.",
    "project_number": "The project's number.",
    "protect": "Whether Pulumi refuses to delete it.",
    "region": "Its region.",
    "title": "Its name for people.",
    "topic_kms_key": "Key that encrypts the topics; Google's own when not given.",
}
"""What an argument means in every component that says nothing else of it."""
OPENING: Final = """\
# Components

<!-- Generated from components/ and examples/components/: `python -m components.page`. -->

What the stacks are put together from: {count} ComponentResources, each in a file of its own under
`components/`. They know no stack and no product, so another Pulumi program can use them too. A
component takes its name, its arguments (`args`, a frozen dataclass) and Pulumi's options (`opts`,
with the provider whose labels all it makes will carry). An argument that no resource could be made
from is refused before the first one, as `InvalidArgs`: it names the component, the argument, the
value and what is allowed.

Each example is declared by `tests/components`, under the checks of the local provider, and each
component is used by prod once all its settings are on. In the examples, `opts` are options with a
provider, and these stand for what a program has from its settings, or made before
(`examples/components/given.py`):

```python
{given}
```
"""


class Undocumented(ValueError):
    """An argument without a meaning, or a component without an example."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One annotated name of a class."""

    name: str
    type: str
    default: str | None
    """As it is written; None where there is none."""
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Described:
    """One class of a component's file."""

    name: str
    module: str
    purpose: str
    """Its docstring, without what it raises."""
    refuses: str
    """When making it raises `InvalidArgs`; empty where it never does."""
    fields: tuple[Field, ...]
    component: bool


@dataclass(frozen=True, kw_only=True)
class Example:
    """What a test declares."""

    component: str
    shows: str
    code: str


def page() -> str:
    """The page as Markdown.

    Raises:
        Undocumented: an argument says not what it means, or a component has no example.
    """
    sources = sorted(path for path in SOURCES.glob("*.py") if path != Path(__file__))
    known = {one.name: one for path in sources for one in _described(path)}
    examples = {group: list(_examples(EXAMPLES / f"{group}.py")) for group in GROUPS}
    named = [one.component for found in examples.values() for one in found]
    components = sorted(one.name for one in known.values() if one.component)
    if sorted(named) != components:
        lacking = ", ".join(sorted(set(components) ^ set(named)))
        raise Undocumented(f"not exactly one example in examples/components: {lacking}")
    parts = [OPENING.format(count=len(components), given=_given())]
    for group, found in examples.items():
        links = ", ".join(f"[{one.component}](#{one.component.lower()})" for one in found)
        parts.append(f"## {group.capitalize()}\n\n{_module_doc(EXAMPLES / f'{group}.py')}\n")
        parts.append(f"{links}.\n")
        parts.extend(_section(known[one.component], one, known) for one in found)
    shared = [one for one in _shared(known) if not one.component]
    parts.append("## Shared types\n\nArguments of more than one component are made of these.\n")
    parts.extend(_helper(one) for one in shared)
    return "\n".join(parts)


def _section(component: Described, example: Example, known: dict[str, Described]) -> str:
    arguments = known[f"{component.name}Args"]
    source = SOURCES / f"{component.module}.py"
    parts = [
        f"### {component.name}\n",
        f"[{source.name}](../components/{source.name}): {_module_doc(source)}\n",
        f"{component.purpose}\n",
        _table(arguments),
    ]
    if arguments.refuses:
        parts.append(f"Refused {arguments.refuses}\n")
    elsewhere = {one.name for one in _shared(known)}
    own = [name for name in _uses(arguments, known) if name not in elsewhere]
    parts.extend(_helper(known[name]) for name in own)
    parts.append(f"For example: {example.shows}\n")
    parts.append(f"```python\n{example.code}\n```\n")
    return "\n".join(parts)


def _helper(one: Described) -> str:
    refused = f"\nRefused {one.refuses}\n" if one.refuses else ""
    return f"`{one.name}`: {one.purpose}\n\n{_table(one)}{refused}"


def _table(one: Described) -> str:
    rows = ["| Argument | Type | Default | Meaning |", "|---|---|---|---|"]
    for field in one.fields:
        default = "required" if field.default is None else f"`{field.default}`"
        cells = (f"`{field.name}`", f"`{field.type}`", default, field.meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _uses(one: Described, known: dict[str, Described]) -> Iterator[str]:
    """Our own types that its arguments, and theirs, are made of or name; each once."""
    seen: list[str] = []
    waiting = [one]
    while waiting:
        for field in waiting.pop(0).fields:
            # What follows a dot is another package's.
            own = re.findall(r"(?<![.\w])[A-Z]\w+", field.type)
            for name in [*own, *re.findall(r"`(\w+)`", field.meaning)]:
                if name in known and not known[name].component and name not in seen:
                    seen.append(name)
                    waiting.append(known[name])
    yield from seen


def _shared(known: dict[str, Described]) -> list[Described]:
    """Types that arguments of components of more than one file are made of."""
    users: dict[str, set[str]] = {}
    for one in known.values():
        if one.component:
            for name in _uses(known[f"{one.name}Args"], known):
                users.setdefault(name, set()).add(one.name)
    return [known[name] for name in sorted(users) if len(users[name]) > 1]


def _described(path: Path) -> Iterator[Described]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        node.target.id: ast.unparse(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        component = any(ast.unparse(base) == "pulumi.ComponentResource" for base in node.bases)
        if not component and not any("dataclass" in ast.unparse(d) for d in node.decorator_list):
            continue
        purpose, _, raises = (ast.get_docstring(node) or "").partition("\nRaises:\n")
        refused = re.search(r"InvalidArgs: at construction, (.*)", _line(raises))
        yield Described(
            name=node.name,
            module=path.stem,
            purpose=_paragraphs(purpose),
            refuses=refused[1] if refused else "",
            # What a component has is no argument: its docstring says what it makes.
            fields=() if component else tuple(_fields(node, constants, path.stem)),
            component=component,
        )


def _fields(node: ast.ClassDef, constants: dict[str, str], module: str) -> Iterator[Field]:
    for one, following in zip(node.body, [*node.body[1:], None], strict=True):
        if not (isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)):
            continue
        name = one.target.id
        told = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            told = inspect.cleandoc(str(following.value.value))
        meaning = _line(told) or MEANINGS.get(name, "")
        if not meaning:
            raise Undocumented(f"components/{module}.py: `{node.name}.{name}` has no docstring")
        default = None if one.value is None else _default(one.value, constants)
        type_ = ast.unparse(one.annotation)
        meaning += "".join(_listed(constants, one) for one in re.findall(r"`([A-Z_]+)`", meaning))
        yield Field(name=name, type=type_, default=default, meaning=meaning)


def _listed(constants: dict[str, str], name: str) -> str:
    """What a constant of the file holds, where it is plain."""
    try:
        values = ast.literal_eval(constants.get(name, "None"))
    except ValueError:
        return ""
    if not isinstance(values, tuple | dict):
        return ""
    return f" `{name}`: {', '.join(f'`{value}`' for value in cast('Iterable[object]', values))}."


def _default(value: ast.expr, constants: dict[str, str]) -> str:
    """As it is written; a short constant of the file by its value, an empty mapping as such."""
    text = ast.unparse(value)
    if text.startswith("field(default_factory=dict"):
        return "{}"
    known = constants.get(text, text)
    return known if len(known) <= 40 else text


def _examples(path: Path) -> Iterator[Example]:
    source = path.read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef) or node.returns is None:
            continue
        first, last = node.body[1], node.body[-1]
        lines = source.splitlines()[first.lineno - 1 : last.end_lineno]
        code = re.sub(r"  # noqa:.*", "", textwrap.dedent("\n".join(lines)))
        yield Example(
            component=ast.unparse(node.returns),
            shows=_line(ast.get_docstring(node) or ""),
            code=re.sub(r"^return ", "", code, flags=re.MULTILINE),
        )


def _given() -> str:
    """The constants of the examples, as they are written."""
    source = (EXAMPLES / "given.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    parts = {
        kind: [
            ast.get_source_segment(source, one) or "" for one in tree.body if isinstance(one, kind)
        ]
        for kind in (ast.AnnAssign, ast.FunctionDef)
    }
    return "\n\n\n".join(["\n".join(parts[ast.AnnAssign]), *parts[ast.FunctionDef]])


def _module_doc(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return _paragraphs(ast.get_docstring(tree) or "")


def _line(text: str) -> str:
    return " ".join(text.split())


def _paragraphs(text: str) -> str:
    return "\n\n".join(_line(part) for part in text.split("\n\n") if part.strip())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
