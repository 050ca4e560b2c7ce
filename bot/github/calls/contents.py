"""Files of the repository at a commit."""

from __future__ import annotations

import base64

from pydantic import Field

from bot.github.models import File, GitHubModel
from bot.github.transport.channel import Channel

CONTENTS = "/repos/{owner}/{repo}/contents/{path*}"
BLOB = "/repos/{owner}/{repo}/git/blobs/{sha}"


class FoundFile(GitHubModel):
    """A file that is there; `content` is None where it is larger than was wanted."""

    sha: str
    content: bytes | None = Field(default=None, repr=False)


class Contents:
    """Reading single files; writing goes through `GitData`."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def read(self, path: str, ref: str | None = None) -> File | None:
        """Read a file at a commit, branch or tag; None if there is no such file.

        Without a `ref` it is read from the head of the default branch.

        A directory or submodule is no file either. Up to 100 MB.
        """
        data = await self._channel.find(CONTENTS, query={"ref": ref} if ref else {}, path=path)
        if not isinstance(data, dict) or data.get("type") != "file":
            return None
        if data.get("encoding") != "base64":
            # Above 1 MB the answer comes without the content.
            data = await self._channel.get(BLOB, sha=data["sha"])
        content = base64.b64decode(data["content"])
        return File(path=path, sha=data["sha"], content=content)

    async def find(self, path: str, ref: str | None = None, *, largest: int) -> FoundFile | None:
        """Read a file, its bytes only where they are at most `largest`; None if there is none.

        Without a `ref` it is read from the head of the default branch.
        """
        data = await self._channel.find(CONTENTS, query={"ref": ref} if ref else {}, path=path)
        if not isinstance(data, dict) or data.get("type") != "file":
            return None
        if data["size"] > largest:
            return FoundFile(sha=data["sha"])
        if data.get("encoding") != "base64":
            data = await self._channel.get(BLOB, sha=data["sha"])
        return FoundFile(sha=data["sha"], content=base64.b64decode(data["content"]))

    async def names(self, path: str, ref: str) -> tuple[str, ...]:
        """List a directory's names; nothing if there is no such directory. At most 1,000."""
        data = await self._channel.find(CONTENTS, query={"ref": ref}, path=path)
        return tuple(entry["name"] for entry in data) if isinstance(data, list) else ()
