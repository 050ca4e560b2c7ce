"""Reading git's output about what differs between two trees."""

from __future__ import annotations

from dataclasses import dataclass

_WORDS = {"A": "added", "D": "removed", "R": "renamed", "C": "copied", "T": "changed"}


@dataclass(frozen=True)
class Change:
    """One changed file between two trees."""

    path: str
    status: str
    additions: int
    deletions: int
    sha: str
    previous: str | None
    patch: str | None


def read(raw: bytes, patches: dict[str, str]) -> list[Change]:
    """Read `git diff-tree -z --raw --numstat`.

    A removed file has the blob it had: GitHub shows that one.
    """
    fields = raw.decode(errors="surrogateescape").split("\0")
    found: list[tuple[str, str, str, str | None]] = []
    counts: dict[str, tuple[int, int]] = {}
    at = 0
    while at < len(fields) - 1:
        if fields[at].startswith(":"):
            _, _, old, new, status = fields[at].split()
            moved = status[0] in "RC"
            path = fields[at + 2] if moved else fields[at + 1]
            sha = old if status[0] == "D" else new
            found.append((status[0], sha, path, fields[at + 1] if moved else None))
            at += 3 if moved else 2
        else:
            plus, minus, path = fields[at].split("\t", 2)
            at += 1 if path else 3
            path = path or fields[at - 1]
            counts[path] = (0, 0) if plus == "-" else (int(plus), int(minus))
    return [
        Change(
            path, _WORDS.get(status, "modified"), *counts.get(path, (0, 0)), sha, previous,
            patches.get(path),
        )
        for status, sha, path, previous in found
    ]  # fmt: skip


def patches(text: str) -> dict[str, str]:
    """The hunks of each file in `git diff-tree -p`, by path."""
    found = {}
    for part in ("\n" + text).split("\ndiff --git ")[1:]:
        head, _, hunks = part.partition("\n@@")
        lines = head.splitlines()
        target = next((line[6:] for line in lines if line.startswith("+++ b/")), None)
        source = next((line[6:] for line in lines if line.startswith("--- a/")), None)
        name = (target or source or "").rstrip("\t")
        if hunks and name:
            found[name] = "@@" + hunks.rstrip("\n")
    return found
