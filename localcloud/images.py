"""Container images as the local cloud knows them: the command and environment they would start.

Building one reads the Dockerfile and hashes what it copies; nothing is packed. The process later
runs from the build context itself, so what `COPY` puts at `/app` is the context's own file. An old
digest therefore keeps its command and environment but runs today's files: the digest tells that
the code changed, it does not preserve it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

import msgspec

from localcloud.build_context import Ignore, files_of, found_in
from localcloud.dockerfile import Copy, DockerfileError, Stage, find, parse
from localcloud.home import Home

log = logging.getLogger(__name__)

# Of a container's own file system: pointing our processes there would break them.
_FOREIGN_ENVIRONMENT: Final = frozenset(
    {"PATH", "HOME", "VIRTUAL_ENV", "PYTHONHOME", "LD_LIBRARY_PATH", "TMPDIR"}
)
_REFERENCE: Final = re.compile(
    r"^(?P<repository>[a-z0-9][a-zA-Z0-9._:/-]*?)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?$"
)


class ImageNotFound(LookupError):
    """No image of this name was built here."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"Image '{reference}' not found.")
        self.reference = reference


class Mount(msgspec.Struct, frozen=True):
    """A path of the image and the path of this machine that stands for it."""

    image: str
    here: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What an image would start.

    `env` holds the image's own variables, `workdir` the folder as the image names it, `context`
    the build context on this machine, `mappings` which context paths stand for image paths.
    """

    reference: str
    digest: str
    context: str
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    workdir: str = "/"
    mappings: tuple[Mount, ...] = ()

    @property
    def name(self) -> str:
        """`repository@sha256:...`, which names exactly this build."""
        return f"{split_reference(self.reference)[0]}@{self.digest}"

    @property
    def cwd(self) -> Path:
        """The folder in which its process starts here."""
        located = self.locate(self.workdir)
        return located if located is not None and located.is_dir() else Path(self.context)

    def locate(self, path: str) -> Path | None:
        """The file or folder here that stands for a path of the image; None if there is none."""
        wanted = PurePosixPath(self.workdir) / path
        # Later copies lie over earlier ones, and a longer path is more exact than a shorter.
        ordered = sorted(enumerate(self.mappings), key=lambda pair: (-len(pair[1].image), -pair[0]))
        for _, mapping in ordered:
            if wanted.is_relative_to(mapping.image):
                candidate = Path(mapping.here) / wanted.relative_to(mapping.image)
                if candidate.exists():
                    return candidate
        return None

    def argv(
        self, command: Sequence[str] | None = None, args: Sequence[str] | None = None
    ) -> list[str]:
        """The words to execute here, overridden as Cloud Run and Kubernetes do it.

        `command` replaces ENTRYPOINT (and with it the image's CMD), `args` replaces CMD.

        Raises:
            ImageNotRunnable: there is neither an entry point nor a command, or it is not here.
        """
        if command:
            words = [*command, *(args or ())]
        else:
            words = [*(self.entrypoint or ()), *(args or self.cmd or ())]
        if not words:
            raise ImageNotRunnable(
                f"Image '{self.reference}' has neither ENTRYPOINT nor CMD; "
                "add one to its Dockerfile or give a command"
            )
        return [self._executable(words[0]), *(self._word(word) for word in words[1:])]

    def environment(self) -> dict[str, str]:
        """Its ENV, with paths of the image replaced by paths here where they are searched."""
        kept = {k: v for k, v in self.env.items() if k not in _FOREIGN_ENVIRONMENT}
        if "PYTHONPATH" in kept:
            parts = [part for part in kept["PYTHONPATH"].split(":") if part]
            kept["PYTHONPATH"] = os.pathsep.join(self._word(part) for part in parts)
        return kept

    def _word(self, word: str) -> str:
        if not word.startswith("/"):
            return word
        located = self.locate(word)
        return str(located) if located is not None else word

    def _executable(self, word: str) -> str:
        name = PurePosixPath(word).name
        if re.fullmatch(r"python(3(\.\d+)?)?", name):
            return sys.executable
        if "/" in word and (located := self.locate(word)) is not None:
            return str(located)
        beside = Path(sys.executable).parent / name
        if beside.is_file():
            return str(beside)
        if "/" in word and Path(word).is_file():
            return word
        found = shutil.which(name)
        if found is None:
            raise ImageNotRunnable(
                f"Image '{self.reference}' starts {word!r}, which is not on this machine: not in "
                f"the build context, not beside {sys.executable}, not on PATH"
            )
        return found


class ImageNotRunnable(ValueError):
    """The image says nothing that can be started here."""


class Images:
    """The images built in one home. Safe to use from several processes: writes are atomic."""

    def __init__(self, home: Home) -> None:
        self._folder = home.path / "images"

    def build(
        self,
        reference: str,
        dockerfile: str | os.PathLike[str],
        context: str | os.PathLike[str],
        target: str | None = None,
        args: Mapping[str, str] | None = None,
    ) -> str:
        """Record what the image would start, and return its digest `sha256:...`.

        The digest changes when the Dockerfile's meaning or any file that it copies changes.

        Raises:
            DockerfileError: it is wrong, uses something unsupported, or copies a missing file.
            FileNotFoundError: no such Dockerfile.
        """
        repository, tag, _ = split_reference(reference)
        root = Path(context).resolve()
        if not root.is_dir():
            raise DockerfileError(f"the build context {root} is not a folder")
        stages = parse(Path(dockerfile).read_text(), args, self._base)
        stage = stages[-1] if target is None else find(stages, target)
        if stage is None:
            names = ", ".join(s.name for s in stages if s.name) or "none"
            raise DockerfileError(
                f"target stage {target!r} not found; the named stages are {names}"
            )
        ignored = Ignore.read(root, Path(dockerfile))
        mappings, files = _layout(stage, stages, root, ignored)
        digest = _digest(stage, stages, root, files)
        image = Image(
            reference=f"{repository}:{tag or 'latest'}",
            digest=digest,
            context=str(root),
            entrypoint=stage.entrypoint,
            cmd=stage.cmd,
            env=stage.env,
            workdir=stage.workdir,
            mappings=tuple(mappings),
        )
        folder = self._repository(repository)
        _write(folder / "sha256" / f"{digest.removeprefix('sha256:')}.json", image)
        _write(folder / "tags" / f"{tag or 'latest'}.json", image)
        return digest

    def resolve(self, reference: str) -> Image:
        """The image that `host/path/name:tag` or `...@sha256:...` names.

        Raises:
            ImageNotFound: it was not built here. The message is Google's.
        """
        try:
            repository, tag, digest = split_reference(reference)
        except DockerfileError:
            raise ImageNotFound(reference) from None
        folder = self._repository(repository)
        if digest is not None:
            file = folder / "sha256" / f"{digest.removeprefix('sha256:')}.json"
        else:
            file = folder / "tags" / f"{tag or 'latest'}.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Image)
        except FileNotFoundError:
            raise ImageNotFound(reference) from None

    def remove(self, reference: str) -> None:
        """Forget a tag, or with a digest the build and every tag of it. Idempotent."""
        repository, tag, digest = split_reference(reference)
        folder = self._repository(repository)
        if digest is None:
            (folder / "tags" / f"{tag or 'latest'}.json").unlink(missing_ok=True)
            return
        (folder / "sha256" / f"{digest.removeprefix('sha256:')}.json").unlink(missing_ok=True)
        for file in folder.glob("tags/*.json"):
            if msgspec.json.decode(file.read_bytes(), type=Image).digest == digest:
                file.unlink(missing_ok=True)

    def _repository(self, repository: str) -> Path:
        return self._folder / quote(repository, safe="")

    def _base(self, reference: str) -> Stage | None:
        """A locally built image as the ground that a FROM stands on."""
        try:
            image = self.resolve(reference)
        except ImageNotFound:
            return None
        return Stage(
            base=reference,
            name=None,
            env=dict(image.env),
            workdir=image.workdir,
            entrypoint=image.entrypoint,
            cmd=image.cmd,
            steps=[("FROM", image.digest)],
            mounts=[(mount.image, mount.here) for mount in image.mappings],
        )


def split_reference(reference: str) -> tuple[str, str | None, str | None]:
    """Repository, tag and digest of an image reference.

    Raises:
        DockerfileError: it is not an image reference.
    """
    match = _REFERENCE.match(reference)
    if match is None:
        raise DockerfileError(
            f"{reference!r} is not an image reference; "
            "expected host/path/name:tag or host/path/name@sha256:..."
        )
    return match["repository"], match["tag"], match["digest"]


def _layout(
    stage: Stage, stages: list[Stage], root: Path, ignored: Ignore
) -> tuple[list[Mount], list[Path]]:
    """Which context paths stand for which image paths, and every file that was copied."""
    mappings: list[Mount] = []
    files: list[Path] = []
    if stage.parent is not None:
        mappings, files = _layout(stage.parent, stages, root, ignored)
    for copy in stage.copies:
        if copy.stage is not None:
            found, more = _from_stage(copy, stages, root, ignored)
        else:
            found, more = _from_context(copy, root, ignored)
        mappings += found
        files += more
    mappings += [Mount(image, here) for image, here in stage.mounts]
    if stage.parent is None:
        # The convention when nothing more exact is said: the image's /app is the context.
        mappings.insert(0, Mount("/app", str(root)))
    return mappings, files


def _from_context(copy: Copy, root: Path, ignored: Ignore) -> tuple[list[Mount], list[Path]]:
    mappings: list[Mount] = []
    files: list[Path] = []
    for source in copy.sources:
        matches = found_in(source, root)
        copied = [file for match in matches for file in files_of(match, root, ignored)]
        if not copied:
            raise DockerfileError(
                f"COPY {source}: no such file in the build context {root}, "
                "or .dockerignore leaves it out"
            )
        files += copied
        for match in matches:
            target = PurePosixPath(copy.target)
            if match.is_file() and (copy.into_folder or len(matches) > 1):
                target = target / match.name
            mappings += _with_parents(target, match, root)
    return mappings, files


def _with_parents(target: PurePosixPath, source: Path, root: Path) -> list[Mount]:
    """The mapping, and those of the folders above as long as both sides are named alike."""
    found = [Mount(str(target), str(source))]
    while target.name and source != root and target.name == source.name:
        target, source = target.parent, source.parent
        found.insert(0, Mount(str(target), str(source)))
    return found


def _from_stage(
    copy: Copy, stages: list[Stage], root: Path, ignored: Ignore
) -> tuple[list[Mount], list[Path]]:
    stage = find(stages, copy.stage or "")
    if stage is None:
        return [], []
    mappings, files = _layout(stage, stages, root, ignored)
    inner = Image(
        reference="stage", digest="", context=str(root), workdir="/", mappings=tuple(mappings)
    )
    found: list[Mount] = []
    for source in copy.sources:
        located = inner.locate(source)
        # What a RUN produced (an installed environment) is not here; nothing maps to it.
        if located is not None:
            target = PurePosixPath(copy.target)
            if located.is_file() and copy.into_folder:
                target = target / located.name
            found += _with_parents(target, located, root)
    return found, files


def _digest(stage: Stage, stages: list[Stage], root: Path, files: Sequence[Path]) -> str:
    needed: list[Stage] = []

    def need(one: Stage) -> None:
        if one.parent is not None:
            need(one.parent)
        for copy in one.copies:
            other = find(stages, copy.stage) if copy.stage else None
            if other is not None and other is not one:
                need(other)
        if all(one is not known for known in needed):
            needed.append(one)

    need(stage)
    summary = {
        "stages": [one.steps for one in needed],
        "env": dict(sorted(stage.env.items())),
        "entrypoint": stage.entrypoint,
        "cmd": stage.cmd,
        "workdir": stage.workdir,
    }
    total = hashlib.sha256(msgspec.json.encode(summary))
    for file in sorted(set(files)):
        total.update(b"\0" + file.relative_to(root).as_posix().encode() + b"\0")
        if file.is_symlink():
            total.update(b"link:" + str(file.readlink()).encode())
            continue
        total.update(b"x" if os.access(file, os.X_OK) else b"-")
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return f"sha256:{total.hexdigest()}"


def _write(file: Path, image: Image) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(image)) + b"\n")
    draft.replace(file)
