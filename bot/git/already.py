"""Has a commit been reverted on a branch already, and by which commit?"""

from __future__ import annotations

import re

from bot.git.history import CommitInfo, describe
from bot.git.kept import NOTHING_KEPT, KeptFiles
from bot.git.patches import combined_patch_id, patch_ids
from bot.git.process import Git
from bot.git.reverting import Empty, EmptyReason, reverted_tree
from bot.git.trees import raw_changes
from bot.triggers import Value

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
