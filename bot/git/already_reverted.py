"""Is it undone already, or did it come twice? What history says of one change."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from bot.git.history import CommitInfo, combined_patch_id, describe, parents_of, patch_ids
from bot.git.process import Git
from bot.git.revert import NOTHING_KEPT, Empty, EmptyReason, KeptFiles, reverted_tree
from bot.git.trees import raw_changes
from bot.triggers import Value

_TWIN_COMMITS_ASKED = 20
_CANDIDATES = 100
_TWIN_PATHS_ASKED = 200


async def twins_of(
    git: Git, commits: Sequence[str], onto: str, *, known: Collection[str] = ()
) -> tuple[str, ...]:
    """Find other commits of a branch that make the same change as one of these, newest first.

    Blobs are only read of commits that change the very same paths.

    Args:
        git: The repository.
        commits: Full SHAs, newest first; only the first 20 are asked about, merges never.
        onto: The branch's head.
        known: Commits to leave out.
    """
    found: dict[str, None] = {}
    left_out = {*commits, *known}
    for commit in commits[:_TWIN_COMMITS_ASKED]:
        parents, _ = await parents_of(git, commit)
        if len(parents) != 1:
            continue
        paths = await _paths(git, parents[0], commit)
        if not paths or len(paths) > _TWIN_PATHS_ASKED:
            continue
        specs = [
            ":(top,literal)" + path.decode("utf-8", "surrogateescape") for path in sorted(paths)
        ]
        said = await git.run(
            # Simplified, history would leave out the branch whose merge changed nothing more.
            *("rev-list", "--no-merges", "--full-history", f"--max-count={_CANDIDATES}"),
            *(onto, f"^{parents[0]}", "--", *specs),
        )
        others = [
            sha
            for sha in said.text.split()
            if sha not in left_out and await _paths(git, f"{sha}^", sha) == paths
        ]
        if others:
            ids = await patch_ids(git, [commit, *others])
            same = [sha for sha in others if ids.get(sha) == ids.get(commit, "none")]
            found |= dict.fromkeys(same)
    return tuple(found)


async def _paths(git: Git, before: str, after: str) -> frozenset[bytes]:
    return frozenset(change.path for change in await raw_changes(git, before, after))


_PATHS_ASKED = 100
_COMMITS_ASKED = 200


class AlreadyReverted(Value):
    """The commit's effect is no longer on the branch; `by` undid it, where that can be told."""

    commit: str
    by: CommitInfo | None


async def already_reverted(
    git: Git, commit: str, onto: str, *, mainline: int = 1, keep: KeptFiles = NOTHING_KEPT
) -> AlreadyReverted | None:
    """Tell whether reverting `commit` on `onto` would change nothing, and who did it before.

    A revert that was itself reverted does not count: only the effect that stands is looked at.
    The reverting commit is one whose message says "This reverts commit <sha>", else one whose
    patch is the exact inverse.

    Args:
        git: The repository.
        commit: Full SHA of the commit in question.
        onto: Full SHA of the branch's head.
        mainline: The parent a merge goes back to.
        keep: Files which a revert leaves alone.
    """
    outcome = await reverted_tree(git, [commit], onto, mainline=mainline, keep=keep)
    if not isinstance(outcome, Empty) or outcome.reason is not EmptyReason.NOTHING_LEFT:
        return None
    by = await _said_so(git, commit, onto) or await _inverse(git, commit, onto, mainline)
    found = await describe(git, [by]) if by else []
    return AlreadyReverted(commit=commit, by=found[0] if found else None)


async def _said_so(git: Git, commit: str, onto: str) -> str | None:
    said = await git.run(
        *("log", "-z", "--fixed-strings", f"--grep=This reverts commit {commit}"),
        *("--format=tformat:%H%x00%B", f"{commit}..{onto}", "--"),
    )
    fields = said.stdout.decode("utf-8", "replace").split("\0")
    claim = re.compile(rf"^This reverts commit {commit}\b", re.MULTILINE)
    claims = (
        sha for sha, body in zip(fields[0::2], fields[1::2], strict=False) if claim.search(body)
    )
    return next(claims, None)


async def _inverse(git: Git, commit: str, onto: str, mainline: int) -> str | None:
    before = f"{commit}^{mainline}"
    wanted = await combined_patch_id(git, commit, before)
    paths = {change.path for change in await raw_changes(git, before, commit)}
    if wanted is None or len(paths) > _PATHS_ASKED:
        return None
    specs = [":(top,literal)" + path.decode("utf-8", "surrogateescape") for path in sorted(paths)]
    listed = await git.run(
        *("rev-list", "--no-merges", f"--max-count={_COMMITS_ASKED}", f"{commit}..{onto}"),
        *("--", *specs),
    )
    ids = await patch_ids(git, listed.text.split())
    return next((sha for sha in listed.text.split() if ids.get(sha) == wanted), None)
