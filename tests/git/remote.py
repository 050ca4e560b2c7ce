"""A git remote over real HTTP: `git http-backend` behind a token that can be changed."""

from __future__ import annotations

import asyncio
import base64
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.git.history_builder import ENVIRONMENT, History


@dataclass
class Remote:
    """Serves one bare repository at `/owner/name.git`; counts what is asked of it."""

    history: History
    bare: Path
    token: str = "first"  # noqa: S105 - a made-up word
    requests: Counter[str] = field(default_factory=Counter)
    broken: bool = False
    url: str = ""

    @classmethod
    def of(cls, history: History, bare: Path) -> Remote:
        history.git("clone", "--quiet", "--bare", str(history.path), str(bare))
        for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            history.git("-C", str(bare), "config", key, "true")
        return cls(history, bare)

    def push(self, *refspecs: str) -> None:
        self.history.git("push", "--quiet", "--force", str(self.bare), *refspecs)

    async def answer(self, request: web.Request) -> web.Response:
        service = request.path.rpartition("/")[2]
        self.requests[service] += 1
        if self.broken:
            return web.Response(status=502, text="bad gateway")
        allowed = base64.b64encode(f"x-access-token:{self.token}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {allowed}":
            return web.Response(status=401, headers={"WWW-Authenticate": "Basic"})
        body = await request.read()
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=ENVIRONMENT
            | {
                "GIT_PROJECT_ROOT": str(self.bare),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": request.path.removeprefix("/owner/name.git"),
                "QUERY_STRING": request.query_string,
                "REQUEST_METHOD": request.method,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
                "TMPDIR": os.environ.get("TMPDIR", "/tmp"),  # noqa: S108 - git's own default
            },
        )
        said, _ = await process.communicate(body)
        head, _, content = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=content)
