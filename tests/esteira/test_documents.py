"""Every command in the documents exists, with those words and options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from esteira.cli import app

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def commands() -> list[tuple[str, str]]:
    """(document, command line) of each line of each shell block, without its comment."""
    found = list[tuple[str, str]]()
    for document in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL):
            for line in block.splitlines():
                command = line.split(" #")[0].strip()
                if command:
                    found.append((str(document.relative_to(CHECKOUT)), command))
    return found


@pytest.mark.parametrize(("document", "command"), commands())
def test_a_command_in_the_documents_can_be_typed(document: str, command: str) -> None:
    del document
    if found := re.search(r"\$\((.*)\)", command):
        command = found[1]
    words = shlex.split(command.partition(" > ")[0])
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets
    elif words[0] == "esteira":
        parse(words[1:])
    elif words[0] == "python":
        target = words[2].replace(".", "/") + ".py" if words[1] == "-m" else words[1]
        assert (CHECKOUT / target).is_file()
    elif words[0] == "pulumi":
        # The stack has settings of its own in this checkout.
        assert (CHECKOUT / f"Pulumi.{words[words.index('-s') + 1]}.yaml").is_file()
    else:
        assert words[:2] == [".", ".venv/bin/activate"], f"who checks `{command}`?"


def parse(words: list[str]) -> None:
    """Parse as the command line would, without running anything."""
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup):
        if command.invoke_without_command and (not words or words[0].startswith("-")):
            break
        name = words.pop(0)
        assert name in command.commands, f"there is no command {name!r}"
        command = command.commands[name]
    with command.make_context(command.name, words):
        pass


def test_every_command_is_in_the_documents() -> None:
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    missing = [name for name in group.commands if f"esteira {name}" not in text]
    assert missing == []


def test_documents_link_to_what_exists() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document}: {target}"
