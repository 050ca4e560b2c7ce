"""Commands about a Run that is there already: they join it, wake it, or go to the next.

Where the Run waits for a yes, this is the yes, with the rights that `/approve` needs and bound to
what is shown just then. Where it works, it hears of it, and whoever asked hears how it ends.

`/status` and `/severity`: what is under way about one issue or pull request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.commands import replies
from bot.commands.answer import Reply, TriggerAnswer
from bot.commands.approve import ApproveCommands
from bot.commands.approve_config import ConfigApprovals
from bot.commands.close_issue import IssueClosings
from bot.commands.command_context import CommandContext, ContextReader
from bot.commands.pause import PauseCommands
from bot.github.calls.issues import Emotion
from bot.github.client import RepositoryClient
from bot.playbooks.run import Signal, SignalKind, attempt
from bot.playbooks.steps import Patch, Step
from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.database import reading
from bot.records.incidents import Incident
from bot.records.lifecycle import RunState
from bot.records.notifications import announce
from bot.records.runs import StoredRun
from bot.safety.admission import AdmissionFacts, Initiative
from bot.safety.admission_facts import AdmissionReader
from bot.safety.founders import may_name
from bot.triggers import (
    ApproveRequest,
    RejectRequest,
    Role,
    RulingRequest,
    Severity,
    Trigger,
    Value,
)

Wake = Callable[[str, Signal, str], Awaitable[None]]
"""Sends a Signal to the Run of this id, at most once per key."""


class RunSignals:
    """Passes on what is meant for a Run under way."""

    def __init__(
        self,
        context: ContextReader,
        wake: Wake,
        holding: PauseCommands,
        approving: ApproveCommands,
        config_approving: ConfigApprovals,
        closing: IssueClosings,
    ) -> None:
        """Prepare.

        Args:
            context: finds what runs where.
            wake: sends a Signal to a Run.
            holding: lets single commits through where no plan waits for a yes.
            approving: decides what only a Founder may.
            config_approving: approves sensitive sections of the configuration.
            closing: resolves what a Run has left open.
        """
        self._context = context
        self._wake = wake
        self._holding = holding
        self._approving = approving
        self._config_approving = config_approving
        self._closing = closing

    async def cancel(self, answer: TriggerAnswer) -> None:
        """Cancel what is under way here."""
        here = await self._context.look(answer.run, answer.trigger)
        meant = _begun_before(answer.trigger, here.live)
        if here.live and not meant:
            later = replies.came_later(answer.trigger.actor, "cancel")
            return await answer.say(later, Emotion.REFUSED)
        if not meant and answer.run.patched(Patch.GONE_ISSUES):
            left = [each for each in here.left if _ended_before(answer.trigger, here, each)]
            if left:
                return await self._closing.leave(answer, left[0])
        if not meant:
            return await self.nothing(answer, here)
        if here.parked:
            return await self._give_up(answer, here)
        return await self.send(answer, here, meant, SignalKind.CANCEL)

    async def rule(self, answer: TriggerAnswer, request: RulingRequest) -> None:
        """Tell the bisect here what a person knows of one commit."""
        here = await self._context.look(answer.run, answer.trigger)
        searching = [each for each in here.live if each.playbook == "bisect"]
        if not searching:
            return await answer.nothing_here()
        fixes = [each.watch_pull_request for each in searching if each.watch_pull_request]
        if len(fixes) == len(searching):
            over = replies.search_is_over(answer.trigger.actor, fixes[0])
            return await answer.say(over, Emotion.REFUSED)
        return await self.send(answer, here, searching, SignalKind(request.command), request.sha)

    async def decide(self, answer: TriggerAnswer, request: ApproveRequest | RejectRequest) -> None:
        """Say yes or no to the one plan that waits for it: named by its id, or the only one."""
        run, trigger = answer.run, answer.trigger
        here = await self._context.look(run, trigger)
        asking = here.pending(request.approval)
        pending = _begun_before(trigger, asking)
        if asking and not pending:
            later = replies.came_later(trigger.actor, request.command)
            return await answer.say(later, Emotion.REFUSED)
        is_yes = isinstance(request, ApproveRequest)
        # A digest names a version of the configuration, and nothing that is held.
        named = is_yes and may_name(request.approval or "")
        if named and not pending and (config := await self._config_approving.approve(run, trigger)):
            return await answer.reply(config)
        if is_yes and not pending and (held := await self._holding.let_through(run, trigger)):
            return await answer.reply(held)
        if (
            is_yes
            and not named
            and not pending
            and (config := await self._config_approving.approve(run, trigger))
        ):
            return await answer.reply(config)
        if len(pending) != 1:
            text = replies.which_approval(trigger.actor, request.command, pending, here.incidents)
            if (
                not pending
                and (others := here.asked_about_here())
                and may_name(request.approval or "")
            ):
                # It may name a commit that is not there any more.
                text = replies.asks_about_others(trigger.actor, request.command, others)
                return await answer.say(text, Emotion.REFUSED)
            if not pending:
                return await self.nothing(answer, here, text)
            return await answer.say(text, Emotion.REFUSED)
        kind = SignalKind.APPROVE if is_yes else SignalKind.REJECT
        about = await self._approving.decide(run, trigger, pending[0].id, yes=is_yes)
        if isinstance(about, Reply):
            return await answer.reply(about)
        return await self.send(answer, here, pending, kind, about)

    async def nothing(self, answer: TriggerAnswer, here: CommandContext, text: str = "") -> None:
        """Nothing hears it; where something has broken off or ended, the next step is said.

        Args:
            answer: to whoever asked.
            here: what is going on where they asked.
            text: what is said where there is nothing at all; empty: the usual words.
        """
        if text and here.asked_before:
            return await answer.say(replies.asked_before(answer.trigger.actor), Emotion.REFUSED)
        if here.is_left:
            return await answer.say(replies.left_here(answer.trigger.actor), Emotion.REFUSED)
        if here.ended:
            said = replies.ended_here(answer.trigger.actor, here.ended)
            return await answer.say(said, Emotion.REFUSED)
        return await answer.nothing_here(text)

    async def _give_up(self, answer: TriggerAnswer, here: CommandContext) -> None:
        """End what waits for another release; what it left open is told of as it is settled."""

        async def end(_: bool) -> bool:
            for run in here.parked:
                await self._context.executions.give_up(run)
            await self._context.executions.settle(answer.trigger.repository.id)
            return True

        await answer.run.step(Step.GIVE_UP_PARKED, bool, end)
        heard = [each for each in here.live if each.id not in here.parked]
        await self.send(answer, here, heard, SignalKind.CANCEL)

    async def send(
        self,
        answer: TriggerAnswer,
        here: CommandContext,
        live: Sequence[StoredRun],
        kind: SignalKind,
        commit: str | None = None,
    ) -> None:
        """Send a Signal to each of these Runs, about one commit perhaps.

        Args:
            answer: to whoever asked.
            here: what is going on where they asked.
            live: the Runs that are meant.
            kind: what they said.
            commit: the commit it is about.
        """
        if any(each.id in here.parked for each in live):
            return await answer.say(replies.parked(answer.trigger.actor), Emotion.REFUSED)
        signal = Signal(kind=kind, actor=answer.trigger.actor, commit=commit)
        for each in live:
            await self._wake(each.id, signal, f"{answer.run.id}:{each.id}")
        return await answer.react(Emotion.DONE)


class Joined(Value):
    """What a request joined, as it is just now.

    Attributes:
        incident: what is being done something about.
        run: the Run at work on it; None where it has ended meanwhile.
        foreign: the head of its pull request, where somebody pushed to it.
        may_approve: whether whoever asked may say `/approve` here.
    """

    incident: Incident | None
    run: StoredRun | None = None
    foreign: str | None = None
    may_approve: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether the Run waits for a yes."""
        return self.run is not None and self.run.state is RunState.AWAITING_APPROVAL


class JoiningRequests:
    """Passes the words of those who came second on to the Run that came first."""

    def __init__(
        self,
        records: AsyncEngine,
        wake: Wake,
        approving: ApproveCommands,
        admission_reader: AdmissionReader,
    ) -> None:
        """Prepare.

        Args:
            records: the database, for reading.
            wake: sends a Signal to a Run.
            approving: decides what is bound to a plan.
            admission_reader: reads what an approval needs.
        """
        self._records = records
        self._wake = wake
        self._approving = approving
        self._admission_reader = admission_reader

    async def join(self, answer: TriggerAnswer, incident: str, facts: AdmissionFacts) -> None:
        """Have the Run at work on an incident hear of this request, and answer it.

        Args:
            answer: to whoever asked.
            incident: which.
            facts: what the admission of the request rested on.
        """
        # What nobody asked for needs no answer: the incident it joined says what is done.
        if facts.initiative not in (Initiative.PERSON, Initiative.PROGRAM):
            return None

        async def read(_: bool) -> Joined:
            return await self._read(answer, incident, facts)

        found = await answer.run.step(Step.READ_JOINED_RUN, Joined, read)
        run, trigger = found.run, answer.trigger
        by_person = facts.initiative is Initiative.PERSON
        joins: Literal["person", "program"] = "person" if by_person else "program"
        if run is None:
            return await self._tell(answer, replies.joined_late(trigger.actor, found.incident))
        commit = None
        if by_person and found.is_waiting and found.may_approve:
            if found.foreign is not None:
                text = replies.joined_foreign(trigger.actor, found.incident, found.foreign)
                return await self._tell(answer, text, Emotion.REFUSED)
            decided = await self._approving.decide(answer.run, trigger, run.id, yes=True)
            if isinstance(decided, Reply):
                text = replies.joined_in_vain(decided.text, found.incident)
                await self._tell(answer, text, Emotion.REFUSED)
                return await self._pass_on(answer, run, SignalKind.HINT, joins, None)
            commit = decided or run.watch_head_sha
            await self._pass_on(answer, run, SignalKind.APPROVE, joins, commit)
        else:
            await self._pass_on(answer, run, SignalKind.HINT, joins, None)
        if by_person:
            await self._assign(answer, found)
        return await self._tell(
            answer, replies.joined(trigger.actor, found.incident, run, approved=commit)
        )

    async def _read(self, answer: TriggerAnswer, incident_id: str, facts: AdmissionFacts) -> Joined:
        trigger = answer.trigger
        async with reading(self._records).connect() as conn:
            incident = await incidents.find(conn, incident_id)
            live = [each for each in await runs.of_incident(conn, incident_id) if each.is_live]
        if incident is None or not live:
            return Joined(incident=incident)
        found = Joined(incident=incident, run=live[-1])
        if facts.initiative is not Initiative.PERSON or not found.is_waiting:
            return found
        needed = await self._admission_reader.needed(trigger, "approve")
        # What an App wrote in a person's name is no approval.
        may = facts.role.at_least(max(needed, Role.WRITE, key=list(Role).index))
        may = may and trigger.source.through is None
        head = None
        ours = live[-1].watch_head_sha
        if incident.prs and ours is not None:
            head = (await answer.client.pulls.get(incident.prs[-1])).head.sha
        return found.model_copy(
            update={"may_approve": may, "foreign": head if head != ours else None}
        )

    async def _pass_on(
        self,
        answer: TriggerAnswer,
        run: StoredRun,
        kind: SignalKind,
        joins: Literal["person", "program"],
        commit: str | None,
    ) -> None:
        signal = Signal(kind=kind, actor=answer.trigger.actor, commit=commit, joins=joins)
        await self._wake(run.id, signal, f"{answer.run.id}:{run.id}:joins")

    async def _assign(self, answer: TriggerAnswer, found: Joined) -> None:
        """Whoever asked is assigned where the others are."""
        incident, login = found.incident, answer.trigger.actor.login
        if incident is None:
            return

        async def assign(_: bool) -> bool:
            for number in (incident.issue, *incident.prs[-1:]):
                if number is not None:
                    await answer.client.issues.ensure_assignees(number, [login])
            return True

        what = f"assign {markdown.code(login)}, who asked too"
        await attempt(answer.run, Step.ASSIGN_JOINED, bool, assign, what=what, otherwise=False)

    async def _tell(
        self, answer: TriggerAnswer, text: str, emotion: Emotion = Emotion.DONE
    ) -> None:
        await answer.say(text, emotion)


async def tell_status(answer: TriggerAnswer, here: CommandContext) -> None:
    """Say where everything here stands, and what is next."""

    async def read(_: bool) -> dict[str, str]:
        issues = [each.issue for each in here.incidents if each.issue is not None]
        found = [await answer.client.issues.find(number) for number in issues]
        return {str(each.number): replies.next_thing(each.body) for each in found if each}

    unknown: dict[str, str] = {}
    next_things = await attempt(
        answer.run,
        Step.READ_NEXT_STEPS,
        dict[str, str],
        read,
        what="read the incident's issue",
        otherwise=unknown,
    )
    told = [
        (incident, [r for r in here.runs if r.incident_id == incident.id])
        for incident in here.incidents
    ]
    await answer.say(replies.status(told, next_things))


async def set_severity(
    answer: TriggerAnswer, here: CommandContext, severity: Severity, records: AsyncEngine
) -> None:
    """Give the open incidents here another severity, in the records and as a label."""
    run, trigger = answer.run, answer.trigger
    open_here = [incident for incident in here.incidents if incident.is_open]
    if not open_here:
        return await answer.nothing_here()
    now = await run.now()

    async def change(conn: AsyncConnection) -> bool:
        found = [await incidents.set_severity(conn, i.id, severity) for i in open_here]
        # What ended since it was looked for has said its last word, with the severity it had.
        if not (changed := [incident for incident in found if incident.is_open]):
            return False
        for incident in changed:
            await announce(conn, incident, at=now)
        for incident in changed:
            await chain.append(
                conn,
                trigger.repository.id,
                "incident.severity",
                actor=trigger.actor.login,
                at=now,
                incident=incident.id,
                run=run.id,
                data={"severity": severity},
            )
        return True

    if not await run.write(Step.SET_SEVERITY, bool, change):
        return await answer.nothing_here()

    async def relabel(_: bool) -> bool:
        async with reading(records).connect() as conn:
            known = [await incidents.find(conn, incident.id) for incident in open_here]
        given = [i for i in known if i is not None and i.severity is severity]
        return await _relabel(answer.client, given, f"severity:{severity}")

    await attempt(
        run,
        Step.CHANGE_SEVERITY_LABEL,
        bool,
        relabel,
        what="change the severity label",
        otherwise=False,
    )
    return await answer.react(Emotion.DONE)


async def _relabel(client: RepositoryClient, found: Sequence[Incident], label: str) -> bool:
    for incident in found:
        if incident.issue is not None:
            present = (await client.issues.get(incident.issue)).labels
            for old in present:
                if old.lower().startswith("severity:") and old.lower() != label:
                    await client.labels.remove(incident.issue, old)
            await client.labels.add(incident.issue, [label])
    return True


def _ended_before(trigger: Trigger, here: CommandContext, left: Incident) -> bool:
    """Whether this was said when every Run of an incident had ended: else it means those."""
    ends = [run.finished_at for run in here.runs if run.incident_id == left.id]
    return all(end is None or end < trigger.received_at for end in ends)


def _begun_before(trigger: Trigger, found: Sequence[StoredRun]) -> tuple[StoredRun, ...]:
    """Those of these Runs that were asked for before this was said: it is about no others."""
    return tuple(
        run for run in found if not Trigger.model_validate(run.trigger).came_after(trigger)
    )
