"""What an action would do, shown before it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.commands.pause import pausable
from bot.config import Config
from bot.git.revert import RevertConflict
from bot.names import split_numeric
from bot.playbooks.plan import CannotPlan, Declined
from bot.playbooks.steps import MERGE_IRREVERSIBLE, Step, Undo
from bot.records import pauses
from bot.records.pauses import Pause
from bot.records.steps import Reversibility
from bot.triggers import SELF_WORK, PauseRequest, UnpauseRequest

if TYPE_CHECKING:
    from bot.playbooks.bisect.plan import BisectPlan
    from bot.playbooks.revert.plan import RevertPlan

_HARMLESS_FIRST = list(Reversibility)


@dataclass(frozen=True)
class PreviewedStep:
    """One step that would be taken. `does` is Markdown, already escaped."""

    does: str
    undo: Undo


@dataclass(frozen=True)
class Preview:
    """What would happen.

    Attributes:
        title: one line of plain text.
        lines: Markdown, already escaped.
        steps: what would be done to the world, in order, with how it is undone.
        goes_on: whether it can be started.
    """

    title: str
    lines: tuple[str, ...]
    goes_on: bool
    steps: tuple[PreviewedStep, ...] = ()

    @property
    def worst(self) -> Reversibility | None:
        """How far the step that is hardest to undo can be undone; None: nothing is done."""
        if not self.steps:
            return None
        return max((each.undo.reversibility for each in self.steps), key=_HARMLESS_FIRST.index)


def nothing(plan: Declined) -> Preview:
    """There is nothing to do, or a person has to say more."""
    lines = tuple(line for line in (plan.reason, plan.remedy) if line)
    return Preview("Nothing would be done", lines, goes_on=False)


def as_declared(steps: Sequence[Step]) -> tuple[PreviewedStep, ...]:
    """Steps of playbooks, with how each is undone as the playbooks declare it."""
    return tuple(PreviewedStep(_begun(each.label), each.undo) for each in steps if each.undo)


def step(does: str, reversibility: Reversibility, how: str) -> PreviewedStep:
    """A step that only the cockpit describes in these words."""
    return PreviewedStep(does, Undo(reversibility=reversibility, how=how))


def _begun(name: str) -> str:
    return name[:1].upper() + name[1:]


async def of_pause(
    conn: AsyncConnection, repository_id: int, request: PauseRequest, config: Config
) -> Preview:
    """What would be held.

    Raises:
        CannotPlan: there is no such capability, or it is held as firmly already.
    """
    scope = markdown.code(request.scope)
    known = (SELF_WORK, *await pausable(conn, repository_id, config))
    if request.scope not in known:
        raise CannotPlan(
            f"There is no capability {scope} here.",
            f"Allowed: {', '.join(map(markdown.code, known))}.",
        )
    now = await pauses.in_force(conn, repository_id, request.scope)
    if now is not None and now.state == "paused" and not now.lifts_itself:
        raise CannotPlan(f"{scope} is paused already: {_why(now)}", "")
    held = (
        "`self-work gate` fails on every open pull request of self-work, so that none is merged. "
        "People's pull requests and hotfixes pass."
        if request.scope == SELF_WORK
        else f"{scope} gets no new shadow, and its candidate no more traffic than it has. A "
        "rollback is always possible."
    )
    lines = [held, "It stays so until a person unpauses it."]
    if now is not None:
        lines.append(f"It is held now by what lifts itself: {_why(now)}")
    undo = f"/unpause {request.scope}"
    steps = (step(f"Pause {scope}", Reversibility.REVERSIBLE, undo),)
    return Preview("This pause would", tuple(lines), goes_on=True, steps=steps)


async def of_unpause(conn: AsyncConnection, repository_id: int, request: UnpauseRequest) -> Preview:
    """What would go on.

    Raises:
        CannotPlan: nothing of that name is held, or it is not clear which is meant.
    """
    held = await pauses.all_in_force(conn, repository_id)
    wanted = [each for each in held if request.scope in (None, each.scope)]
    if len(wanted) != 1:
        raise _which(held, request.scope)
    [pause] = wanted
    scope = markdown.code(pause.scope)
    lines = (
        f"It is held: {_why(pause)}",
        "`self-work gate` turns green on every open pull request of self-work, each of which may "
        "then be merged."
        if pause.scope == SELF_WORK
        else f"{scope} may be shadowed and ramped again.",
    )
    undo = f"/pause {pause.scope} because …; what was merged meanwhile stays merged"
    steps = (step(f"Unpause {scope}", Reversibility.COMPENSATABLE, undo),)
    return Preview("This would let it go on", lines, goes_on=True, steps=steps)


def _why(pause: Pause) -> str:
    return f"{markdown.text(pause.reason, limit=300)} (by {markdown.text(pause.set_by)})"


def _which(held: Sequence[Pause], scope: str | None) -> CannotPlan:
    if not held:
        return CannotPlan("Nothing is paused here.", "")
    names = ", ".join(markdown.code(each.scope) for each in held)
    if scope is not None:
        return CannotPlan(f"{markdown.code(scope)} is not paused.", f"Paused: {names}.")
    return CannotPlan("Several are paused.", f"Say which: {names}.")


_NAMED = 20
_BEFORE_THE_MERGE = (
    Step.OPEN_INCIDENT_ISSUE,
    Step.PUBLISH_HOTFIX,
    Step.OPEN_HOTFIX_PULL_REQUEST,
)
_FINDING = (Step.OPEN_INCIDENT_ISSUE, Step.PUBLISH_FIX, Step.OPEN_FIX_PULL_REQUEST)


def of_revert(plan: RevertPlan) -> Preview:
    """What a revert would undo, and how."""
    lines = [f"Onto {markdown.code(plan.base)}, now at {markdown.code(plan.base_head[:7])}."]
    for each in plan.offenders[:_NAMED]:
        name = f"#{each.number}" if each.number else markdown.code(each.sha[:7])
        count = len(each.commits)
        commits = "1 commit" if count == 1 else f"{count} commits"
        lines.append(f"Undo {name}, {markdown.text(each.title, limit=200)} ({commits}).")
    if (more := len(plan.offenders) - _NAMED) > 0:
        lines.append(f"Undo {more} more.")
    steps = as_declared(_BEFORE_THE_MERGE)
    if isinstance(plan.outcome, RevertConflict):
        paths = _named(tuple(each.path for each in plan.outcome.paths))
        lines.append(f"It conflicts in {paths}: a draft for you to finish is opened.")
    else:
        lines.append("It applies cleanly. A hotfix pull request is opened, and merged when green.")
    if plan.irreversible:
        lines.append(
            f"It changes {_named(plan.irreversible)}, which another revert cannot restore: "
            "a Founder decides whether it is merged."
        )
        merge = "Merge the pull request, once a Founder has approved it"
        steps += (PreviewedStep(merge, MERGE_IRREVERSIBLE),)
    else:
        steps += as_declared((Step.MERGE_PULL_REQUEST,))
    if plan.config_fault:
        lines.append(plan.config_fault)
    return Preview("This revert would", tuple(lines), goes_on=True, steps=steps)


def of_bisect(plan: BisectPlan) -> Preview:
    """What a bisect would search, and by what."""
    good = markdown.code(plan.good[:7]) if plan.good else "the last commit where it was green"
    told_by = markdown.code(plan.check) if plan.check else "what the trials say"
    if plan.numeric is not None:
        name, worse = split_numeric(plan.numeric)
        source = markdown.code(plan.check) if plan.check else "the trials"
        told_by = f"the number {markdown.code(name)} of {source}" + (
            f", where {worse} is worse" if worse else ""
        )
    lines = [
        f"Search between {good} and {markdown.code(plan.bad[:7])} on {markdown.code(plan.base)}, "
        f"by {told_by}.",
        _trials(plan),
        "Nothing is merged without a person: the culprit's revert is proposed as a pull request.",
    ]
    if plan.config_fault:
        lines.append(plan.config_fault)
    return Preview("This bisect would", tuple(lines), goes_on=True, steps=as_declared(_FINDING))


def _trials(plan: BisectPlan) -> str:
    bisect = plan.config.bisect
    if not bisect.can_try:
        return "No trial workflow is configured: only results that exist already are read."
    by = "your commands in the sandbox"
    if bisect.runner == "actions" and bisect.workflow:
        by = markdown.code(bisect.workflow)
    return f"At most {bisect.trials} trials by {by}, within {bisect.minutes} minutes."


def _named(paths: tuple[str, ...]) -> str:
    shown = ", ".join(markdown.code(path) for path in paths[:_NAMED])
    more = len(paths) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
