"""Which commits of the base branch did a pull request bring?

Decided from the branch's own history, never from the API's list: that one is cut at 250 commits
and names the pull request's commits, which a squash or a rebase leaves off the branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from bot.git.errors import ShallowHistory
from bot.git.history import (
    commit_range,
    first_parents,
    is_ancestor,
    merge_base,
    newest_first,
    parents_of,
)
from bot.git.merging import merge
from bot.git.patches import combined_patch_id, patch_ids
from bot.git.process import Git
from bot.git.trees import tree_of
from bot.triggers import Value


class MergeMethod(StrEnum):
    """How a pull request's commits came onto its base branch."""

    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"
    PUSHED = "pushed"
    """Its very commits were pushed onto the base branch, fast-forward."""


class Brought(Value):
    """The commits to revert, newest first; for a merge commit only that one (mainline 1)."""

    status: Literal["brought"] = "brought"
    method: MergeMethod
    commits: tuple[str, ...]


class Unclear(Value):
    """It cannot be told; a person has to name the commits.

    Attributes:
        reason: Why, as a sentence for that person.
        candidates: Commits on the base branch it may mean, newest first.
    """

    status: Literal["unclear"] = "unclear"
    reason: str
    candidates: tuple[str, ...] = ()


PullCommits = Annotated[Brought | Unclear, Field(discriminator="status")]

_MOST_COMMITS = 1000
# GitHub's `GET …/pulls/{number}/commits` ends there without a word.
_API_LISTS_AT_MOST = 250


async def commits_of_pull_request(
    git: Git, *, onto: str, merge_commit: str, head: str, pull_commits: Sequence[str] = ()
) -> Brought | Unclear:
    """Find the commits that a merged pull request put on its base branch.

    Args:
        git: The repository, holding all commits named here.
        onto: The base branch's head.
        merge_commit: The pull request's `merge_commit_sha`.
        head: The pull request's head SHA.
        pull_commits: The commits the API lists; needed only where the very commits were pushed
            onto the base branch, which leaves no fork to see in history.

    Raises:
        ShallowHistory: The history is cut off at `merge_commit`.
    """
    if not await is_ancestor(git, merge_commit, onto):
        return Unclear(
            reason=f"its merge commit {merge_commit[:12]} is not on the base branch (any more)"
        )
    parents, shallow = await parents_of(git, merge_commit)
    if shallow:
        raise ShallowHistory(merge_commit)
    head_is_in = await is_ancestor(git, head, merge_commit)
    if len(parents) > 1:
        return await _of_merge(git, merge_commit, parents[0], head, head_is_in)
    if head_is_in:
        return await _of_push(git, onto, merge_commit, pull_commits)
    return await _of_copies(git, merge_commit, head)


async def _of_merge(
    git: Git, merge_commit: str, mainline: str, head: str, head_is_in: bool
) -> Brought | Unclear:
    if head_is_in and not await is_ancestor(git, head, mainline):
        return Brought(method=MergeMethod.MERGE, commits=(merge_commit,))
    return Unclear(
        reason=f"{merge_commit[:12]} is a merge that did not bring the pull request's head",
        candidates=(merge_commit,),
    )


async def _of_push(
    git: Git, onto: str, merge_commit: str, pull_commits: Sequence[str]
) -> Brought | Unclear:
    known = [sha for sha in pull_commits if await is_ancestor(git, sha, onto)]
    if known and len(known) == len(pull_commits) < _API_LISTS_AT_MOST:
        # A merge of the base branch into the work is among them; undoing it would undo others'.
        own = [sha for sha in known if len((await parents_of(git, sha))[0]) < 2]
        return Brought(method=MergeMethod.PUSHED, commits=tuple(await newest_first(git, own)))
    return Unclear(
        reason="its commits were pushed straight onto the base branch, and which ones cannot be"
        " told from its history",
        candidates=(merge_commit,),
    )


async def _of_copies(git: Git, merge_commit: str, head: str) -> Brought | Unclear:
    """Tell a squash from a rebase: neither leaves the pull request's own commits behind."""
    fork = await merge_base(git, merge_commit, head)
    if fork is None:
        return Unclear(
            reason="its head shares no history with the base branch", candidates=(merge_commit,)
        )
    nodes = await commit_range(git, fork, head)
    own = [node.sha for node in reversed(nodes) if len(node.parents) < 2]
    if len(own) > _MOST_COMMITS:
        return Unclear(
            reason=f"it has more than {_MOST_COMMITS:,} commits", candidates=(merge_commit,)
        )
    # The common case first: it needs the blobs of two differences, not of every commit. A rebase
    # whose last commit alone does what all do together is undone by undoing that one.
    whole = await combined_patch_id(git, fork, head)
    last = await patch_ids(git, [merge_commit])
    if whole is not None and whole == last.get(merge_commit):
        return Brought(method=MergeMethod.SQUASH, commits=(merge_commit,))
    chain = await first_parents(git, merge_commit, max(len(own), 1))
    ids = await patch_ids(git, [*own, *chain])
    wanted = [ids[sha] for sha in own if sha in ids]
    found = [sha for sha in chain if sha in ids][: len(wanted)]
    if wanted and [ids[sha] for sha in found] == wanted:
        return Brought(method=MergeMethod.REBASE, commits=tuple(found))
    copies = tuple(sha for sha in chain if ids.get(sha) in set(wanted))
    if not copies and await _is_squash_of(git, merge_commit, head):
        return Brought(method=MergeMethod.SQUASH, commits=(merge_commit,))
    return Unclear(
        reason=f"{merge_commit[:12]} and the commits before it match its {len(own)} commit(s)"
        " neither one by one nor all in one",
        candidates=copies or (merge_commit,),
    )


async def _is_squash_of(git: Git, merge_commit: str, head: str) -> bool:
    """Tell whether merging `head` into the commit before gives exactly this commit's tree.

    GitHub makes a squash so. The last commit of a rebase passes as well, but its patch-id is that
    of the pull request's last commit, which the caller has ruled out.
    """
    merged = await merge(git, f"{merge_commit}^", head)
    return merged.clean and merged.tree == await tree_of(git, merge_commit)
