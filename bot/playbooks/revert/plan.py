"""What exactly is to be reverted? Reads GitHub and the mirror, changes nothing.

The answer is a Plan, or a Declined that tells the person why there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Literal

from pydantic import Field, RootModel

from bot import markdown
from bot.config import Config
from bot.git.errors import PathNotUtf8, UnknownRevision
from bot.git.history import CommitInfo, newest_first, parents_of
from bot.git.landed_changes import compute_what_is_left, undone_by
from bot.git.process import Git
from bot.git.revert import Clean, Empty, EmptyReason, RevertConflict
from bot.git.trees import read_blob
from bot.github.models import RepositoryFacts
from bot.playbooks.incident.context import Offender
from bot.playbooks.incident.own_files import own_files
from bot.playbooks.incident.record_files import RECORDS_BRANCHES, RecordFile
from bot.playbooks.plan import CannotPlan, Declined, is_self_work, needed, read_config
from bot.playbooks.revert.ports import RevertGitHub, RevertMirror
from bot.playbooks.revert.targets import (
    Located,
    brought_by,
    came_twice,
    merged_pull_request,
    named_commit,
    wider,
)
from bot.playbooks.undo import irreversible, paths_of
from bot.triggers import CommitTarget, PullRequestTarget, RevertRequest, Value

_LARGEST_ADR = 1 << 20


class RevertPlan(Value):
    """What the revert will do, settled before anything is touched."""

    kind: Literal["plan"] = "plan"
    subject: str
    offenders: tuple[Offender, ...]
    base: str
    base_head: str
    facts: RepositoryFacts
    before: str
    """The last commit of the base branch before the incident."""
    outcome: Annotated[Clean | RevertConflict, Field(discriminator="status")]
    config: Config
    config_fault: str | None
    """Why the newest `.github/playbooks.yml` was passed over, if it was."""
    irreversible: tuple[str, ...] = ()
    """Paths it touches that nothing brings back: a Founder decides whether it is merged."""
    is_self_work: bool | None = None
    """Whether all that is undone is self-work; None where it was planned before this was asked."""
    superseded: tuple[RecordFile, ...] = ()
    """The ADRs of the hotfixes that are themselves reverted, as they are now."""

    @property
    def own_incidents(self) -> tuple[str, ...]:
        """The incidents whose hotfixes are themselves reverted."""
        return tuple(each.incident for each in self.offenders if each.incident)

    @property
    def left(self) -> tuple[str, ...]:
        """The record files that stay although what is reverted brought them."""
        return self.outcome.left if isinstance(self.outcome, Clean) else ()

    @property
    def commits(self) -> tuple[str, ...]:
        """Every commit that is undone, each once: one merge may have brought several offenders."""
        return tuple(dict.fromkeys(sha for offender in self.offenders for sha in offender.commits))


class RevertPlanned(RootModel[Annotated[RevertPlan | Declined, Field(discriminator="kind")]]):
    """A Plan or a Declined, as one storable type."""


async def make_plan(
    request: RevertRequest,
    *,
    github: RevertGitHub,
    mirror: RevertMirror,
    settled: Callable[[Config], Awaitable[Config]],
) -> RevertPlanned:
    """Work out what a revert request means on the repository as it is now.

    Args:
        request: what is to be reverted.
        github: the repository.
        mirror: its history.
        settled: gives a configuration with its sensitive sections as a Founder approved them.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    try:
        plan, located = await _plan(request, github, mirror, settled)
    except CannotPlan as stop:
        return RevertPlanned(stop.declined)
    touched = await paths_of(plan.commits, mirror)
    config = plan.config
    marks = config.self_work
    return RevertPlanned(
        plan.model_copy(
            update={
                "irreversible": irreversible(touched, config.founder),
                "is_self_work": all(
                    each.pull and is_self_work(each.pull, marks) for each in located
                ),
            }
        )
    )


async def _plan(
    request: RevertRequest,
    github: RevertGitHub,
    mirror: RevertMirror,
    settled: Callable[[Config], Awaitable[Config]],
) -> tuple[RevertPlan, list[Located]]:
    named = [target for target in request.targets if isinstance(target, PullRequestTarget)]
    merged = [await merged_pull_request(target, github) for target in named]
    facts = await github.about()
    try:
        await mirror.refresh([sha for pull in merged for sha in needed(pull)])
    except UnknownRevision:
        # Which one is missing, and what that means, is said where it is needed.
        await mirror.refresh()
    located = await brought_by(merged, facts, github, mirror)
    for target in request.targets:
        if isinstance(target, CommitTarget):
            located += await named_commit(target, facts, github, mirror)
    offenders = tuple({each.offender.subject: each.offender for each in located}.values())
    base = _one_base(located)
    base_head = await mirror.branch_head(base)
    default_head = await mirror.branch_head(facts.default_branch)
    newest, fault = await mirror.read(lambda git: read_config(git, default_head))
    # What is kept and where records go counts only as a Founder approved it.
    config = await settled(newest)
    commits = list(dict.fromkeys(sha for each in offenders for sha in each.commits))
    incidents = [each.incident for each in offenders if each.incident]
    own = await mirror.read(lambda git: own_files(config, git, incidents))

    async def undo(commits: Sequence[str]) -> Clean | RevertConflict | Empty:
        try:
            return await mirror.read(
                lambda git: compute_what_is_left(git, commits, base_head, keep=own.kept)
            )
        except PathNotUtf8 as odd:
            raise CannotPlan(
                f"The name of {markdown.code(odd.shown)} is not UTF-8, and GitHub's API carries no "
                "other.",
                "Revert it with git itself, and open a pull request.",
            ) from odd

    outcome = await undo(commits)
    if isinstance(outcome, RevertConflict):

        async def clean(commits: Sequence[str]) -> bool:
            return isinstance(await undo(commits), Clean)

        if (asks := await wider(located, clean)) is not None:
            raise asks
    if isinstance(outcome, Empty):
        by = None
        if outcome.reason is EmptyReason.NOTHING_LEFT:
            by = await mirror.read(lambda git: undone_by(git, commits[0], base_head))
        pulls = [] if by is None else await github.pulls.of_commit(by.sha)
        number = next((pull.number for pull in pulls if pull.is_merged), None)
        raise _nothing_to_revert(outcome, base, by, number)
    if (asks := await came_twice(located, base_head, github, mirror)) is not None:
        raise asks
    oldest, parents = await mirror.read(lambda git: _oldest(git, commits))
    plan = RevertPlan(
        subject="+".join(sorted(offender.subject for offender in offenders)),
        offenders=offenders,
        base=base,
        base_head=base_head,
        facts=facts,
        before=parents[0] if parents else oldest,
        outcome=outcome,
        config=config,
        config_fault=fault,
        superseded=await _superseded(mirror, offenders, base_head, config.adr.directory),
    )
    return plan, located


async def _oldest(git: Git, commits: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    oldest = (await newest_first(git, commits))[-1]
    return oldest, (await parents_of(git, oldest))[0]


def _one_base(located: Sequence[Located]) -> str:
    bases = sorted({each.base for each in located})
    if len(bases) > 1:
        raise CannotPlan(
            f"These went to different branches: {', '.join(map(markdown.code, bases))}.",
            "Use one `/revert` for each branch.",
        )
    return bases[0]


def _nothing_to_revert(
    outcome: Empty, base: str, by: CommitInfo | None, pull_request: int | None
) -> CannotPlan:
    if outcome.reason is EmptyReason.COMMIT_EMPTY:
        return CannotPlan("That commit changed nothing, so there is nothing to revert.", "")
    if outcome.reason is EmptyReason.ONLY_RECORDS:
        return CannotPlan(
            "That commit changed only records of incidents, and a revert leaves those alone.", ""
        )
    pull = f"#{pull_request}, " if pull_request else ""
    undone = f" by {pull}{by.sha[:12]} ({markdown.text(by.subject)})" if by else ""
    return CannotPlan(
        f"It is already reverted on {markdown.code(base)}{undone}.",
        "If things are still broken, something else broke them: `/revert #NUMBER` reverts that, "
        f"and {markdown.code(f'/bisect GOOD..{base} check NAME')} looks for it.",
        is_done=True,
    )


async def _superseded(
    mirror: RevertMirror, offenders: Sequence[Offender], base_head: str, directory: str
) -> tuple[RecordFile, ...]:
    """The ADRs of our own hotfixes among the offenders, with their outcome where it is known."""
    incidents = [offender.incident for offender in offenders if offender.incident]
    if not incidents:
        return ()
    # The final words may still be on their way to the base branch.
    places = [base_head]
    for branch in RECORDS_BRANCHES:
        with suppress(UnknownRevision):
            places = [await mirror.branch_head(branch), base_head]
            break
    return await mirror.read(lambda git: _adrs(git, incidents, places, directory))


async def _adrs(
    git: Git, incidents: Sequence[str], places: Sequence[str], directory: str
) -> tuple[RecordFile, ...]:
    found: dict[str, RecordFile] = {}
    for commit in reversed(places):
        listed = await git.run(
            *("ls-tree", "-z", "--format=%(objectname) %(path)", commit, "--", f"{directory}/")
        )
        for line in listed.stdout.decode("utf-8", "replace").split("\0"):
            blob, _, path = line.partition(" ")
            if any(f"-{incident}-" in path for incident in incidents):
                content = await read_blob(git, blob, limit=_LARGEST_ADR)
                found[path] = RecordFile(path=path, content=content.decode("utf-8", "replace"))
    return tuple(found.values())
