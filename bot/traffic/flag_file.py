"""Keeps a copy of the flagd document on this machine, for flagd resolvers that read a file.

One file, nothing but Python's own library: install the package, or copy the file. A broken
document, or one older than the copy, never replaces it; while the bot cannot be reached, the
last good split stays.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: it would carry the token elsewhere."""

    def redirect_request(self, *args: object, **more: object) -> None:
        del args, more


_OPENER = build_opener(_NoRedirects)


class FlagFile:
    """Follows the document in a thread of its own, from `start` to `stop`."""

    def __init__(self, url: str, token: str, path: Path, *, every: float = 0.25) -> None:
        """Prepare.

        Args:
            url: of the document: `https://…/r/OWNER/REPO/flags/flagd.json`.
            token: an API token of the role `read`.
            path: of the copy; its folder must exist.
            every: seconds between two questions whether there is something new.

        Raises:
            ValueError: `url` is not an address of the web.
        """
        if not url.startswith(("https://", "http://")):
            raise ValueError("url must begin with https:// or http://")
        self._url = url
        self._token = token
        self._path = path
        self._every = every
        self._etag: str | None = None
        self._text: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="flag file")

    def start(self) -> FlagFile:
        """Follow the document; what is there now is written before this returns, if possible."""
        self.refresh()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Follow it no longer; the copy stays."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> FlagFile:
        """Use it in a `with` statement."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def refresh(self) -> bool:
        """Ask once; tells whether the copy was replaced."""
        headers = {"Authorization": f"Bearer {self._token}"}
        here = self._here()
        # A copy that somebody changed or removed is asked for again.
        if self._etag is not None and here == self._text:
            headers["If-None-Match"] = self._etag
        request = Request(self._url, headers=headers)  # noqa: S310 - http(s), see above
        try:
            with _OPENER.open(request, timeout=5) as answer:
                text, etag = answer.read().decode(), answer.headers.get("ETag")
        except HTTPError as error:
            error.close()
            return False
        except (OSError, HTTPException, ValueError):
            return False
        generation = _generation(text)
        if generation is None or generation < (_generation(here or "") or 0):
            return False
        is_new: bool = text != here
        if is_new:
            self._replace(text)
        self._etag, self._text = etag, text
        return is_new

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            # A disk that is full now may not be at the next look; until then the copy stays.
            with suppress(OSError):
                self.refresh()

    def _here(self) -> str | None:
        try:
            return self._path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def _replace(self, text: str) -> None:
        """Replace the copy in one go; flagd's resolver passes over a file that is not newer."""
        try:
            newest = self._path.stat().st_mtime_ns + 1_000_000
        except OSError:
            newest = 0
        # Several workers may keep the same copy.
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.new")
        temporary.write_text(text, encoding="utf-8")
        stamp = max(newest, time.time_ns())
        os.utime(temporary, ns=(stamp, stamp))
        temporary.replace(self._path)


def _generation(text: str) -> int | None:
    """Read a document's generation; None where the document cannot be used."""
    try:
        document: Any = json.loads(text)
        generation = document["metadata"]["generation"]
        flags = document["flags"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if isinstance(generation, bool) or not isinstance(generation, int):
        return None
    return generation if isinstance(flags, dict) else None
