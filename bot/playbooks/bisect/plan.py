"""What exactly is to be searched? Reads GitHub and the mirror, changes nothing.

The answer is a BisectPlan, or a Declined that tells the person what is wrong with the ends or the
check they named.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, RootModel

from bot import markdown
from bot.config import Config
from bot.git.errors import AmbiguousRevision, UnknownRevision
from bot.git.history import is_ancestor, merge_base, resolve
from bot.git.mirror import Mirror
from bot.github.client import RepositoryClient
from bot.github.errors import NotFound
from bot.github.models import CheckResult, RepositoryFacts
from bot.playbooks.bisect.range import MOST_COMMITS, count_between
from bot.playbooks.planning.declined import Declined, Stop
from bot.playbooks.planning.repository_config import read_config
from bot.triggers import BisectRequest, Value

_HEX = re.compile(r"[0-9a-f]{7,40}")
_CHECKS_NAMED = 10
_SHORT = 12
_ACTIONS_BEGAN = datetime(2018, 10, 1, tzinfo=UTC)


class BisectPlan(Value):
    """What is searched, settled before anything is touched.

    Attributes:
        bad: the bad end, a commit of `base`.
        good: the good end, where a person named one.
        check: the check that tells good from bad; None where only the trial workflow tells.
        base: the branch the search is about.
        base_head: its head when this was settled.
        facts: the repository's settings; trial workflows are dispatched at its default branch.
        config: the repository's configuration.
        config_fault: why the newest configuration was passed over, if it was.
    """

    kind: str = Field(default="plan", pattern="^plan$")
    bad: str
    good: str | None
    check: str | None
    base: str
    base_head: str
    facts: RepositoryFacts
    config: Config
    config_fault: str | None

    @property
    def default_branch(self) -> str:
        """The branch whose workflow files count."""
        return self.facts.default_branch

    @property
    def subject(self) -> str:
        """What the incident is about: one is open at a time for a check of a branch."""
        return f"check:{self.check or 'trial'}@{self.base}"


class BisectPlanned(RootModel[Annotated[BisectPlan | Declined, Field(union_mode="left_to_right")]]):
    """A BisectPlan or a Declined, as one storable type."""


async def make_bisect_plan(
    request: BisectRequest, *, github: RepositoryClient, mirror: Mirror
) -> BisectPlanned:
    """Work out what a bisect request means on the repository as it is now.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    try:
        return BisectPlanned(await _plan(request, github, mirror))
    except Stop as stop:
        return BisectPlanned(stop.declined)


async def _plan(request: BisectRequest, github: RepositoryClient, mirror: Mirror) -> BisectPlan:
    facts = await github.about()
    await mirror.refresh()
    config, fault = await read_config(mirror.git, await mirror.branch_head(facts.default_branch))
    bad = await _commit(request.bad or facts.default_branch, github, mirror)
    base = await _home(bad, request.bad, facts, github, mirror)
    good = None
    if request.good is not None:
        good = await _commit(request.good, github, mirror)
        await _refuse_wrong_ends(good, bad, request, mirror)
    ours = (await github.app()).id
    results = [r for r in await github.checks.results(bad) if r.app_id != ours]
    results = await _without_trials(results, bad, config, github)
    check = which_check(request.check, results, config)
    if isinstance(check, Declined):
        raise Stop(check.reason, check.remedy)
    return BisectPlan(
        bad=bad,
        good=good,
        check=check,
        base=base,
        base_head=await mirror.branch_head(base),
        facts=facts,
        config=config,
        config_fault=fault,
    )


async def _without_trials(
    results: list[CheckResult], bad: str, config: Config, github: RepositoryClient
) -> list[CheckResult]:
    """Leave out the jobs of trials: they hang on the default branch but try other commits."""
    if config.bisect.workflow is None:
        return results
    try:
        listed = await github.workflows.dispatched(config.bisect.workflow, _ACTIONS_BEGAN, bad)
    except NotFound:
        return results
    ours = tuple(f"/actions/runs/{each.id}/" for each in listed)
    return [result for result in results if not any(run in (result.url or "") for run in ours)]


def which_check(
    named: str | None, results: list[CheckResult], config: Config
) -> str | Declined | None:
    """Choose the check that tells good from bad, from what is reported on the bad end.

    Returns:
        Its name; None where only the trial workflow can tell; or why neither is possible.
    """
    reported = sorted({result.name for result in results})
    failing = sorted({r.name for r in results if r.is_completed and not r.is_passed})
    can_try = config.bisect.can_try
    if named is not None:
        if named in reported or (can_try and not reported):
            return named
        listed = _listed(reported) if reported else "none at all"
        return Declined(
            reason=f"No check named {markdown.code(named)} has reported on the bad end.",
            remedy=f"Reported there: {listed}. Name one of them: `/bisect GOOD..BAD check NAME`.",
        )
    configured = [n for n in failing if n in (*config.checks.smoke, *config.checks.evals)]
    chosen = failing if len(failing) == 1 else configured
    if len(chosen) == 1:
        return chosen[0]
    if failing:
        return Declined(
            reason=f"{len(failing)} checks fail on the bad end: {_listed(failing)}.",
            remedy="Say which one to follow: `/bisect GOOD..BAD check NAME`.",
        )
    if can_try:
        return None
    return Declined(
        reason="No check fails on the bad end, so nothing tells good commits from bad ones.",
        remedy="Wait for its checks or name another bad end. To have commits tried afresh, name a "
        f"trial workflow in {markdown.code('.github/playbooks.yml')} under "
        "`bisect: {workflow: …}`.",
    )


async def _commit(revision: str, github: RepositoryClient, mirror: Mirror) -> str:
    """The full SHA of a branch, tag or SHA; only what is on a branch of this repository."""
    git = mirror.git
    named = markdown.code(revision)
    if _HEX.fullmatch(revision.lower()):
        try:
            return await resolve(git, revision)
        except AmbiguousRevision as several:
            raise Stop(
                f"{named} stands for {len(several.candidates)} commits.",
                "Give more characters of the SHA.",
            ) from None
        except UnknownRevision:
            pass  # It may still be a branch or a tag that looks like one.
    try:
        return await mirror.branch_head(revision)
    except UnknownRevision:
        pass
    # Tags are not mirrored; GitHub knows where they point.
    tagged = None
    if not _HEX.fullmatch(revision.lower()):
        tagged = await github.git.commit(f"tags/{revision}")
    try:
        if tagged is not None:
            return await resolve(git, tagged.sha)
    except UnknownRevision:
        pass
    raise Stop(
        f"There is no commit, branch or tag {named} on a branch of this repository.",
        "Check how it is written; commits of forks cannot be named.",
    )


async def _home(
    bad: str,
    named: str | None,
    facts: RepositoryFacts,
    github: RepositoryClient,
    mirror: Mirror,
) -> str:
    """The default branch or a protected one that has the bad end (Decisions 10)."""
    default = facts.default_branch
    if await is_ancestor(mirror.git, bad, await mirror.branch_head(default)):
        return default
    for name in await github.protected_branches():
        if name != default and await is_ancestor(mirror.git, bad, await mirror.branch_head(name)):
            return name
    raise Stop(
        f"{markdown.code(named or bad[:_SHORT])} is neither on {markdown.code(default)} nor on a "
        "protected branch, and only what was merged there is tried.",
        "Name a bad end that has been merged.",
    )


async def _refuse_wrong_ends(good: str, bad: str, request: BisectRequest, mirror: Mirror) -> None:
    git = mirror.git
    good_named, bad_named = markdown.code(request.good or ""), markdown.code(request.bad or "")
    if good == bad:
        raise Stop(
            f"{good_named} and {bad_named} are the same commit: nothing lies between.",
            "Name a good end that is older than the bad one.",
        )
    if not await is_ancestor(git, good, bad):
        if await is_ancestor(git, bad, good):
            raise Stop(
                f"The ends are the wrong way round: {good_named} comes after {bad_named}.",
                "Write the older, good end first: "
                + markdown.code(f"/bisect {request.bad}..{request.good}")
                + ".",
            )
        base = await merge_base(git, good, bad)
        raise Stop(
            f"{good_named} is not an ancestor of {bad_named}, so nothing says that the change "
            "lies between.",
            f"They part at {markdown.code(base[:_SHORT])}: if that one is good, use it."
            if base
            else "Their histories have nothing in common: choose another good end.",
        )
    between = await count_between(git, [good], bad)
    if between > MOST_COMMITS:
        raise Stop(
            f"{between:,} commits lie between, and at most {MOST_COMMITS:,} can be searched.",
            "Name a newer good end, such as a later release.",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(markdown.code(name) for name in names[:_CHECKS_NAMED])
    more = len(names) - _CHECKS_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
