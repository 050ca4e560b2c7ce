"""The same change may have come twice: picked onto two branches, or brought back by somebody."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bot.git.history import parents_of
from bot.git.patches import patch_ids
from bot.git.process import Git
from bot.git.trees import raw_changes

_COMMITS_ASKED = 20
_CANDIDATES = 100
_PATHS_ASKED = 200


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
    for commit in commits[:_COMMITS_ASKED]:
        parents, _ = await parents_of(git, commit)
        if len(parents) != 1:
            continue
        paths = await _paths(git, parents[0], commit)
        if not paths or len(paths) > _PATHS_ASKED:
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
