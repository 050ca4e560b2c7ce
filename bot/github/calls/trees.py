"""Writing a computed tree through the API: only what GitHub does not have is uploaded."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bot.github.transport.channel import Channel

TREES = "/repos/{owner}/{repo}/git/trees"
BLOBS = "/repos/{owner}/{repo}/git/blobs"

ENTRIES_PER_REQUEST = 1000
INLINE_BYTES = 256 * 1024
"""Texts up to this size travel inside the tree request; bigger ones, and binaries, as blobs."""

REQUEST_BYTES = 4 * 2**20

REGULAR, EXECUTABLE, SYMLINK, SUBMODULE, DIRECTORY = (
    "100644",
    "100755",
    "120000",
    "160000",
    "040000",
)
_TYPES = {SUBMODULE: "commit", DIRECTORY: "tree"}


@dataclass(frozen=True)
class TreeChange:
    """One path that differs: a new content, an object GitHub has (`sha`), or neither: deleted."""

    path: str
    mode: str = REGULAR
    sha: str | None = None
    content: bytes | None = None

    @property
    def is_deletion(self) -> bool:
        """Tell whether the path goes away."""
        return self.sha is None and self.content is None


async def publish(channel: Channel, base_tree: str | None, changes: Sequence[TreeChange]) -> str:
    """Write the tree, in several requests if it is large, and give its id.

    Deletions go first; where a file becomes a directory or a directory a file, they go in a
    request of their own, since GitHub does not say in which order it takes the entries of one.
    """
    if not changes and base_tree is not None:
        return base_tree
    deletions = [change for change in changes if change.is_deletion]
    others = [change for change in changes if not change.is_deletion]
    steps = [deletions, others] if _swaps(deletions, others) else [deletions + others]
    chunks: list[list[dict[str, Any]]] = []
    for step in steps:
        chunks += _chunks([await _entry(channel, change) for change in step])
    tree = base_tree
    for chunk in chunks:
        body: dict[str, Any] = {"tree": chunk}
        if tree is not None:
            body["base_tree"] = tree
        tree = (await channel.post(TREES, body, repeatable=True))["sha"]
    if tree is None:
        raise ValueError("A tree without entries cannot be written through GitHub's API.")
    return tree


def _swaps(deletions: Sequence[TreeChange], others: Sequence[TreeChange]) -> bool:
    """Tell whether a path goes away below one that comes, or the other way round."""
    gone = {change.path for change in deletions}
    new = {change.path for change in others}
    return any(
        parent in those
        for these, those in ((gone, new), (new, gone))
        for path in these
        for parent in _parents(path)
    )


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


async def _entry(channel: Channel, change: TreeChange) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": change.path,
        "mode": change.mode,
        "type": _TYPES.get(change.mode, "blob"),
    }
    if change.content is None:
        return {**entry, "sha": change.sha}
    text = _inline(change.content)
    if text is not None:
        return {**entry, "content": text}
    blob = {"content": base64.b64encode(change.content).decode(), "encoding": "base64"}
    return {**entry, "sha": (await channel.post(BLOBS, blob, repeatable=True))["sha"]}


def _inline(content: bytes) -> str | None:
    """Give the text if GitHub would store exactly these bytes for it."""
    # The API takes an empty text for "nothing given".
    if not content or len(content) > INLINE_BYTES or b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _chunks(entries: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        weight = len(entry.get("content", "")) * 2 + len(entry["path"]) + 100
        if chunk and (len(chunk) >= ENTRIES_PER_REQUEST or size + weight > REQUEST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += weight
    if chunk:
        yield chunk
