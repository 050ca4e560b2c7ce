"""History as git tells it: revisions, ranges, parents, and patches that are the same.

Compared without context lines, so a change that was moved next to other work keeps its id.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from bot.git.errors import AmbiguousRevision, GitFailed, UnknownRevision
from bot.git.process import Git
from bot.triggers import Value

_HEX = re.compile(r"[0-9a-f]{4,64}")
# A message may hold any byte but NUL, so NUL alone separates: eight fields a commit.
_FIELDS = "%x00".join(("%H", "%P", "%an", "%ae", "%at", "%ct", "%s", "%b"))
_FIELD_COUNT = 8
_AUTHORS_SHOWN = 3
_PATHS_ASKED = 200


class CommitInfo(Value):
    """What people want to know of a commit; names and words are the author's, so hostile."""

    sha: str
    parents: tuple[str, ...]
    subject: str
    body: str
    author: str
    email: str
    authored_at: datetime
    committed_at: datetime


class CommitNode(Value):
    """A commit and its parents, for the culprit room's graph."""

    sha: str
    parents: tuple[str, ...]


async def resolve(git: Git, revision: str) -> str:
    """Return the full SHA of the commit that a person's hexadecimal words stand for.

    Only objects are looked at: a branch that happens to be called `deadbeef` is never meant.

    Raises:
        UnknownRevision: It is not hexadecimal, or no commit here begins with it.
        AmbiguousRevision: Several commits begin with it.
    """
    prefix = revision.strip().lower()
    if not _HEX.fullmatch(prefix):
        raise UnknownRevision(revision)
    said = await git.run("rev-parse", f"--disambiguate={prefix}", limit=1 << 20)
    objects = said.text.split()
    if not objects:
        raise UnknownRevision(revision)
    asked = "".join(f"{sha}\n" for sha in objects).encode()
    kinds = await git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked)
    lines = (line.split() for line in kinds.text.splitlines())
    commits = tuple(line[0] for line in lines if len(line) == 2 and line[1] == "commit")
    if not commits:
        raise UnknownRevision(revision)
    if len(commits) > 1:
        raise AmbiguousRevision(revision, commits)
    return commits[0]


async def resolve_expression(git: Git, revision: str) -> str:
    """Return the full SHA that any git revision (`HEAD~3`, a tag) stands for in a local clone.

    Raises:
        UnknownRevision: It names no commit.
    """
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options")
    named = revision
    try:
        # In two steps: behind `:/text` more would be part of the text.
        for ending in ("", "^{commit}"):
            said = await git.run(*words, f"{named}{ending}", ok=(0, 1))
            named = said.text
            if said.code or not _HEX.fullmatch(named):
                raise UnknownRevision(revision)
    except GitFailed:
        raise UnknownRevision(revision) from None
    return named


async def is_ancestor(git: Git, ancestor: str, descendant: str) -> bool:
    """Tell whether `ancestor` is reachable from `descendant` (a commit reaches itself).

    Args:
        git: the repository that holds both.
        ancestor: any revision: the commit that is looked for.
        descendant: any revision: where the search begins.

    Raises:
        GitFailed: one of the two names no commit here.
    """
    command = ("merge-base", "--is-ancestor", ancestor, descendant)
    return (await git.run(*command, ok=(0, 1))).code == 0


async def merge_base(git: Git, one: str, other: str) -> str | None:
    """Return the best common ancestor of two commits, None where histories are unrelated.

    Args:
        git: the repository that holds both.
        one: any revision.
        other: any revision; changing places with `one` changes nothing.

    Raises:
        GitFailed: one of the two names no commit here.
    """
    said = await git.run("merge-base", one, other, ok=(0, 1))
    return said.text.split("\n")[0] or None


async def commit_range(
    git: Git, good: str, bad: str, *, first_parent: bool = False
) -> list[CommitNode]:
    """List the commits reachable from `bad` but not from `good`, ancestors before descendants.

    Args:
        git: The repository.
        good: Excluded, with all it descends from.
        bad: Included.
        first_parent: Follow merges into their first parent only.
    """
    follow = ("--first-parent",) if first_parent else ()
    order = ("--topo-order", "--reverse", "--parents")
    said = await git.run("rev-list", *order, *follow, bad, f"^{good}", "--")
    nodes = []
    for line in said.text.splitlines():
        sha, *parents = line.split(" ")
        kept = parents[:1] if first_parent else parents
        nodes.append(CommitNode(sha=sha, parents=tuple(kept)))
    return nodes


async def first_parents(git: Git, tip: str, count: int) -> list[str]:
    """List `tip` and the commits before it on its first-parent line, newest first.

    Args:
        git: the repository; its commits are enough, no tree or blob is fetched.
        tip: any revision: where the line begins.
        count: how many commits are listed at most, `tip` included.

    Raises:
        GitFailed: `tip` names no commit here.
    """
    said = await git.run("rev-list", "--first-parent", f"--max-count={count}", tip, "--")
    return said.text.split()


async def parents_of(git: Git, commit: str) -> tuple[tuple[str, ...], bool]:
    """Return a commit's parents, and whether a shallow clone hides them."""
    said = await git.run("rev-list", "--parents", "--max-count=1", commit, "--")
    parents = tuple(said.text.split()[1:])
    if parents:
        return parents, False
    raw = await git.run("cat-file", "commit", commit)
    header, _, _ = raw.stdout.partition(b"\n\n")
    return (), any(line.startswith(b"parent ") for line in header.split(b"\n"))


async def newest_first(git: Git, commits: Sequence[str]) -> list[str]:
    """Order commits so that none comes after one it descends from; doubles are dropped."""
    wanted = list(dict.fromkeys(commits))
    if len(wanted) < 2:
        return wanted
    said = await git.run("merge-base", "--octopus", *wanted, ok=(0, 1))
    floor = [f"^{said.text}^@"] if said.text else []
    stdin = "".join(f"{revision}\n" for revision in [*wanted, *floor])
    listed = await git.run("rev-list", "--topo-order", "--stdin", stdin=stdin.encode())
    among = set(wanted)
    return [sha for sha in listed.text.splitlines() if sha in among]


async def describe(git: Git, commits: Sequence[str]) -> list[CommitInfo]:
    """Return what is to be known of each commit, in the order asked."""
    if not commits:
        return []
    stdin = "".join(f"{sha}\n" for sha in commits).encode()
    said = await git.run(
        *("log", "-z", "--no-walk=unsorted", "--stdin", f"--format=tformat:{_FIELDS}"), stdin=stdin
    )
    fields = said.stdout.decode("utf-8", "replace").split("\0")
    starts = range(0, len(fields) - _FIELD_COUNT + 1, _FIELD_COUNT)
    return [_info(fields[start : start + _FIELD_COUNT]) for start in starts]


async def last_changes(
    git: Git, since: str, until: str, paths: Sequence[str], count: int = _AUTHORS_SHOWN
) -> dict[str, tuple[CommitInfo, ...]]:
    """Find the last commits that changed each path after `since` and up to `until`.

    Args:
        git: The repository; trees are enough, no blob is fetched.
        since: Excluded, with its ancestors.
        until: Included.
        paths: Paths to ask for; only the first 200 are, a person reads no more.
        count: Commits per path, newest first.
    """
    asked = list(dict.fromkeys(paths))[:_PATHS_ASKED]
    if not asked:
        return {}
    said = await git.run(
        *("log", "-z", "--raw", "--no-abbrev", "--no-renames", "--format=tformat:%H"),
        *(f"{since}..{until}", "--", *(f":(top,literal){path}" for path in asked)),
    )
    found: dict[str, list[str]] = {path: [] for path in asked}
    sha = ""
    fields = iter(said.stdout.split(b"\0"))
    for field in fields:
        # Only what follows a raw record is a path, so a path cannot pose as a commit.
        if not field.lstrip(b"\n").startswith(b":"):
            sha = field.strip(b"\n").decode("ascii", "replace") or sha
            continue
        path = next(fields).decode("utf-8", "backslashreplace")
        if path in found and len(found[path]) < count:
            found[path].append(sha)
    shas = dict.fromkeys(sha for shas in found.values() for sha in shas)
    infos = {info.sha: info for info in await describe(git, list(shas))}
    return {path: tuple(infos[sha] for sha in shas) for path, shas in found.items() if shas}


def _info(fields: Sequence[str]) -> CommitInfo:
    sha, parents, author, email, authored, committed, subject, body = fields
    return CommitInfo(
        sha=sha,
        parents=tuple(parents.split()),
        subject=subject,
        body=body.strip(),
        author=author,
        email=email,
        authored_at=_moment(authored),
        committed_at=_moment(committed),
    )


def _moment(seconds: str) -> datetime:
    """Read a commit's time; a commit may hold any number there, or none."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


_AS_PATCH = (
    *("diff-tree", "-r", "-p", "--unified=0", "--full-index", "--no-renames", "--no-color"),
    *("--no-ext-diff", "--no-textconv", "--root", "--diff-algorithm=myers"),
)


async def patch_ids(git: Git, commits: Sequence[str]) -> dict[str, str]:
    """Return the patch-id of each commit against its parent; merges and empty commits have none.

    Raises:
        OutputTooLarge: The patches together pass 256 MB.
    """
    if not commits:
        return {}
    stdin = "".join(f"{sha}\n" for sha in commits).encode()
    patch = await git.run(*_AS_PATCH, "--stdin", stdin=stdin, network=True)
    lines = await _ids(git, patch.stdout)
    return {commit: patch_id for patch_id, commit in lines}


async def combined_patch_id(git: Git, before: str, after: str) -> str | None:
    """Return the patch-id of everything between two trees or commits, None where equal."""
    patch = await git.run(*_AS_PATCH, before, after, network=True)
    lines = await _ids(git, patch.stdout)
    return lines[0][0] if lines else None


async def _ids(git: Git, patch: bytes) -> list[tuple[str, str]]:
    said = await git.run("patch-id", "--stable", stdin=patch)
    pairs = (line.split(" ", 1) for line in said.text.splitlines())
    return [(patch_id, commit) for patch_id, commit in pairs]
