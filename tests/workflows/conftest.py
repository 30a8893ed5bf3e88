"""GitHub as the workflows see it: its REST API on loopback, and a runner's way of running steps."""

from __future__ import annotations

import contextlib
import http.server
import io
import itertools
import json
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
REPOSITORY = "flights/esteira"
TOKEN = "a token of the workflow's"
BOT = "github-actions[bot]"
PAGE = 2
"""Items a page holds at most, whatever is asked for: everything worth finding is on a later one."""


@dataclass
class GitHub:
    """One repository's pull requests, comments, issues and artifacts, over HTTP."""

    pulls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    comments: dict[int, list[dict[str, Any]]] = field(
        default_factory=dict[int, list[dict[str, Any]]]
    )
    issues: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    artifacts: dict[int, list[dict[str, Any]]] = field(
        default_factory=dict[int, list[dict[str, Any]]]
    )
    checks: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])
    """Of each commit."""
    archives: dict[int, bytes] = field(default_factory=dict[int, bytes])
    requests: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    leaked: list[str] = field(default_factory=list[str])
    """Tokens that reached the place of downloads."""
    url: str = ""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Requests that change something."""
        return [one for one in self.requests if one[0] != "GET"]

    def upload(self, run: int, name: str, files: Mapping[str, bytes], **claims: Any) -> None:
        """Leave an artifact of a run, as actions/upload-artifact does."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path, content in files.items():
                zipped.writestr(path, content)
        number = next(self.numbers)
        self.archives[number] = archive.getvalue()
        described = {
            "id": number,
            "name": name,
            "size_in_bytes": len(archive.getvalue()),
            "expired": False,
        }
        self.artifacts.setdefault(run, []).append(described | claims)

    def check(self, sha: str, name: str, conclusion: str, app: str = "github-actions") -> None:
        """End a check of a commit."""
        made = {"name": name, "conclusion": conclusion, "app": {"slug": app}}
        self.checks.setdefault(sha, []).append(made)

    def comment(self, number: int, body: str, login: str = BOT) -> dict[str, Any]:
        """Say something in a conversation."""
        made = {"id": next(self.numbers), "body": body, "user": {"login": login}}
        self.comments.setdefault(number, []).append(made)
        return made

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """Status and document of one request."""
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        path = path.removeprefix(f"/repos/{REPOSITORY}/")
        match method, path.split("/"):
            case "GET", ["pulls"]:
                owner, _, branch = query["head"][0].partition(":")
                return 200, [
                    one
                    for one in self.pulls
                    if (one["head"]["user"]["login"], one["head"]["ref"]) == (owner, branch)
                    and one["state"] == query["state"][0]
                ]
            case "GET", ["actions", "runs", run, "artifacts"]:
                return 200, {"artifacts": self.artifacts.get(int(run), [])}
            case "GET", ["commits", sha, "check-runs"]:
                of_it = self.checks.get(sha, [])
                (name,) = query["check_name"]
                return 200, {"check_runs": [one for one in of_it if one["name"] == name]}
            case "GET", ["issues"]:
                return 200, [one for one in self.issues if one["state"] == query["state"][0]]
            case "GET", ["issues", number, "comments"]:
                return 200, self.comments.get(int(number), [])
            case "POST", ["issues", number, "comments"]:
                return 201, self.comment(int(number), body["body"])
            case "PATCH", ["issues", "comments", number]:
                for one in itertools.chain(*self.comments.values()):
                    if one["id"] == int(number):
                        one.update(body)
                        return 200, one
            case "POST", ["issues"]:
                made = {"number": next(self.numbers), "state": "open", "user": {"login": BOT}}
                self.issues.append(made | body)
                return 201, self.issues[-1]
            case "PATCH", ["issues", number]:
                for one in self.issues:
                    if one["number"] == int(number):
                        one.update(body)
                        return 200, one
            case _:
                pass
        return 404, {"message": "Not Found"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Pages lists, asks for the token, and redirects downloads elsewhere, as GitHub does."""

    github: GitHub

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/blobs/(\d+)", self.path):
            if token := self.headers.get("Authorization"):
                self.github.leaked.append(token)
            self._write(200, self.github.archives[int(found[1])], {})
        elif found := re.search(r"/actions/artifacts/(\d+)/zip$", self.path):
            # Another host, as far as a client can tell.
            other = self.github.url.replace("127.0.0.1", "localhost")
            self._write(302, b"", {"Location": f"{other}/blobs/{found[1]}"})
        else:
            self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.github.requests.append((method, self.path))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._write(401, b'{"message": "Bad credentials"}', {})
            return
        status, document = self.github.answer(method, self.path, body)
        headers: dict[str, str] = {}
        items = document.get("artifacts") if isinstance(document, dict) else document
        if method == "GET" and isinstance(items, list):
            page = int(parse_qs(urlsplit(self.path).query).get("page", ["1"])[0])
            if page * PAGE < len(items):
                separator = "&" if "?" in self.path else "?"
                path = re.sub(r"[?&]page=\d+", "", self.path)
                following = f"{self.github.url}{path}{separator}page={page + 1}"
                headers["Link"] = f'<{following}>; rel="next", <{following}>; rel="last"'
            items = items[(page - 1) * PAGE : page * PAGE]
            document = {"artifacts": items} if isinstance(document, dict) else items
        self._write(status, json.dumps(document).encode(), headers)

    def _write(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def github() -> Iterator[GitHub]:
    """GitHub on loopback, with nothing in it yet."""
    with serving() as found:
        yield found


@contextlib.contextmanager
def serving() -> Iterator[GitHub]:
    """GitHub on loopback until the block is left."""
    state = GitHub()
    bound = type("Bound", (Handler,), {"github": state})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def runner_environment(github: GitHub, tmp_path: Path) -> dict[str, str]:
    """The variables that a runner sets for a step with the token."""
    return {
        "GITHUB_API_URL": github.url,
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "77",
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "GH_TOKEN": TOKEN,
    }
