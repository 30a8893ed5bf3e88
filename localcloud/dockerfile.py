"""Reads a Dockerfile strictly enough to know what its image would start.

The parser covers the instructions that production Dockerfiles of Python workloads use. Whatever
it does not know (heredocs, ONBUILD, another escape character) it refuses, naming the line: a
half-understood Dockerfile would start something other than the real image does.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final


class DockerfileError(ValueError):
    """The Dockerfile is wrong, or uses what the local cloud does not understand."""


@dataclass(frozen=True)
class Copy:
    """One COPY or ADD: `sources` as written, `target` absolute in the image."""

    sources: tuple[str, ...]
    target: str
    into_folder: bool
    stage: str | None = None


@dataclass
class Stage:
    """One `FROM` with what follows it. Variables are already substituted."""

    base: str
    name: str | None
    parent: Stage | None = None
    env: dict[str, str] = field(default_factory=dict[str, str])
    workdir: str = "/"
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    copies: list[Copy] = field(default_factory=list[Copy])
    # Pairs of a path in the image and the path here that stands for it, from a base built here.
    mounts: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    # Everything that shapes the image, in order, for its digest.
    steps: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


# Instructions that shape the image but not the process we start: they count for the digest only.
_RECORDED: Final = frozenset(
    {"RUN", "USER", "EXPOSE", "LABEL", "STOPSIGNAL", "HEALTHCHECK", "VOLUME"}
)
_INSTRUCTION: Final = re.compile(r"^\s*([A-Za-z]+)(?:\s+(.*))?$", re.DOTALL)
_FLAG: Final = re.compile(r"^--([a-z]+)(?:=(\S*))?\s+")
_VARIABLE: Final = re.compile(
    r"\\(?P<escaped>\$)|\$(?:(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)"
    r"(?:(?P<operator>:[-+])(?P<word>[^}]*))?\})"
)


def parse(
    text: str,
    build_args: Mapping[str, str] | None = None,
    base: Callable[[str], Stage | None] = lambda _: None,
) -> list[Stage]:
    """The stages of a Dockerfile, in order.

    Args:
        text: the Dockerfile.
        build_args: values for its ARG instructions, as `docker build --build-arg`.
        base: what is known of an image that a FROM names and that is no stage of this file.

    Raises:
        DockerfileError: with the line number and what to change.
    """
    given = dict(build_args or {})
    global_args: dict[str, str] = {}
    scope: dict[str, str] = {}
    stages: list[Stage] = []
    for line, word, rest in _instructions(text):
        instruction = word.upper()
        if instruction == "ARG":
            target = scope if stages else global_args
            for name, default in _arguments(line, rest, {**global_args, **scope}):
                inherited = global_args.get(name) if stages else None
                value = given.get(name, inherited if default is None else default)
                if value is not None:
                    target[name] = value
            if stages:
                stages[-1].steps.append(("ARG", rest))
            continue
        if instruction == "FROM":
            stages.append(_from(line, rest, global_args, stages, base))
            scope = {}
            continue
        if not stages:
            raise DockerfileError(f"line {line}: {instruction} before the first FROM")
        _apply(line, instruction, rest, stages[-1], scope, stages)
    if not stages:
        raise DockerfileError("the Dockerfile has no FROM instruction")
    return stages


def _instructions(text: str) -> list[tuple[int, str, str]]:
    """Logical lines as (line number, instruction, rest), continuations joined."""
    found: list[tuple[int, str, str]] = []
    pending: list[str] = []
    start = 0
    for number, raw in enumerate(text.splitlines(), 1):
        stripped = raw.strip()
        if stripped.startswith("#"):
            directive = re.match(r"#\s*escape\s*=\s*(\S)", stripped)
            if not found and not pending and directive and directive[1] != "\\":
                raise DockerfileError(f"line {number}: only backslash is supported as escape")
            continue
        if not stripped:
            continue
        if not pending:
            start = number
        if stripped.endswith("\\"):
            pending.append(stripped[:-1].rstrip())
            continue
        pending.append(stripped)
        found.append(_split(start, " ".join(part for part in pending if part)))
        pending = []
    if pending:
        raise DockerfileError(f"line {start}: the file ends inside a continued line")
    return found


def _split(line: int, joined: str) -> tuple[int, str, str]:
    match = _INSTRUCTION.match(joined)
    if match is None:
        raise DockerfileError(f"line {line}: {joined[:40]!r} is not an instruction")
    word, rest = match[1], (match[2] or "").strip()
    if word.upper() in {"RUN", "COPY", "ADD"} and re.search(r"<<-?['\"]?[A-Za-z_]", rest):
        raise DockerfileError(
            f"line {line}: heredocs are not supported locally; put the text in a file and COPY it"
        )
    if not rest:
        raise DockerfileError(f"line {line}: {word.upper()} needs an argument")
    return line, word, rest


def _substitute(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        current = variables.get(match["plain"] or match["name"], "")
        if match["operator"] == ":-":
            return current or _substitute(match["word"], variables)
        if match["operator"] == ":+":
            return _substitute(match["word"], variables) if current else ""
        return current

    return _VARIABLE.sub(value, text)


def _words(line: int, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise DockerfileError(f"line {line}: {error} in {text!r}") from None


def _arguments(line: int, rest: str, variables: Mapping[str, str]) -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = []
    for word in _words(line, _substitute(rest, variables)):
        name, equals, default = word.partition("=")
        pairs.append((name, default if equals else None))
    return pairs


def _from(
    line: int,
    rest: str,
    args: Mapping[str, str],
    stages: list[Stage],
    base: Callable[[str], Stage | None],
) -> Stage:
    while flag := _FLAG.match(rest):
        if flag[1] != "platform":
            raise DockerfileError(f"line {line}: FROM does not take --{flag[1]}")
        rest = rest[flag.end() :]
    words = _substitute(rest, args).split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise DockerfileError(f"line {line}: expected FROM image [AS name], got FROM {rest}")
    name = words[2].lower() if len(words) == 3 else None
    parent = find(stages, words[0]) or base(words[0])
    stage = Stage(base=words[0], name=name, parent=parent)
    if parent is not None:
        stage.env = dict(parent.env)
        stage.workdir = parent.workdir
        stage.entrypoint, stage.cmd, stage.shell = parent.entrypoint, parent.cmd, parent.shell
    stage.steps.append(("FROM", words[0]))
    return stage


def find(stages: list[Stage], reference: str) -> Stage | None:
    """The earlier stage that a FROM, --from or target names, by name or by number."""
    for stage in reversed(stages):
        if stage.name is not None and stage.name == reference.lower():
            return stage
    if reference.isdecimal() and int(reference) < len(stages):
        return stages[int(reference)]
    return None


def _apply(
    line: int,
    instruction: str,
    rest: str,
    stage: Stage,
    scope: Mapping[str, str],
    stages: list[Stage],
) -> None:
    # ENV wins over ARG of the same name, as in docker build.
    variables = {**scope, **stage.env}
    if instruction == "ENV":
        added = _environment(line, rest, variables)
        stage.env.update(added)
        stage.steps.append((instruction, json.dumps(added)))
    elif instruction == "WORKDIR":
        stage.workdir = str(PurePosixPath(stage.workdir) / _substitute(rest, variables))
        stage.steps.append((instruction, stage.workdir))
    elif instruction in {"ENTRYPOINT", "CMD"}:
        command = _exec_form(line, rest) or (*stage.shell, rest)
        if instruction == "CMD":
            stage.cmd = command
        else:
            # A new ENTRYPOINT resets the CMD that came with the base, as docker build does.
            inherited = stage.parent.cmd if stage.parent else None
            stage.entrypoint = command
            if stage.cmd is inherited:
                stage.cmd = None
        stage.steps.append((instruction, json.dumps(command)))
    elif instruction == "SHELL":
        shell = _exec_form(line, rest)
        if not shell:
            raise DockerfileError(f"line {line}: SHELL takes a JSON list of words")
        stage.shell = shell
        stage.steps.append((instruction, json.dumps(shell)))
    elif instruction in {"COPY", "ADD"}:
        copy = _copy(line, instruction, rest, stage, variables, stages)
        stage.copies.append(copy)
        stage.steps.append((instruction, rest))
    elif instruction in _RECORDED:
        stage.steps.append((instruction, _substitute(rest, variables)))
    else:
        raise DockerfileError(
            f"line {line}: {instruction} is not supported locally; supported are ADD, ARG, CMD, "
            f"COPY, ENTRYPOINT, ENV, FROM, SHELL, WORKDIR, {', '.join(sorted(_RECORDED))}"
        )


def _environment(line: int, rest: str, variables: Mapping[str, str]) -> dict[str, str]:
    if "=" not in rest.split(None, 1)[0]:
        # The old form: ENV NAME the whole rest is the value.
        name, _, value = rest.partition(" ")
        return {name: _substitute(value.strip(), variables)}
    added: dict[str, str] = {}
    for word in _words(line, _substitute(rest, variables)):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise DockerfileError(f"line {line}: expected NAME=value in ENV, got {word!r}")
        added[name] = value
    return added


def _exec_form(line: int, rest: str) -> tuple[str, ...] | None:
    if not rest.startswith("["):
        return None
    try:
        words = json.loads(rest)
    except json.JSONDecodeError as error:
        raise DockerfileError(
            f"line {line}: {rest!r} looks like the exec form but is not JSON ({error.msg})"
        ) from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DockerfileError(f"line {line}: the exec form is a JSON list of strings, got {rest}")
    return tuple(words)


def _copy(
    line: int,
    instruction: str,
    rest: str,
    stage: Stage,
    variables: Mapping[str, str],
    stages: list[Stage],
) -> Copy:
    source_stage: str | None = None
    while flag := _FLAG.match(rest):
        if flag[1] == "from":
            source_stage = _substitute(flag[2] or "", variables)
        elif flag[1] not in {"chown", "chmod", "link"}:
            raise DockerfileError(
                f"line {line}: {instruction} --{flag[1]} is not supported locally"
            )
        rest = rest[flag.end() :]
    words = [_substitute(word, variables) for word in _exec_form(line, rest) or rest.split()]
    if len(words) < 2:
        raise DockerfileError(f"line {line}: {instruction} needs a source and a destination")
    *sources, target = words
    if instruction == "ADD" and any("://" in source for source in sources):
        raise DockerfileError(f"line {line}: ADD of a URL is not supported locally; use a file")
    if source_stage is not None and find(stages[:-1], source_stage) is None:
        # An image of someone else's: nothing of it exists here, the name alone is in the digest.
        sources = []
    return Copy(
        sources=tuple(sources),
        target=str(PurePosixPath(stage.workdir) / target),
        into_folder=target.endswith("/") or target in {".", ".."} or len(sources) > 1,
        stage=source_stage,
    )
