"""GitHub's REST API, as much as the workflows need: with the standard library alone, so that a job
that holds a token installs nothing."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

TIMEOUT: Final = 30.0
"""Seconds for one request."""
BOT: Final = "github-actions[bot]"
"""Who a workflow's own token is. A comment of anyone else is not ours, whatever it says."""
LIMIT: Final = 65_536
"""Characters that GitHub takes as the body of a comment or an issue."""

_NEXT: Final = re.compile(r'<([^>]+)>;\s*rel="next"')


class Refused(RuntimeError):
    """GitHub did not do as asked; the message has the request, the status and what it said."""


class Repository:
    """One repository, as the token of a workflow may see and change it."""

    def __init__(self, name: str, token: str, api: str = "https://api.github.com") -> None:
        self.name = name
        self._token = token
        self._api = api.rstrip("/")

    @classmethod
    def of_this_run(cls) -> Repository:
        """The repository whose workflow is running, from the variables that a runner sets."""
        return cls(
            os.environ["GITHUB_REPOSITORY"],
            os.environ["GH_TOKEN"],
            os.environ.get("GITHUB_API_URL", "https://api.github.com"),
        )

    def get(self, path: str, **query: str | int) -> Any:
        """One document. `path` begins after the repository's name."""
        return json.loads(self._send("GET", self._url(path, query)).read())

    def every(self, path: str, field: str | None = None, **query: str | int) -> Iterator[Any]:
        """The items of a list, page by page; `field` is where a document holds its list."""
        url: str | None = self._url(path, {"per_page": 100, **query})
        while url:
            answer = self._send("GET", url)
            page = json.loads(answer.read())
            yield from page[field] if field else page
            found = _NEXT.search(answer.headers.get("Link", ""))
            url = found[1] if found else None
            if url and urlsplit(url)[:2] != urlsplit(self._api)[:2]:
                raise Refused(f"the next page is elsewhere: {url}")

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Create."""
        return json.loads(self._send("POST", self._url(path, {}), body).read())

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Change."""
        return json.loads(self._send("PATCH", self._url(path, {}), body).read())

    def download(self, path: str, limit: int) -> bytes:
        """The bytes that a path redirects to; refused where they are more than `limit`."""
        found = self._send("GET", self._url(path, {})).read(limit + 1)
        if len(found) > limit:
            raise Refused(f"GET {path}: more than {limit} bytes")
        return found

    def _url(self, path: str, query: Mapping[str, str | int]) -> str:
        owner, _, name = self.name.partition("/")
        url = f"{self._api}/repos/{quote(owner, safe='')}/{quote(name, safe='')}/{path}"
        return f"{url}?{urlencode(query)}" if query else url

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the address is the runner's
            url, method=method, data=None if body is None else json.dumps(body).encode()
        )
        request.add_header("Accept", "application/vnd.github+json")
        request.add_header("X-GitHub-Api-Version", "2022-11-28")
        request.add_header("User-Agent", "esteira")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        # Unredirected: a download is elsewhere, and no place for the token.
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
        except urllib.error.HTTPError as error:
            said = error.read(2_000).decode(errors="replace")
            raise Refused(f"{method} {url}: {error.code} {said}") from None
        except urllib.error.URLError as error:
            raise Refused(f"{method} {url}: {error.reason}") from None
