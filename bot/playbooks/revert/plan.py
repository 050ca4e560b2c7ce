"""What exactly is to be reverted? Reads GitHub and the mirror, changes nothing.

The answer is a Plan, or a Declined that tells the person why there is nothing to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field, RootModel

from bot import markdown
from bot.config import Config
from bot.git.already import already_reverted
from bot.git.errors import UnknownRevision
from bot.git.history import newest_first, parents_of
from bot.git.mirror import Mirror
from bot.git.process import Git
from bot.git.reverting import Clean, Conflict, Empty, EmptyReason, compute_revert
from bot.git.trees import read_blob
from bot.github.client import RepositoryClient
from bot.github.models import RepositoryFacts
from bot.playbooks.incidents.case import Offender
from bot.playbooks.incidents.record_files import RECORDS_BRANCH, RecordFile
from bot.playbooks.planning.declined import Declined, Stop
from bot.playbooks.planning.repository_config import read_config
from bot.playbooks.revert.targets import (
    Located,
    brought_by,
    merged_pull_request,
    named_commit,
    needed,
)
from bot.playbooks.undo.irreversible import irreversible, paths_of
from bot.triggers import CommitTarget, PullRequestTarget, RevertRequest, Value

_LARGEST_ADR = 1 << 20


class Plan(Value):
    """What the revert will do, settled before anything is touched."""

    kind: Literal["plan"] = "plan"
    subject: str
    offenders: tuple[Offender, ...]
    base: str
    base_head: str
    facts: RepositoryFacts
    before: str
    """The last commit of the base branch before the incident."""
    outcome: Annotated[Clean | Conflict, Field(discriminator="status")]
    config: Config
    config_fault: str | None
    """Why the newest `.github/playbooks.yml` was passed over, if it was."""
    irreversible: tuple[str, ...] = ()
    """Paths it touches that nothing brings back: a Founder decides whether it is merged."""
    superseded: tuple[RecordFile, ...] = ()
    """The ADRs of the hotfixes that are themselves reverted, as they are now."""

    @property
    def commits(self) -> tuple[str, ...]:
        """Every commit that is undone."""
        return tuple(sha for offender in self.offenders for sha in offender.commits)


class Planned(RootModel[Annotated[Plan | Declined, Field(discriminator="kind")]]):
    """A Plan or a Declined, as one storable type."""


async def make_plan(
    request: RevertRequest,
    *,
    github: RepositoryClient,
    mirror: Mirror,
    settled: Callable[[Config], Awaitable[Config]],
) -> Planned:
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
        plan = await _plan(request, github, mirror)
    except Stop as stop:
        return Planned(stop.declined)
    config = await settled(plan.config)
    touched = await paths_of(plan.commits, mirror)
    return Planned(
        plan.model_copy(
            update={"config": config, "irreversible": irreversible(touched, config.founder)}
        )
    )


async def _plan(request: RevertRequest, github: RepositoryClient, mirror: Mirror) -> Plan:
    named = [target for target in request.targets if isinstance(target, PullRequestTarget)]
    merged = [await merged_pull_request(target, github) for target in named]
    facts = await github.about()
    try:
        await mirror.refresh([sha for pull in merged for sha in needed(pull)])
    except UnknownRevision:
        # Which one is missing, and what that means, is said where it is needed.
        await mirror.refresh()
    located = [await brought_by(pull, facts, github, mirror) for pull in merged]
    located += [
        await named_commit(target, facts, github, mirror)
        for target in request.targets
        if isinstance(target, CommitTarget)
    ]
    offenders = tuple({each.offender.subject: each.offender for each in located}.values())
    base = _one_base(located)
    git, base_head = mirror.git, await mirror.branch_head(base)
    config, fault = await read_config(git, await mirror.branch_head(facts.default_branch))
    commits = [sha for offender in offenders for sha in offender.commits]
    outcome = await mirror.read(
        lambda git: compute_revert(git, commits, base_head, keep_paths=config.record_paths)
    )
    if isinstance(outcome, Empty):
        raise await _nothing_to_revert(git, outcome, commits, base, base_head, config)
    oldest = (await newest_first(git, commits))[-1]
    parents, _ = await parents_of(git, oldest)
    return Plan(
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


def _one_base(located: Sequence[Located]) -> str:
    bases = sorted({each.base for each in located})
    if len(bases) > 1:
        raise Stop(
            f"These went to different branches: {', '.join(map(markdown.code, bases))}.",
            "Use one `/revert` for each branch.",
        )
    return bases[0]


async def _nothing_to_revert(
    git: Git, outcome: Empty, commits: list[str], base: str, base_head: str, config: Config
) -> Stop:
    if outcome.reason is EmptyReason.COMMIT_EMPTY:
        return Stop("That commit changed nothing, so there is nothing to revert.", "")
    if outcome.reason is EmptyReason.ONLY_RECORDS:
        return Stop(
            "That commit changed only records of incidents, and a revert leaves those alone.", ""
        )
    found = await already_reverted(git, commits[0], base_head, keep_paths=config.record_paths)
    by = (
        f" by {found.by.sha[:12]} ({markdown.text(found.by.subject)})" if found and found.by else ""
    )
    return Stop(
        f"It is already reverted on {markdown.code(base)}{by}.",
        "If things are still broken, something else broke them.",
    )


async def _superseded(
    mirror: Mirror, offenders: Sequence[Offender], base_head: str, directory: str
) -> tuple[RecordFile, ...]:
    """The ADRs of our own hotfixes among the offenders, with their outcome where it is known."""
    incidents = [offender.incident for offender in offenders if offender.incident]
    if not incidents:
        return ()
    try:
        # The final words may still be on their way to the base branch.
        places = (await mirror.branch_head(RECORDS_BRANCH), base_head)
    except UnknownRevision:
        places = (base_head, base_head)
    found: dict[str, RecordFile] = {}
    for commit in reversed(places):
        listed = await mirror.git.run(
            *("ls-tree", "-z", "--format=%(objectname) %(path)", commit, "--", f"{directory}/")
        )
        for line in listed.stdout.decode("utf-8", "replace").split("\0"):
            blob, _, path = line.partition(" ")
            if any(f"-{incident}-" in path for incident in incidents):
                content = await read_blob(mirror.git, blob, limit=_LARGEST_ADR)
                found[path] = RecordFile(path=path, content=content.decode("utf-8", "replace"))
    return tuple(found.values())
