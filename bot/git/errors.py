"""What can go wrong when host git runs, as types; no message ever holds a credential."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bot.errors import Guarded, Passing

_KEPT_CHARACTERS = 2000
_HIDDEN = "[hidden]"
_SECRET_SHAPES = (
    re.compile(r"(?<=://)[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=authorization: )\S+(?: \S+)?"),
    re.compile(r"\bgh[a-z]_[A-Za-z0-9_.\-]{8,}"),
    re.compile(r"\bgithub_pat_[A-Za-z0-9_]{8,}"),
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` without credentials, cut to its last 2,000 characters.

    Hides each of `secrets`, user names and passwords in addresses, authorization headers and
    GitHub tokens of every published prefix, the long `ghs_APPID_JWT` form included.
    """
    for secret in sorted((s for s in secrets if s), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    for shape in _SECRET_SHAPES:
        text = shape.sub(_HIDDEN, text)
    text = text.strip()
    return text if len(text) <= _KEPT_CHARACTERS else "…" + text[-_KEPT_CHARACTERS:]


class GitError(Exception):
    """Git did not do what was asked; `str()` of it can be shown to a person."""


class GitFailed(GitError, Guarded):
    """A git command ended with an exit code nobody asked for; what it said is for the log."""

    def __init__(self, command: str, code: int, stderr: str) -> None:
        """Keep the subcommand's name, its exit code and its (already redacted) last words."""
        super().__init__(f"git {command} ended with {code}: {stderr or 'it said nothing'}")
        self.command = command
        self.code = code
        self.stderr = stderr
        self.in_public = f"git {command} ended with {code}; the log says more"


class CorruptRepository(GitFailed):
    """The object store or the refs are damaged; a mirror is cloned again, nothing is lost."""


class MirrorDamaged(GitError):
    """A file of a mirror is damaged or missing; the mirror is cloned again, nothing is lost."""

    def __init__(self, what: str, *, passing: bool = False) -> None:
        """Say what was found; `passing` where git at work looks the same for a moment."""
        super().__init__(f"the mirror is damaged: {what}")
        self.passing = passing


class DiskFull(GitFailed, Passing):
    """Git could not write: there is no room. Nothing is damaged; trying later helps."""


class RemoteUnavailable(GitFailed, Passing):
    """The remote could not be reached, refused the credential or broke off; trying later helps."""


class GitTimeout(GitError):
    """A git command took longer than it was given; it and its children were killed."""

    def __init__(self, command: str, seconds: float) -> None:
        """Name the subcommand and the limit in seconds."""
        super().__init__(f"git {command} took longer than {seconds:g} s and was stopped")
        self.command = command


class OutputTooLarge(GitError):
    """A git command printed more than it was allowed to; it was killed."""

    def __init__(self, command: str, limit: int) -> None:
        """Name the subcommand and the limit in bytes."""
        super().__init__(f"git {command} printed more than {limit:,} bytes and was stopped")
        self.command = command


class GitTooOld(GitError):
    """Host git is missing, or lacks `merge-tree --write-tree` (git 2.38)."""

    def __init__(self, found: str | None) -> None:
        """Say what was found, if anything."""
        what = f"git {found} is too old" if found else "git was not found"
        super().__init__(f"{what}: install git 2.38 or newer")


class NotARepository(GitError):
    """The path given is not a git repository."""

    def __init__(self, path: object) -> None:
        """Name the path as the person gave it."""
        super().__init__(f"{path} is not a git repository: name a clone, or its .git directory")


class UnknownRevision(GitError):
    """A revision names no commit here."""

    def __init__(self, revision: str) -> None:
        """Name the revision, cut to a length fit for a comment."""
        super().__init__(f"{revision[:80]!r} names no commit in this repository")
        self.revision = revision


class AmbiguousRevision(GitError):
    """An abbreviated SHA stands for several commits."""

    def __init__(self, revision: str, candidates: tuple[str, ...]) -> None:
        """Keep the full SHAs it may stand for."""
        super().__init__(
            f"{revision[:80]!r} stands for {len(candidates)} commits: give more characters"
        )
        self.revision = revision
        self.candidates = candidates


class ShallowHistory(GitError):
    """The clone was cut off exactly where the parent is needed."""

    def __init__(self, commit: str) -> None:
        """Name the commit whose parent is missing."""
        super().__init__(
            f"the parent of {commit[:12]} is missing because this clone is shallow:"
            " run `git fetch --unshallow` and try again"
        )
        self.commit = commit


class NoSuchParent(GitError):
    """The mainline asked for does not exist on that commit."""

    def __init__(self, commit: str, mainline: int, parents: int) -> None:
        """Name the commit, the parent asked for (from 1) and how many there are."""
        super().__init__(f"{commit[:12]} has {parents} parent(s), so no parent number {mainline}")
        self.commit = commit


class PathNotUtf8(GitError):
    """A changed path is not UTF-8, which GitHub's tree API cannot carry."""

    def __init__(self, path: bytes) -> None:
        """Keep the path's bytes; the message shows them escaped."""
        self.shown = path.decode("utf-8", "backslashreplace")
        super().__init__(
            f"the path {self.shown} is not UTF-8, so GitHub's API cannot carry it:"
            " revert this one with git itself"
        )
