"""Git's objects as values: commits, their signatures (author, committer), tree entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


def _plain(text: str) -> str:
    return "".join(c for c in text if c not in "<>\n\0").strip() or "unknown"


@dataclass(frozen=True)
class Signature:
    """Who and when, of a commit's author or committer."""

    name: str
    email: str
    at: datetime

    def line(self) -> str:
        """The form inside a commit object."""
        offset = self.at.strftime("%z") or "+0000"
        return f"{_plain(self.name)} <{_plain(self.email)}> {int(self.at.timestamp())} {offset}"


@dataclass(frozen=True)
class StoredCommit:
    """A commit as stored."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str
    signed: bool


@dataclass(frozen=True)
class TreeItem:
    """One entry of a tree; `size` is None for trees and submodules."""

    mode: str
    type: str
    sha: str
    path: str
    size: int | None = None


def parse_commit(sha: str, raw: bytes) -> StoredCommit:
    """Read a commit object's text."""
    head, _, message = raw.partition(b"\n\n")
    fields: dict[str, list[str]] = {}
    for line in head.decode(errors="replace").split("\n"):
        key, _, value = line.partition(" ")
        fields.setdefault(key, []).append(value)
    return StoredCommit(
        sha, fields["tree"][0], tuple(fields.get("parent", ())),
        _signature(fields["author"][0]), _signature(fields["committer"][0]),
        message.decode(errors="replace"), "gpgsig" in fields,
    )  # fmt: skip


def _signature(line: str) -> Signature:
    who, _, when = line.rpartition("> ")
    name, _, email = who.partition(" <")
    seconds, _, offset = when.partition(" ")
    zone = datetime.strptime(offset or "+0000", "%z").tzinfo
    return Signature(name, email, datetime.fromtimestamp(int(seconds), tz=zone))
