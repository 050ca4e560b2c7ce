"""What a request would do, shown before anybody asks for it: a dry run that changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot import markdown
from bot.faults import Passing
from bot.git.errors import GitError
from bot.git.mirror import Mirror
from bot.git.reverting import Conflict
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.playbooks.bisect.plan import BisectPlan, make_bisect_plan
from bot.playbooks.declined import Declined
from bot.playbooks.revert.plan import Plan, make_plan
from bot.triggers import BisectRequest, Repository, Request, RevertRequest

_NAMED = 20


@dataclass(frozen=True)
class Preview:
    """What would happen. `lines` are Markdown, already escaped; `goes_on`: it can be started."""

    title: str
    lines: tuple[str, ...]
    goes_on: bool


class Planner:
    """Works plans out as the playbooks do, and says them."""

    def __init__(self, github: GitHub, mirror: Callable[[Repository], Mirror]) -> None:
        """Read GitHub and the mirrors."""
        self._github = github
        self._mirror = mirror

    async def preview(self, repository: Repository, request: Request) -> Preview:
        """Say what a request would do in a repository as it is now."""
        try:
            return await self._preview(repository, request)
        except (Passing, GitHubError, GitError) as fault:
            why = markdown.text(str(fault), limit=300)
            lines = (why, "You can start it all the same: it waits until that has passed.")
            return Preview("The plan cannot be worked out just now.", lines, goes_on=True)

    async def _preview(self, repository: Repository, request: Request) -> Preview:
        client = self._github.repository(repository, playbook="cockpit")
        mirror = self._mirror(repository)
        match request:
            case RevertRequest():
                revert = (await make_plan(request, github=client, mirror=mirror)).root
                return declined(revert) if isinstance(revert, Declined) else of_revert(revert)
            case BisectRequest():
                bisect = (await make_bisect_plan(request, github=client, mirror=mirror)).root
                return declined(bisect) if isinstance(bisect, Declined) else of_bisect(bisect)
        return Preview(
            f"This asks for `/{request.command}`.",
            ("It is judged and carried out as the same words in a comment would be.",),
            goes_on=True,
        )


def declined(plan: Declined) -> Preview:
    """There is nothing to do, or a person has to say more."""
    return Preview("Nothing would be done.", (plan.reason, plan.remedy), goes_on=False)


def of_revert(plan: Plan) -> Preview:
    """What a revert would undo, and how."""
    lines = [f"Onto {markdown.code(plan.base)}, now at {markdown.code(plan.base_head[:12])}."]
    for each in plan.offenders[:_NAMED]:
        name = f"#{each.number}" if each.number else markdown.code(each.sha[:12])
        count = len(each.commits)
        commits = "1 commit" if count == 1 else f"{count} commits"
        lines.append(f"Undo {name}, {markdown.text(each.title, limit=200)} ({commits}).")
    if isinstance(plan.outcome, Conflict):
        paths = ", ".join(markdown.code(each.path) for each in plan.outcome.paths[:_NAMED])
        lines.append(f"It conflicts in {paths}: a draft for you to finish would be opened.")
    else:
        lines.append("It applies cleanly. A hotfix pull request is opened, and merged when green.")
    lines.append("It can be taken back: reverting the revert brings the work back.")
    if plan.config_fault:
        lines.append(plan.config_fault)
    return Preview("This revert would:", tuple(lines), goes_on=True)


def of_bisect(plan: BisectPlan) -> Preview:
    """What a bisect would search, and by what."""
    good = markdown.code(plan.good[:12]) if plan.good else "the last commit where it was green"
    check = markdown.code(plan.check) if plan.check else "what the trial workflow says"
    workflow = plan.config.bisect.workflow
    lines = [
        f"Search between {good} and {markdown.code(plan.bad[:12])} on {markdown.code(plan.base)}, "
        f"by {check}.",
        f"At most {plan.config.bisect.trials} trials by {markdown.code(workflow)}, within "
        f"{plan.config.bisect.minutes} minutes."
        if workflow
        else "No trial workflow is configured: only results that exist already are read.",
        "Nothing is merged without a person: the culprit's revert is proposed as a pull request.",
    ]
    if plan.config_fault:
        lines.append(plan.config_fault)
    return Preview("This bisect would:", tuple(lines), goes_on=True)
