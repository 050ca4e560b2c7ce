"""Somebody asks for what is being done already: their word counts as if they had been first.

Where the Run waits for a yes, this is the yes, with the rights that `/approve` needs and bound to
what is shown just then. Where it works, it hears of it, and whoever asked hears how it ends.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy.ext.asyncio import AsyncEngine

from bot import markdown
from bot.github.calls.issues import Emotion
from bot.intake.answering import replies
from bot.intake.answering.answer import Reply, TriggerAnswer
from bot.intake.answering.approving import ApproveCommands
from bot.intake.answering.waking import Wake
from bot.playbooks.attempt import attempt
from bot.playbooks.run import Signal, SignalKind
from bot.playbooks.steps import Step
from bot.records import incidents, runs
from bot.records.database import reading
from bot.records.incidents import Incident
from bot.records.lifecycle import RunState
from bot.records.runs import StoredRun
from bot.safety.admission import AdmissionFacts, Initiative
from bot.safety.circumstances import AdmissionReader
from bot.triggers import Role, Value


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
        circumstances: AdmissionReader,
    ) -> None:
        """Prepare.

        Args:
            records: the database, for reading.
            wake: sends a Signal to a Run.
            approving: decides what is bound to a plan.
            circumstances: reads what an approval needs.
        """
        self._records = records
        self._wake = wake
        self._approving = approving
        self._circumstances = circumstances

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
        needed = await self._circumstances.needed(trigger, "approve")
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
