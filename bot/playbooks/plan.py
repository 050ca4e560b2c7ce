"""What every plan settles: who acts by whose word, the configuration, what came by which push.

The decision is `bot.safety.admission`, by the rules that let the request in; here is its shape.

GitHub is asked who the commits belong to, and what merge commits say of themselves is a hint;
whether a pull request really is in it, its head and its merge decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from bot.config import CONFIG_PATH, LARGEST_CONFIG, Config, SelfWork
from bot.config_versions import read_version
from bot.git.errors import OutputTooLarge, ShallowHistory, UnknownRevision
from bot.git.history import describe, is_ancestor, parents_of, resolve
from bot.git.landed_changes import LandedPullRequest, part_of, strangers
from bot.git.process import Git
from bot.git.pull_commits import Landing, LandingMethod, Unclear, landing_of, landing_of_merge
from bot.git.trees import read_blob
from bot.github.models import PullRequest
from bot.names import is_among
from bot.playbooks.ports import HistoryMirror, LandingGitHub, OptOutGitHub
from bot.playbooks.steps import PlannedStep
from bot.triggers import Autonomy, Role, Trigger, Value


class Declined(Value):
    """There is nothing to do, or a person has to say more. Both texts are Markdown.

    `is_done`: what was asked for is so already.
    """

    kind: Literal["declined"] = "declined"
    reason: str
    remedy: str
    is_done: bool = False


class CannotPlan(Exception):
    """Planning cannot go on; it becomes a `Declined`. Both texts are Markdown."""

    def __init__(self, reason: str, remedy: str, *, is_done: bool = False) -> None:
        """Say why, and what to do; `is_done`: nothing, it is so already."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.is_done = is_done

    @property
    def declined(self) -> Declined:
        """The same as a result that can be stored."""
        return Declined(reason=self.reason, remedy=self.remedy, is_done=self.is_done)


_VERSIONS_TRIED = 200


async def read_config(git: Git, default_head: str) -> tuple[Config, str | None]:
    """Read the last good `.github/playbooks.yml` of the default branch.

    Returns:
        The configuration, and why newer versions of the file were passed over, if they were.
    """
    # What a merged branch had in between was never the default branch's.
    listed = await git.run(
        *("rev-list", "--first-parent", f"--max-count={_VERSIONS_TRIED}", default_head),
        *("--", CONFIG_PATH),
    )
    fault: str | None = None
    for commit in listed.text.split():
        found = await git.run(
            "ls-tree", "--format=%(objecttype) %(objectname)", commit, "--", CONFIG_PATH
        )
        kind, _, sha = found.text.partition(" ")
        if kind != "blob":
            # No file; a folder or submodule of that name is none either.
            return Config(), fault
        try:
            version = await read_version(sha, await _blob(git, sha))
        except ShallowHistory:
            break
        if version.config is not None:
            return version.config, fault
        fault = fault or version.fault
    return Config(), fault


async def _blob(git: Git, sha: str) -> bytes | None:
    """The file; None where it is too large to be read."""
    try:
        return await read_blob(git, sha, limit=LARGEST_CONFIG)
    except OutputTooLarge:
        return None


async def own_config(git: Git) -> Config | None:
    """The configuration of a clone that has a `.github/playbooks.yml` of its own."""
    found = await git.run("ls-tree", "--name-only", "HEAD", "--", CONFIG_PATH, ok=(0, 128))
    if not found.text:
        return None
    return (await read_config(git, "HEAD"))[0]


OPT_OUT = "playbook:off"
"""The label that keeps automatic action off a pull request."""


def is_self_work(pull: PullRequest, marks: SelfWork) -> bool:
    """Whether a pull request is an autonomous agent's, by label or author."""
    labels = {label.lower() for label in pull.labels}
    return marks.label.lower() in labels or is_among(pull.user.login, marks.authors)


async def is_opted_out(pull: PullRequest, marks: SelfWork, github: OptOutGitHub) -> bool:
    """Tell whether automatic action is kept off a pull request, by somebody who may say so.

    That is who may write here; not an agent of its own work. One request where it has the label,
    and one for the role of whoever put it on.

    Args:
        pull: the pull request.
        marks: what self-work is known by.
        github: where the label's history and the role are read.

    Raises:
        GitHubError: GitHub could not be read.
    """
    if OPT_OUT not in {label.lower() for label in pull.labels}:
        return False
    by = None
    for event in await github.changes.events(pull.number, "labeled"):
        if str((event.get("label") or {}).get("name")).lower() == OPT_OUT:
            by = (event.get("actor") or {}).get("login")
    if not by or (by.lower() == pull.user.login.lower() and is_self_work(pull, marks)):
        return False
    return (await github.permissions.role_of(by)).at_least(Role.WRITE)


def how_far(
    trigger: Trigger,
    culprits: Sequence[PullRequest],
    config: Config,
    *,
    mixed: bool = False,
    opted_out: bool = False,
) -> Autonomy:
    """How far the revert of a culprit goes that somebody's request, or nobody's, has found.

    Who asked for the culprit did not ask for its revert: a person has that merged. Where nobody
    asked, the configuration says; other people's changes are never merged away.

    Args:
        trigger: the request.
        culprits: every pull request whose work goes; it is self-work only if all are.
        config: of the repository.
        mixed: whether commits go too that came with no pull request.
        opted_out: whether automatic action is kept off any of them.
    """
    if not trigger.is_automatic:
        return Autonomy.OPEN
    most = Autonomy.OPEN
    if culprits and not mixed and all(is_self_work(p, config.self_work) for p in culprits):
        most = Autonomy.MERGE
    if opted_out:
        most = Autonomy.PROPOSE
    return config.triggers.autonomy.at_most(most)


class Weighed(Value):
    """What came of weighing a plan.

    Attributes:
        refused: whether it is not done; `reason` and `remedy` say why, and what to do instead.
        of: whose yes it needs; None: nobody's.
        may_merge: whether it is merged once it is green, with nobody asked.
        reason: why it is refused, or needs a yes.
        remedy: what a person can do about it.
    """

    refused: bool = False
    of: Literal["founder", "person"] | None = None
    may_merge: bool = True
    reason: str = ""
    remedy: str = ""


Weigh = Callable[[Sequence[PlannedStep]], Weighed]
"""Weighs the steps of a plan against the circumstances in which it was asked for."""


MOST_LOOKED_INTO = 1_000
"""Commits of one landing whose pull requests are asked for; what is beyond is nobody's."""
_MOST_HINTS = 30
_IN_MERGE = re.compile(r"#([1-9][0-9]{0,8})\b")
_IN_SQUASH = re.compile(r"\(#([1-9][0-9]{0,8})\)$")


@dataclass(frozen=True)
class Landed:
    """What came by one landing.

    Attributes:
        landing: the step of the branch.
        pulls: the merged pull requests that came by it, by number.
        parts: the commits of each.
    """

    landing: Landing
    pulls: dict[int, PullRequest]
    parts: dict[int, frozenset[str]]

    @property
    def strangers(self) -> tuple[str, ...]:
        """The commits that came with no pull request."""
        return strangers(self.landing, self.parts.values())


def needed(pull: PullRequest) -> list[str]:
    """The commits without which it cannot be told what a merged pull request brought."""
    return [sha for sha in (pull.merge_commit_sha, pull.head.sha) if sha]


async def landing_of_pull(
    pull: PullRequest, onto: str, github: LandingGitHub, mirror: HistoryMirror
) -> Landing | Unclear:
    """Find how a merged pull request came to the branch whose head is `onto`.

    Args:
        pull: a merged pull request.
        onto: full SHA of the branch's head.
        github: asked for the commits of the pull request where history alone does not tell.
        mirror: holds the branch, and the commits of the pull request.

    Returns:
        The step of the branch; `Unclear` where a person has to name the commits.

    Raises:
        UnknownRevision: its commits are not here.
    """
    for sha in needed(pull):
        await mirror.read(partial(resolve, revision=sha))

    async def find(listed: Sequence[str]) -> Landing | Unclear:
        return await mirror.read(
            lambda git: landing_of(
                git,
                onto=onto,
                merge_commit=pull.merge_commit_sha or "",
                head=pull.head.sha,
                pull_commits=listed,
            )
        )

    found = await find(())
    if isinstance(found, Unclear):
        listed = [commit.sha for commit in await github.pulls.commits(pull.number)]
        found = await find(listed)
    return found


async def look_into(
    landing: Landing,
    github: LandingGitHub,
    mirror: HistoryMirror,
    known: Sequence[PullRequest] = (),
) -> Landed:
    """Find everybody who came by a landing.

    Args:
        landing: the step of the branch.
        github: the repository.
        mirror: its commits.
        known: pull requests that came by it, the one it was made for first. Of a single commit
            that a known one brought GitHub is not asked, to spare a request on each revert.
    """
    pulls = {pull.number: pull for pull in known}
    for number in await _named(landing, github, mirror, ask=len(landing.nodes) > 1 or not known):
        if number not in pulls:
            pull = await github.pulls.find(number)
            if pull is not None and pull.is_merged and pull.merge_commit_sha:
                pulls[number] = pull
    base = known[0].base.ref if known else None
    parts: dict[int, frozenset[str]] = {}
    for number, pull in pulls.items():
        if known and number == known[0].number and landing.method is not LandingMethod.MERGE:
            part = frozenset(node.sha for node in landing.nodes)
        else:
            part = await _part(landing, pull, base, github, mirror)
        if part:
            parts[number] = part
    return Landed(landing, {number: pulls[number] for number in parts}, parts)


async def _named(
    landing: Landing, github: LandingGitHub, mirror: HistoryMirror, *, ask: bool
) -> list[int]:
    shas = [landing.at, *(node.sha for node in landing.nodes[:MOST_LOOKED_INTO])]
    asked = await github.pulls.merged_with(list(dict.fromkeys(shas))) if ask else ()
    infos = await mirror.read(lambda git: describe(git, shas))
    said = (
        int(found)
        for info in infos
        for found in (_IN_MERGE if len(info.parents) > 1 else _IN_SQUASH).findall(info.subject)
    )
    hints = [number for number in dict.fromkeys(said) if number not in asked]
    return [*asked, *hints[:_MOST_HINTS]]


async def _part(
    landing: Landing,
    pull: PullRequest,
    base: str | None,
    github: LandingGitHub,
    mirror: HistoryMirror,
) -> frozenset[str]:
    merge = pull.merge_commit_sha or ""
    parents = {node.sha: node.parents for node in landing.nodes}
    facts = LandedPullRequest(number=pull.number, merge_commit=merge, head=pull.head.sha)
    if pull.head.sha in parents and merge not in parents:
        copied = landing.method in (LandingMethod.SQUASH, LandingMethod.REBASE)
        if copied and await mirror.read(lambda git: _has(git, merge, f"{landing.at}^1")):
            # It had come to the branch before; only its commits are below the later ones.
            return frozenset()
    if pull.head.sha in parents and len(parents.get(merge, ())) < 2 and pull.base.ref != base:
        # Stacked by a push: what is below its own commits is another's.
        listed = tuple(commit.sha for commit in await github.pulls.commits(pull.number))
        facts = facts.model_copy(update={"listed": listed or None})
    if merge in parents and pull.head.sha not in parents and len(parents[merge]) < 2:
        try:
            await mirror.refresh([pull.head.sha])
        except UnknownRevision:
            return frozenset({merge})
    return await mirror.read(lambda git: part_of(git, landing, facts))


async def _has(git: Git, commit: str, tip: str) -> bool:
    try:
        await resolve(git, commit)
    except UnknownRevision:
        return False
    return await is_ancestor(git, commit, tip)


async def is_gone(branch: str, mirror: HistoryMirror) -> bool:
    """Tell whether there is no branch of this name, or none any more."""
    try:
        await mirror.branch_head(branch)
    except UnknownRevision:
        return True
    return False


async def brought_with(
    sha: str, base: str, onto: str, github: LandingGitHub, mirror: HistoryMirror
) -> Landed | None:
    """Find every pull request that one commit of a branch brought.

    Args:
        sha: the commit.
        base: the branch.
        onto: its head.
        github: the repository.
        mirror: its commits.

    Returns:
        None where the commit is no landing: then it stands for itself.
    """
    parents, _ = await mirror.read(lambda git: parents_of(git, sha))
    if len(parents) > 1:
        landing = await mirror.read(lambda git: landing_of_merge(git, sha))
        return await look_into(landing, github, mirror)
    found: list[tuple[Landing, PullRequest]] = []
    for pull in await github.pulls.of_commit(sha):
        if not pull.is_merged or pull.merge_commit_sha != sha:
            continue
        # Merged pull requests keep the name that a branch had then.
        if pull.base.ref == base or await is_gone(pull.base.ref, mirror):
            with suppress(UnknownRevision):
                await mirror.refresh(needed(pull))
                of = await landing_of_pull(pull, onto, github, mirror)
                if isinstance(of, Landing) and of.at == sha:
                    found.append((of, pull))
    if len(found) != 1:
        return None
    [(landing, pull)] = found
    return await look_into(landing, github, mirror, [pull])


async def everybody_behind(
    sha: str, base: str, head: str, github: LandingGitHub, mirror: HistoryMirror
) -> tuple[tuple[PullRequest, ...], bool]:
    """Find all whose work goes when one commit of `base` is reverted.

    Args:
        sha: the commit that would be reverted.
        base: the branch that it is on.
        head: full SHA of the branch's head.
        github: asked for the pull requests that came with the commit.
        mirror: holds the branch; commits of pull requests that it lacks are fetched.

    Returns:
        The merged pull requests, the one that was merged as this very commit first, and whether
        commits go as well that came with none.
    """
    landed = await brought_with(sha, base, head, github, mirror)
    if landed is not None:
        found = [*landed.pulls.values()]
        loose = bool(landed.strangers) or not landed.pulls
    else:
        found = [pull for pull in await github.pulls.of_commit(sha) if pull.is_merged]
        loose = False
    first = sorted(found, key=lambda pull: (pull.base.ref != base, pull.merge_commit_sha != sha))
    return tuple(first), loose
