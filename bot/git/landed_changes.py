"""What history says of one change: came it alone, came it twice, is it undone already?

Stacks, batches, rollups, octopus merges and pushes of several merges land so. Pure, but for
`part_of`: a landing is taken whole only where everything it brought was asked for; else each
pull request's own commits are, or a person is asked (docs/decisions/0019).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from bot.git.errors import ShallowHistory, UnknownRevision
from bot.git.history import (
    CommitInfo,
    combined_patch_id,
    describe,
    is_ancestor,
    parents_of,
    patch_ids,
)
from bot.git.process import Git
from bot.git.pull_commits import Brought, Landing, LandingMethod, commits_of_pull_request
from bot.git.revert import (
    NOTHING_KEPT,
    Clean,
    Empty,
    EmptyReason,
    KeptFiles,
    RevertConflict,
    compute_revert,
    reverted_tree,
)
from bot.git.trees import empty_tree, raw_changes, tree_of
from bot.triggers import Value

NOTHING_OF_ITS_OWN = "all of it came with them"


class LandedPullRequest(Value):
    """A merged pull request, as far as whose commits are whose is concerned."""

    number: int
    merge_commit: str
    head: str
    listed: tuple[str, ...] | None = None
    """The commits the API lists, where those tell more than its head."""


class Apart(Value):
    """The pull requests asked for can be undone without the others.

    Attributes:
        status: tells it from `Together`.
        commits: for each one asked for, what is reverted, newest first.
        whole: whether that is all that landed.
        beside: the others that came by the same landing, and stay.
    """

    status: Literal["apart"] = "apart"
    commits: dict[int, tuple[str, ...]]
    whole: bool
    beside: tuple[int, ...] = ()


class Together(Value):
    """They cannot be undone without `others`; `reason` says why, for a person."""

    status: Literal["together"] = "together"
    others: tuple[int, ...]
    reason: str


async def part_of(git: Git, landing: Landing, pull: LandedPullRequest) -> frozenset[str]:
    """Find which of the commits that landed came with one pull request; none if it did not land.

    Args:
        git: The repository.
        landing: What landed.
        pull: One that may be in it: merged by this very step, or before into a branch that was.
    """
    parents = {node.sha: node.parents for node in landing.nodes}
    merge = pull.merge_commit
    if len(parents.get(merge, ())) > 1:
        # Into a branch of the stack: what its merge brought there, and the merge itself.
        before = _reachable(parents, parents[merge][:1])
        return _reachable(parents, [merge]) - before
    if pull.head in parents:
        reached = _reachable(parents, [pull.head])
        return reached if pull.listed is None else reached & frozenset(pull.listed)
    if merge in parents:
        return await _copied(git, pull) & frozenset(parents)
    return frozenset()


async def _copied(git: Git, pull: LandedPullRequest) -> frozenset[str]:
    """What a squash or rebase merge left on the branch of the stack."""
    try:
        found = await commits_of_pull_request(
            git, onto=pull.merge_commit, merge_commit=pull.merge_commit, head=pull.head
        )
    except (UnknownRevision, ShallowHistory):
        return frozenset({pull.merge_commit})
    return frozenset(found.commits if isinstance(found, Brought) else {pull.merge_commit})


def _reachable(parents: Mapping[str, Sequence[str]], tips: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    ahead = [tip for tip in tips if tip in parents]
    while ahead:
        sha = ahead.pop()
        if sha not in found:
            found.add(sha)
            ahead += [above for above in parents[sha] if above in parents]
    return frozenset(found)


def choose(
    landing: Landing, parts: Mapping[int, frozenset[str]], asked: Collection[int]
) -> Apart | Together:
    """Choose what is reverted to undo the pull requests asked for, and nobody else's work.

    Args:
        landing: What landed.
        parts: For each merged pull request that has a part in it, its commits.
        asked: Those to be undone; each has a part.
    """
    others = {number: part for number, part in parts.items() if number not in asked and part}
    landed = frozenset(node.sha for node in landing.nodes)
    wanted = frozenset().union(*(parts[number] for number in asked))
    if not others and wanted >= landed:
        return Apart(commits=dict.fromkeys(asked, landing.on_base), whole=True)
    beside = tuple(sorted(others))
    if landing.method is LandingMethod.SQUASH:
        return Together(others=beside, reason="they were squashed into one commit")
    own = {number: parts[number] - _stacked_in(parts[number], others) for number in asked}
    shared = tuple(
        sorted(
            number
            for number, part in others.items()
            if any(part & own[each] and not part > parts[each] for each in asked)
        )
    )
    if shared:
        return Together(others=shared, reason="they brought the same commits")
    commits = {number: _on_base(landing, part) for number, part in own.items()}
    if not all(commits.values()):
        return Together(others=beside, reason=NOTHING_OF_ITS_OWN)
    return Apart(commits=commits, whole=False, beside=beside)


def _stacked_in(part: frozenset[str], others: Mapping[int, frozenset[str]]) -> frozenset[str]:
    """The commits of one pull request that came to it by others merged into it."""
    return frozenset().union(*(other for other in others.values() if other < part))


def _on_base(landing: Landing, part: Collection[str]) -> tuple[str, ...]:
    mine = [sha for sha in landing.changes if sha in part]
    if landing.method is LandingMethod.REBASE:
        mine = [landing.copies[sha] for sha in mine if sha in landing.copies]
    return tuple(mine)


def strangers(landing: Landing, parts: Iterable[frozenset[str]]) -> tuple[str, ...]:
    """The commits that landed with no pull request at all, newest first."""
    known = frozenset().union(*parts)
    return tuple(sha for sha in landing.changes if sha not in known)


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
    return AlreadyReverted(commit=commit, by=await undone_by(git, commit, onto, mainline=mainline))


async def undone_by(git: Git, commit: str, onto: str, *, mainline: int = 1) -> CommitInfo | None:
    """Find who undid a commit of which nothing is left; None where that cannot be told.

    Args:
        git: The repository.
        commit: Full SHA of the commit.
        onto: Full SHA of the branch's head.
        mainline: The parent a merge goes back to.
    """
    by = await _said_so(git, commit, onto) or await _inverse(git, commit, onto, mainline)
    return (await describe(git, [by]))[0] if by else None


async def compute_what_is_left(
    git: Git, commits: Sequence[str], onto: str, *, keep: KeptFiles = NOTHING_KEPT
) -> Clean | RevertConflict | Empty:
    """Compute what reverting `commits` gives, as `compute_revert` does.

    Where that is in conflict, those go out of which a commit since says that it undid them, and
    did: it may have undone what was before them, too, so that their lines are yet others.

    Args:
        git: The repository.
        commits: Full SHAs.
        onto: Full SHA of the branch's head.
        keep: Files that stay as they are.
    """
    outcome = await compute_revert(git, commits, onto, keep=keep)
    if not isinstance(outcome, RevertConflict):
        return outcome
    gone: set[str] = set()
    for commit in commits:
        if commit not in gone and (by := await _said_so(git, commit, onto)):
            gone |= await _undone_for_good(git, by, onto, keep)
    left = [commit for commit in commits if commit not in gone]
    if not left:
        return Empty(reason=EmptyReason.NOTHING_LEFT, tree=await tree_of(git, onto))
    return await compute_revert(git, left, onto, keep=keep) if gone else outcome


async def _undone_for_good(git: Git, by: str, onto: str, keep: KeptFiles) -> set[str]:
    """The commits that another says it undid; none where it did not, or not all of it stands."""
    message = (await git.run("log", "-1", "--format=%B", by)).text
    claimed = [sha for sha in _CLAIM.findall(message) if await is_ancestor(git, sha, by)]
    outcome = await reverted_tree(git, claimed, by, keep=keep)
    if not isinstance(outcome, Empty) or outcome.reason is not EmptyReason.NOTHING_LEFT:
        return set()
    since = {change.path for change in await raw_changes(git, by, onto)}
    for sha in claimed:
        if not since.isdisjoint(await _paths(git, await _before(git, sha), sha)):
            return set()
    return {*claimed}


_CLAIM = re.compile(r"^This reverts commit ([0-9a-f]{40,64})\b", re.MULTILINE)


async def _before(git: Git, commit: str, mainline: int = 1) -> str:
    parents, _ = await parents_of(git, commit)
    return parents[mainline - 1] if parents else await empty_tree(git)


async def _said_so(git: Git, commit: str, onto: str) -> str | None:
    said = await git.run(
        *("log", "-z", "--fixed-strings", f"--grep=This reverts commit {commit}"),
        *("--format=tformat:%H%x00%B", f"{commit}..{onto}", "--"),
    )
    fields = said.stdout.decode("utf-8", "replace").split("\0")
    claims = zip(fields[0::2], fields[1::2], strict=False)
    return next((sha for sha, body in claims if commit in _CLAIM.findall(body)), None)


async def _inverse(git: Git, commit: str, onto: str, mainline: int) -> str | None:
    before = await _before(git, commit, mainline)
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
