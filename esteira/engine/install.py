"""Obtains the Pulumi engine, by the first of three ways that works.

1. `pulumi` on PATH, if it is recent enough.
2. Pulumi's official installer, pinned, into `.esteira/bin`.
3. A build from Pulumi's published Go modules (`tools/pulumi`), into `.esteira/bin`, for machines
   that reach a Go module proxy and not Pulumi's download site.

Each way that fails gives its reason; `NoEngine` carries them all, and what would mend it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from esteira.paths import BIN, ROOT, TOOLS

VERSION: Final = "3.250.0"
"""The engine that is installed or built: the newest whose Go modules are published."""
OLDEST: Final = (3, 200, 0)
"""The oldest engine on PATH that is taken: the Python SDK in use is tested from here on."""
INSTALLER: Final = "https://get.pulumi.com"
INSTALLER_TIMEOUT: Final = 5.0
"""Seconds to wait for the installer's site; a machine without it must not wait long."""
MODULES: Final = ROOT / "tools" / "pulumi"

Progress = Callable[[str], None]


class NoEngine(RuntimeError):
    """No way of obtaining the engine worked. `reasons` has one line for each way."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__(
            "no Pulumi engine can be had here:\n"
            + "\n".join(f"  - {reason}" for reason in reasons)
            + "\nInstall Pulumi (https://www.pulumi.com/docs/install/) or Go, and run this again."
        )


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A usable engine."""

    path: Path
    version: tuple[int, int, int]
    origin: str
    """`PATH`, `installer` or `build`."""
    language_host: bool
    """Whether `pulumi up` from a shell works too; programs driven by `esteira` need no host."""
    fallbacks: list[str] = field(default_factory=list[str])
    """Why the ways before this one were not taken."""

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


def find() -> Engine | None:
    """The engine that is there already, without obtaining one."""
    try:
        return _on_path()
    except LookupError:
        return _installed()


def obtain(progress: Progress = lambda _: None) -> Engine:
    """The engine, obtained if need be.

    Args:
        progress: is told what happens, one line at a time.

    Raises:
        NoEngine: none of the three ways worked.
    """
    reasons: list[str] = []
    try:
        return _on_path()
    except LookupError as error:
        reasons.append(str(error))
    if there := _installed():
        return there
    for described, way in (
        ("the official installer", _official),
        ("a build from Pulumi's Go modules (about 5 minutes the first time)", _build),
    ):
        progress(f"{reasons[-1]}; next: {described}")
        try:
            origin = way(progress)
        except (OSError, subprocess.SubprocessError, LookupError) as error:
            reasons.append(f"{described}: {_reason(error)}")
            continue
        engine = _installed(origin)
        if engine is None:
            reasons.append(f"{described}: it left no working {BIN / 'pulumi'}")
            continue
        return Engine(
            path=engine.path,
            version=engine.version,
            origin=origin,
            language_host=engine.language_host,
            fallbacks=reasons,
        )
    raise NoEngine(reasons)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError):
        return f"its site cannot be reached ({error.reason})"
    if isinstance(error, subprocess.CalledProcessError):
        tail = (error.stderr or error.stdout or "").strip().splitlines()
        return f"exit code {error.returncode}: {tail[-1] if tail else 'it said nothing'}"
    return str(error)


def _version_of(binary: Path) -> tuple[int, int, int] | None:
    try:
        said = subprocess.run(
            [binary, "version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", said.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _remembered_version_of(binary: Path) -> tuple[int, int, int] | None:
    """As `_version_of`, for a binary of our own: one that has not changed is asked only once.

    One on PATH may be a shim that chooses by the folder it is called from, so that is always asked.
    """
    stat_now = binary.stat()
    stamp = f"{stat_now.st_size} {stat_now.st_mtime_ns}"
    note = binary.with_name("pulumi.version")
    with contextlib.suppress(OSError, ValueError):
        noted, major, minor, patch = note.read_text().rsplit(maxsplit=3)
        if noted == stamp:
            return int(major), int(minor), int(patch)
    version = _version_of(binary)
    if version is not None:
        draft = note.with_name(f"{note.name}.{os.getpid()}")
        with contextlib.suppress(OSError):  # a folder that is only read from is no hindrance
            draft.write_text(f"{stamp} {' '.join(map(str, version))}")
            draft.replace(note)
    return version


def _on_path() -> Engine:
    places = os.pathsep.join(
        one for one in os.environ.get("PATH", "").split(os.pathsep) if Path(one) != BIN
    )
    found = shutil.which("pulumi", path=places)
    if found is None:
        raise LookupError("there is no `pulumi` on PATH")
    version = _version_of(Path(found))
    if version is None:
        raise LookupError(f"`pulumi` on PATH ({found}) does not run")
    if version < OLDEST:
        raise LookupError(
            f"`pulumi` on PATH is {'.'.join(map(str, version))}; "
            f"needed: {'.'.join(map(str, OLDEST))} or later"
        )
    host = shutil.which("pulumi-language-python", path=places) is not None
    return Engine(path=Path(found), version=version, origin="PATH", language_host=host)


def _installed(origin: str | None = None) -> Engine | None:
    binary = BIN / "pulumi"
    version = _remembered_version_of(binary) if binary.exists() else None
    if version is None:
        return None
    mark = BIN / "pulumi.origin"
    if origin is not None:
        mark.write_text(origin)
    return Engine(
        path=binary,
        version=version,
        origin=mark.read_text() if mark.exists() else "installed",
        language_host=(BIN / "pulumi-language-python").exists()
        and (BIN / "pulumi-language-python-exec").exists(),
    )


def _official(progress: Progress) -> str:
    """Runs Pulumi's own installer, pinned; it writes `<root>/bin`."""
    if platform.system() not in ("Linux", "Darwin"):
        raise LookupError(f"the installer is a shell script; this is {platform.system()}")
    site = os.environ.get("ESTEIRA_PULUMI_INSTALLER", INSTALLER)
    with urllib.request.urlopen(site, timeout=INSTALLER_TIMEOUT) as answer:  # noqa: S310
        script = answer.read()
    progress(f"running Pulumi's installer for version {VERSION}")
    subprocess.run(
        ["sh", "-s", "--", "--version", VERSION, "--install-root", str(TOOLS), "--no-edit-path"],
        input=script.decode(),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return "installer"


def _build(progress: Progress) -> str:
    """Builds the engine and the Python language host from Pulumi's published Go modules."""
    go = shutil.which("go")
    if go is None:
        raise LookupError("there is no `go` on PATH")
    BIN.mkdir(parents=True, exist_ok=True)
    # Without the version in the binary, the Automation API refuses it.
    stamp = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{VERSION}"
    _go_build(
        go,
        MODULES / "language-python",
        stamp,
        "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
        BIN / "pulumi-language-python",
        progress,
    )
    _go_build(
        go,
        MODULES,
        stamp,
        "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
        BIN / "pulumi",
        progress,
    )
    sdk = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", "github.com/pulumi/pulumi/sdk/v3"],
        cwd=MODULES,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout.strip()
    executor = BIN / "pulumi-language-python-exec"
    executor.unlink(missing_ok=True)
    shutil.copyfile(Path(sdk) / "python" / "cmd" / executor.name, executor)
    executor.chmod(0o755)
    return "build"


def _go_build(
    go: str, module: Path, stamp: str, package: str, target: Path, progress: Progress
) -> None:
    # Built beside and moved: a build that is killed leaves no half binary in place.
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    command = [go, "build", "-v", "-ldflags", stamp, "-o", str(draft), package]
    tail: list[str] = []
    compiled = 0
    with subprocess.Popen(
        command, cwd=module, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as build:
        try:
            assert build.stderr is not None
            for line in build.stderr:
                tail = [*tail[-9:], line]
                if line.startswith("go: downloading"):
                    progress(f"{target.name}: {line.strip().removeprefix('go: ')}")
                else:
                    compiled += 1
                    progress(f"{target.name}: {compiled} packages compiled, {line.strip()}")
        except BaseException:
            build.kill()
            raise
    if build.returncode != 0:
        draft.unlink(missing_ok=True)
        raise subprocess.CalledProcessError(build.returncode, command, stderr="".join(tail))
    draft.chmod(draft.stat().st_mode | stat.S_IXUSR)
    draft.replace(target)
