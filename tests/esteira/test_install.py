"""The engine is obtained by the first way that works, and each that fails says why."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from esteira.engine import install


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a shell and nothing else, whose checkout holds no engine yet."""
    tools = tmp_path / "checkout"
    monkeypatch.setattr(install, "TOOLS", tools)
    monkeypatch.setattr(install, "BIN", tools / "bin")
    monkeypatch.setenv("ESTEIRA_PULUMI_INSTALLER", "http://127.0.0.1:9/")  # nobody listens
    path = tmp_path / "path"
    path.mkdir()
    for tool in ("sh", "mkdir", "cat", "chmod"):
        real = next(p for p in (Path("/bin"), Path("/usr/bin")) if (p / tool).exists()) / tool
        (path / tool).symlink_to(real)
    monkeypatch.setenv("PATH", str(path))
    return path


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """Stands for the installer's site; what it serves is set by the test."""
    content = {"script": b""}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content["script"])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ESTEIRA_PULUMI_INSTALLER", f"http://127.0.0.1:{server.server_port}/")
    yield content
    server.shutdown()


def test_a_recent_pulumi_on_path_is_taken(bare_machine: Path) -> None:
    script(bare_machine, "pulumi", "echo v3.260.1")
    engine = install.obtain()
    assert (engine.origin, engine.version) == ("PATH", (3, 260, 1))
    assert engine.path == bare_machine / "pulumi"
    assert not engine.language_host


def test_an_old_pulumi_on_path_is_not_taken_and_the_reason_names_both_versions(
    bare_machine: Path, site: dict[str, bytes]
) -> None:
    script(bare_machine, "pulumi", "echo v3.1.0")
    site["script"] = (
        b"while [ $# -gt 1 ]; do [ $1 = --install-root ] && root=$2; "
        b"[ $1 = --version ] && version=$2; shift; done\n"
        b'mkdir -p $root/bin && printf "#!/bin/sh\\necho v$version\\n" >$root/bin/pulumi\n'
        b"chmod +x $root/bin/pulumi\n"
    )
    engine = install.obtain()
    assert engine.origin == "installer"
    assert engine.version_text == install.VERSION
    assert "3.1.0" in engine.fallbacks[0]
    assert "3.200.0" in engine.fallbacks[0]
    assert install.find() is not None, "the second time it is simply there"


def test_without_any_way_each_reason_is_given_and_what_would_mend_it() -> None:
    with pytest.raises(install.NoEngine) as caught:
        install.obtain()
    message = str(caught.value)
    assert "no `pulumi` on PATH" in message
    assert "cannot be reached" in message
    assert "no `go` on PATH" in message
    assert "Install Pulumi" in message
    assert len(caught.value.reasons) == 3


def test_an_installer_that_fails_gives_its_last_words(site: dict[str, bytes]) -> None:
    site["script"] = b"echo 'no such version' >&2; exit 3\n"
    with pytest.raises(install.NoEngine, match="exit code 3: no such version"):
        install.obtain()


def test_a_pulumi_that_does_not_run_is_passed_over(bare_machine: Path) -> None:
    script(bare_machine, "pulumi", "exit 1")
    with pytest.raises(install.NoEngine, match="does not run"):
        install.obtain()


def test_a_build_that_fails_leaves_no_half_binary(bare_machine: Path) -> None:
    script(bare_machine, "go", "echo 'cannot find module' >&2; exit 1")
    with pytest.raises(install.NoEngine, match="cannot find module"):
        install.obtain()
    assert not (install.BIN / "pulumi").exists()
    assert install.find() is None
