"""What exactly is to be searched? Reads GitHub and the mirror, changes nothing.

The answer is a BisectPlan, or a Declined that tells the person what is wrong with the ends or the
check they named.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, RootModel

from bot import markdown
from bot.config import BisectConfig, Config
from bot.git.errors import AmbiguousRevision, UnknownRevision
from bot.git.history import (
    first_parents,
    is_ancestor,
    merge_base,
    resolve,
    resolve_expression,
)
from bot.github.errors import NotFound
from bot.github.models import CheckResult, RepositoryFacts
from bot.names import split_numeric, split_steps, typed_numeric, unwrapped
from bot.playbooks.bisect.commit_range import MOST_COMMITS, count_between
from bot.playbooks.bisect.ports import BisectGitHub, BisectMirror
from bot.playbooks.checks.results import meant
from bot.playbooks.incident.own_files import is_own
from bot.playbooks.plan import CannotPlan, Declined, read_config
from bot.triggers import BisectRequest, Value

_HEX = re.compile(r"[0-9a-f]{7,40}")
_SWALLOWED = re.compile(r"(?i)\snumeric\s\S")
"""A metric that was asked for after the check's name, which is the rest of the line."""
_CHECKS_NAMED = 10
_SHORT = 12
_RECORDS_IN_A_ROW = 20
"""How far a branch is looked back for a commit that is none of our records."""
_REMOTES = ("origin", "upstream")
_ACTIONS_BEGAN = datetime(2018, 10, 1, tzinfo=UTC)


class BisectPlan(Value):
    """What is searched, settled before anything is touched.

    Attributes:
        bad: the bad end, a commit of `base`.
        good: the good end, where a person named one.
        check: the check that tells good from bad; None where only the trial workflow tells.
        numeric: the metric whose change is looked for, perhaps with which direction is worse; the
            check is then the one whose reports carry it. None where it is about a failure.
        base: the branch the search is about.
        base_head: its head when this was settled.
        facts: the repository's settings; trial workflows are dispatched at its default branch.
        config: the repository's configuration.
        config_fault: why the newest configuration was passed over, if it was.
        has_sandbox: whether this server may try commits.
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
    has_sandbox: bool = True
    numeric: str | None = None

    @property
    def default_branch(self) -> str:
        """The branch whose workflow files count."""
        return self.facts.default_branch

    @property
    def metric(self) -> str | None:
        """The name of the metric whose change is looked for; None where it is about a failure."""
        return split_numeric(self.numeric)[0] if self.numeric else None

    @property
    def subject(self) -> str:
        """What the incident is about: one is open at a time for a check of a branch.

        Each of its numbers is another matter than its failure, and than the other numbers.
        """
        told_by = f"check:{self.check or 'trial'}@{self.base}"
        return told_by if self.numeric is None else f"metric:{self.numeric} {told_by}"


class BisectPlanned(RootModel[Annotated[BisectPlan | Declined, Field(union_mode="left_to_right")]]):
    """A BisectPlan or a Declined, as one storable type."""


async def make_bisect_plan(
    request: BisectRequest,
    *,
    github: BisectGitHub,
    mirror: BisectMirror,
    settled: Callable[[Config], Awaitable[Config]],
    has_sandbox: bool = True,
) -> BisectPlanned:
    """Work out what a bisect request means on the repository as it is now.

    Args:
        request: what is to be searched.
        github: the repository.
        mirror: its history.
        settled: gives a configuration with its protected parts as a Founder approved them.
        has_sandbox: whether this server tries commits; else a trial workflow does where there is
            one.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    try:
        return BisectPlanned(await _plan(request, github, mirror, settled, has_sandbox=has_sandbox))
    except CannotPlan as stop:
        return BisectPlanned(stop.declined)


async def _plan(
    request: BisectRequest,
    github: BisectGitHub,
    mirror: BisectMirror,
    settled: Callable[[Config], Awaitable[Config]],
    *,
    has_sandbox: bool,
) -> BisectPlan:
    if request.numeric is not None and request.good is None:
        raise CannotPlan(
            f"Nothing says what {markdown.code(split_numeric(request.numeric)[0])} was before it "
            "changed: no good end is named.",
            "Name a commit where it was as it should be: "
            + markdown.code(
                f"/bisect GOOD..{request.bad or ''} numeric {typed_numeric(request.numeric)}"
            )
            + ".",
        )
    facts = await github.about()
    await mirror.refresh()
    config, fault = await _config_of(facts.default_branch, mirror, settled, has_sandbox=has_sandbox)
    bad = await _commit(request.bad or f"refs/heads/{facts.default_branch}", github, mirror)
    base = await _home(bad, request.bad, facts, github, mirror)
    if bad == await mirror.branch_head(base):
        bad = await _before_records(bad, config, github, mirror)
    good = None
    if request.good is not None:
        good = await _commit(request.good, github, mirror)
        await _refuse_wrong_ends(good, bad, request, mirror)
    ours = (await github.app()).id
    results = [r for r in await github.checks.results(bad) if r.app_id != ours]
    results = await without_trials(results, bad, config, github)
    named = request.check
    check = (
        which_check(named, results, config, reason=request.reason)
        if request.numeric is None
        else which_reports(named, results, config, reason=request.reason)
    )
    if isinstance(check, Declined):
        raise CannotPlan(check.reason, check.remedy)
    return BisectPlan(
        bad=bad,
        good=good,
        check=check,
        base=base,
        base_head=await mirror.branch_head(base),
        facts=facts,
        config=config,
        config_fault=fault,
        has_sandbox=has_sandbox,
        numeric=request.numeric,
    )


async def _before_records(
    head: str, config: Config, github: BisectGitHub, mirror: BisectMirror
) -> str:
    """The newest commit of a branch that somebody made: no check runs on records of ours."""
    bot = (await github.app()).bot_login
    lately = await mirror.read(lambda git: first_parents(git, head, _RECORDS_IN_A_ROW))
    for sha in lately:
        if not await is_own(sha, config, bot, mirror):
            return sha
    return head


class TrialSettings(Value):
    """How commits are tried by the newest configuration.

    Attributes:
        bisect: that part of it.
        has_sandbox: whether this server tries commits.
        facts: the repository's settings by now; None where a release before did not read them.
        base: what the branch that the search is about is called by now; None likewise.
    """

    bisect: BisectConfig
    has_sandbox: bool
    facts: RepositoryFacts | None = None
    base: str | None = None


async def trial_settings(
    plan: BisectPlan,
    github: BisectGitHub,
    mirror: BisectMirror,
    settled: Callable[[Config], Awaitable[Config]],
    *,
    has_sandbox: bool,
) -> TrialSettings:
    """Read again how commits are tried: people may have set up a runner meanwhile.

    Args:
        plan: what was settled before.
        github: the repository.
        mirror: its history.
        settled: gives a configuration with its protected parts as a Founder approved them.
        has_sandbox: whether this server tries commits.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    facts = await github.about()
    await mirror.refresh()
    config, _ = await _config_of(facts.default_branch, mirror, settled, has_sandbox=has_sandbox)
    is_renamed = plan.base == plan.default_branch and await _head(plan.base, mirror) is None
    return TrialSettings(
        bisect=config.bisect,
        has_sandbox=has_sandbox,
        facts=facts,
        base=facts.default_branch if is_renamed else plan.base,
    )


async def _config_of(
    branch: str,
    mirror: BisectMirror,
    settled: Callable[[Config], Awaitable[Config]],
    *,
    has_sandbox: bool,
) -> tuple[Config, str | None]:
    head = await mirror.branch_head(branch)
    newest, fault = await mirror.read(lambda git: read_config(git, head))
    # Where and how commits are tried counts only as a Founder approved it.
    config = await settled(newest)
    if not has_sandbox and config.bisect.workflow is not None:
        on_actions = config.bisect.model_copy(update={"runner": "actions"})
        config = config.model_copy(update={"bisect": on_actions})
    return config, fault


async def without_trials(
    results: Sequence[CheckResult], bad: str, config: Config, github: BisectGitHub
) -> list[CheckResult]:
    """Leave out the jobs of trials: they hang on the default branch but try other commits."""
    if config.bisect.workflow is None:
        return list(results)
    try:
        listed = await github.workflows.dispatched(config.bisect.workflow, _ACTIONS_BEGAN, bad)
    except NotFound:
        return list(results)
    ours = tuple(f"/actions/runs/{each.id}/" for each in listed)
    return [result for result in results if not any(run in (result.url or "") for run in ours)]


def which_check(
    named: str | None, results: list[CheckResult], config: Config, *, reason: str = ""
) -> str | Declined | None:
    """Choose the check that tells good from bad, from what is reported on the bad end.

    Args:
        named: the name as somebody wrote it.
        results: what is reported.
        config: the configuration.
        reason: what followed the word `because`, which may have been part of the name.

    Returns:
        Its name; None where only the trial workflow can tell; or why neither is possible.
    """
    if named is not None:
        return _named_check(named, results, config, reason=reason)
    failing = sorted({r.name for r in results if r.is_completed and not r.is_passed})
    configured = [n for n in failing if n in (*config.checks.smoke, *config.checks.evals)]
    chosen = failing if len(failing) == 1 else configured
    if len(chosen) == 1:
        return chosen[0]
    if failing:
        return Declined(
            reason=f"{len(failing)} checks fail on the bad end: {_listed(failing)}.",
            remedy="Say which one to follow: `/bisect GOOD..BAD check NAME`.",
        )
    if config.bisect.can_try:
        return None
    return Declined(
        reason="No check fails on the bad end, so nothing tells good commits from bad ones.",
        remedy="Wait for its checks or name another bad end. To have commits tried, name a "
        f"trial workflow in {markdown.code('.github/playbooks.yml')} under "
        "`bisect: {workflow: …}`.",
    )


def which_reports(
    named: str | None, results: list[CheckResult], config: Config, *, reason: str = ""
) -> str | Declined | None:
    """Choose the check whose reports carry a number: none has to fail for that.

    Takes what `which_check` takes.

    Returns:
        Its name; None where only trials tell the number; or why neither is possible.
    """
    if named is not None:
        return _named_check(named, results, config, reason=reason)
    if config.bisect.can_try:
        return None
    return Declined(
        reason="Commits cannot be tried here and no check is named, so nothing tells the number.",
        remedy="To have commits tried, name a trial workflow in "
        f"{markdown.code('.github/playbooks.yml')} under `bisect: {{workflow: …}}`. Or name the "
        "check whose reports carry the number: `/bisect GOOD..BAD numeric METRIC check NAME`.",
    )


def _named_check(
    named: str, results: list[CheckResult], config: Config, *, reason: str
) -> str | Declined:
    """The check that somebody named, as it is reported on the bad end."""
    reported = sorted({result.name for result in results})
    whole = meant(unwrapped(f"{named} because {reason}"), reported) if reason else []
    found = whole or meant(named, reported)
    if len(found) == 1:
        return found[0]
    if config.bisect.can_try and not reported:
        return named
    if found:
        return Declined(
            reason=f"{markdown.code(named)} stands for {len(found)} checks: {_listed(found)}.",
            remedy="Write the name of one exactly: `/bisect GOOD..BAD check NAME`.",
        )
    before = " `numeric NAME` stands before `check`." if _SWALLOWED.search(named) else ""
    return Declined(
        reason=f"No check named {markdown.code(named)} has reported on the bad end.",
        remedy=(
            f"Reported there: {_listed(reported)}. Name one of them: "
            "`/bisect GOOD..BAD check NAME`."
            if reported
            else "No other has either: wait for its checks, or name another bad end."
        )
        + before,
    )


async def _commit(revision: str, github: BisectGitHub, mirror: BisectMirror) -> str:
    """The full SHA of a branch, tag or SHA; only what is on a branch of this repository."""
    # Signs around a name are rarely part of it, but git allows them there.
    for written in dict.fromkeys((revision, revision.strip("`<>,\"'"))):
        name, steps = split_steps(written)
        sha = await _named_commit(name, github, mirror)
        if sha is None:
            continue
        with contextlib.suppress(UnknownRevision):
            return await _steps_back(sha, steps, mirror)
        raise CannotPlan(
            f"{markdown.code(name)} has no commit {markdown.code(steps)} before it.",
            "Go fewer steps back, or name the commit by its SHA.",
        )
    raise CannotPlan(
        f"There is no commit, branch or tag {markdown.code(revision)} on a branch of this "
        "repository.",
        "Check how it is written; commits of forks cannot be named.",
    )


async def _steps_back(sha: str, steps: str, mirror: BisectMirror) -> str:
    """Go back from a commit: `~3`, `^2`.

    Raises:
        UnknownRevision: no commit is there.
    """
    return await mirror.read(lambda git: resolve_expression(git, f"{sha}{steps}"))


async def _named_commit(name: str, github: BisectGitHub, mirror: BisectMirror) -> str | None:
    """The commit that a SHA, branch or tag names, in that order; None where nothing does.

    Only objects are looked at first: a branch that is called like a SHA is meant where no commit
    is. `HEAD` is the default branch, as in a fresh clone.
    """
    if _HEX.fullmatch(name.lower()):
        try:
            return await mirror.read(lambda git: resolve(git, name))
        except AmbiguousRevision as several:
            raise CannotPlan(
                f"{markdown.code(name)} stands for {len(several.candidates)} commits.",
                "Give more characters of the SHA.",
            ) from None
        except UnknownRevision:
            pass
    if name in ("HEAD", "@"):
        name = f"refs/heads/{(await github.about()).default_branch}"
    branches, tags = _readings(name)
    on_branches = [sha for each in branches if (sha := await _head(each, mirror))]
    on_tags = [sha for each in tags if (sha := await _tagged(each, github, mirror))]
    if on_branches and on_tags and on_branches[0] != on_tags[0]:
        raise CannotPlan(
            f"{markdown.code(name)} is both a branch and a tag.",
            f"Write which one: {markdown.code(f'refs/heads/{name}')} or "
            f"{markdown.code(f'refs/tags/{name}')}.",
        )
    return next(iter(on_branches + on_tags), None)


def _readings(name: str) -> tuple[list[str], list[str]]:
    """The branches and the tags that a name can stand for, likeliest first: gitrevisions(7).

    What people copy from a clone names branches of this repository as those of a remote.
    """
    bare = name.removeprefix("refs/")
    if bare != name or bare.startswith(("heads/", "tags/")):
        kind, _, rest = bare.partition("/")
        plain = [name] if bare == name else []
        if kind == "remotes":
            rest = rest.partition("/")[2]
        branches = [rest] if kind in ("heads", "remotes") and rest else []
        tags = [rest] if kind == "tags" and rest else []
        return branches + plain, tags + plain
    remote, _, rest = name.partition("/")
    return [name, rest] if remote in _REMOTES and rest else [name], [name]


async def _head(branch: str, mirror: BisectMirror) -> str | None:
    try:
        return await mirror.branch_head(branch)
    except UnknownRevision:
        return None


async def _tagged(tag: str, github: BisectGitHub, mirror: BisectMirror) -> str | None:
    # Tags are not mirrored; GitHub knows where they point.
    tagged = await github.git.commit(f"tags/{tag}")
    if tagged is None:
        return None
    sha = tagged.sha
    try:
        return await mirror.read(lambda git: resolve(git, sha))
    except UnknownRevision:
        return None


async def _home(
    bad: str,
    named: str | None,
    facts: RepositoryFacts,
    github: BisectGitHub,
    mirror: BisectMirror,
) -> str:
    """The default branch or a protected one that has the bad end (docs/decisions/0010)."""
    default = facts.default_branch
    if await mirror.contains(default, bad):
        return default
    for name in await github.protected_branches():
        if name != default and await mirror.contains(name, bad):
            return name
    raise CannotPlan(
        f"{markdown.code(named or bad[:_SHORT])} is neither on {markdown.code(default)} nor on a "
        "protected branch, and only what was merged there is tried.",
        "Name a bad end that has been merged.",
    )


async def _refuse_wrong_ends(
    good: str, bad: str, request: BisectRequest, mirror: BisectMirror
) -> None:
    good_named, bad_named = markdown.code(request.good or ""), markdown.code(request.bad or "")
    if good == bad:
        raise CannotPlan(
            f"{good_named} and {bad_named} are the same commit: nothing lies between.",
            "Name a good end that is older than the bad one.",
        )
    if not await mirror.read(lambda git: is_ancestor(git, good, bad)):
        if await mirror.read(lambda git: is_ancestor(git, bad, good)):
            metric = f" numeric {typed_numeric(request.numeric)}" if request.numeric else ""
            raise CannotPlan(
                f"The ends are the wrong way round: {good_named} comes after {bad_named}.",
                "Write the older, good end first: "
                + markdown.code(f"/bisect {request.bad}..{request.good}{metric}")
                + ".",
            )
        base = await mirror.read(lambda git: merge_base(git, good, bad))
        raise CannotPlan(
            f"{good_named} is not an ancestor of {bad_named}, so nothing says that the change "
            "lies between.",
            f"They part at {markdown.code(base[:_SHORT])}: if that one is good, use it."
            if base
            else "Their histories have nothing in common: choose another good end.",
        )
    between = await mirror.read(lambda git: count_between(git, [good], bad))
    if between > MOST_COMMITS:
        raise CannotPlan(
            f"{between:,} commits lie between, and at most {MOST_COMMITS:,} can be searched.",
            "Name a newer good end, such as a later release.",
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(markdown.code(name) for name in names[:_CHECKS_NAMED])
    more = len(names) - _CHECKS_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
