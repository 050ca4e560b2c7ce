"""One Trigger from receipt to answer: acknowledge, admit, carry out, react.

Runs inside the engine, so a crash anywhere resumes where it was. Playbooks do the work; what is
small enough to be one step (status, retry, severity …) is done here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.github.client import GitHub, RepositoryClient
from bot.github.reactions import Emotion, Subject
from bot.intake.answering import replies
from bot.intake.answering.approving import Approving
from bot.intake.answering.config_approving import ConfigApproving
from bot.intake.answering.here import Here, find_here
from bot.intake.answering.holding import Holding, Reply
from bot.playbooks.run import Ending, Run, Signal, SignalKind, StepFailed
from bot.playbooks.weighing import Weigh
from bot.records.audit_chain import audit
from bot.records.intake import answers
from bot.records.lifecycle import RunState
from bot.records.notices.announcing import announce
from bot.records.recovery import incidents, runs
from bot.records.recovery.incidents import Incident
from bot.safety.admission import Facts, Refused, admit, initiative_of
from bot.safety.circumstances import Circumstances
from bot.safety.spending import draw
from bot.safety.weighing import weigh
from bot.triggers import (
    ActorKind,
    ApproveRequest,
    CancelRequest,
    CorrectionRequest,
    HelpRequest,
    JudgeRequest,
    LaterRequest,
    PauseRequest,
    RejectRequest,
    RetryRequest,
    RulingRequest,
    SeverityRequest,
    SourceKind,
    StatusRequest,
    Trigger,
    UnpauseRequest,
    Value,
)

log = structlog.get_logger(__name__)

Playbook = Callable[[Run, Trigger, Any, Weigh], Awaitable[Ending]]
"""Carries out the request it is registered for, once its plan is weighed too."""
Playbooks = Mapping[type[Value], Playbook]
"""By the type of request."""
Judge = Callable[[Run, Trigger, JudgeRequest], Awaitable[None]]
"""Judges a check that failed; it asks for playbooks, and is none."""
Wake = Callable[[str, Signal, str], Awaitable[None]]
Order = Callable[[Run, Trigger, Any], Awaitable[Reply]]
"""Carries out a small request at once, and says what came of it."""

_REACTS = {
    SourceKind.ISSUE_COMMENT: Subject.ISSUE_COMMENT,
    SourceKind.REVIEW_COMMENT: Subject.REVIEW_COMMENT,
    # Reviews take no reactions by REST: their pull request takes them instead.
    SourceKind.REVIEW: Subject.ISSUE,
}

_OUTCOMES = {
    Emotion.SEEN: answers.Outcome.SEEN,
    Emotion.DONE: answers.Outcome.DONE,
    Emotion.REFUSED: answers.Outcome.REFUSED,
}


class Reception:
    """Answers Triggers."""

    def __init__(
        self,
        *,
        github: GitHub,
        records: AsyncEngine,
        playbooks: Playbooks,
        judge: Judge,
        wake: Wake,
        circumstances: Circumstances,
        holding: Holding,
        approving: Approving,
        config_approving: ConfigApproving,
    ) -> None:
        """Prepare.

        Args:
            github: to acknowledge and answer.
            records: to find what runs where.
            playbooks: what carries out which request.
            judge: judges a failing check of the default branch.
            wake: sends a Signal to a Run, at most once per key.
            circumstances: reads what an admission rests on.
            holding: pauses, unpauses, and lets single commits through.
            approving: decides what only a Founder may.
            config_approving: approves sensitive sections of the configuration.
        """
        self._github = github
        self._records = records
        self._playbooks = playbooks
        self._judge = judge
        self._wake = wake
        self._circumstances = circumstances
        self._holding = holding
        self._approving = approving
        self._config_approving = config_approving
        self._orders: Mapping[type[Value], Order] = {
            PauseRequest: holding.pause,
            UnpauseRequest: holding.unpause,
        }

    async def receive(self, run: Run, trigger: Trigger) -> None:
        """Carry out one Trigger."""
        client = self._github.repository(trigger.repository, playbook=trigger.request.command)
        try:
            await self._receive(run, trigger, client)
        except StepFailed as failed:
            await self._failed(run, trigger, client, failed)

    async def broke(self, run: Run, trigger: Trigger, failed: StepFailed) -> None:
        """Tell whoever asked that this bot itself is at fault."""
        client = self._github.repository(trigger.repository, playbook=trigger.request.command)
        await self._failed(run, trigger, client, failed)

    async def _receive(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        if isinstance(trigger.request, JudgeRequest):
            # It only looks: what follows from it is a Trigger of its own, and admitted then.
            return await self._judge(run, trigger, trigger.request)
        await self._react(run, trigger, client, Emotion.SEEN)
        facts = await self._facts(run, trigger)
        decision = admit(facts)
        if isinstance(decision, Refused):
            return await self._refuse(run, trigger, client, decision.reason, decision.remedy)
        if facts.draws_on and (reached := await self._draw(run, trigger, facts)):
            refused = admit(facts.model_copy(update={"cap": reached}))
            if isinstance(refused, Refused):
                return await self._refuse(run, trigger, client, refused.reason, refused.remedy)
        request = trigger.request
        if playbook := self._playbooks.get(type(request)):
            return await self._run_playbook(run, trigger, playbook, client, facts)
        if order := self._orders.get(type(request)):
            return await self._reply(run, trigger, client, await order(run, trigger, request))
        match request:
            case RulingRequest():
                await self._rule(run, trigger, request, client)
            case RetryRequest():
                await self._retry(run, trigger, client)
            case CancelRequest():
                await self._signal(run, trigger, client, SignalKind.CANCEL)
            case StatusRequest():
                await self._status(run, trigger, client)
            case HelpRequest():
                await self._answer(run, trigger, client, replies.help_reply())
            case SeverityRequest():
                await self._set_severity(run, trigger, request, client)
            case ApproveRequest() | RejectRequest():
                await self._decide(run, trigger, request, client)
            case LaterRequest():
                text = replies.later(trigger.actor, request.name)
                await self._answer(run, trigger, client, text, Emotion.REFUSED)
            case CorrectionRequest():
                text = replies.correction(trigger.actor, request.problems)
                await self._answer(run, trigger, client, text, Emotion.REFUSED)
        return None

    async def _facts(self, run: Run, trigger: Trigger) -> Facts:
        if trigger.actor.kind is ActorKind.BOT:
            return Facts(command=trigger.request.command, initiative=initiative_of(trigger))
        return await run.step(
            "read what the sender may do", Facts, lambda _: self._circumstances.of(trigger)
        )

    async def _draw(self, run: Run, trigger: Trigger, facts: Facts) -> str:
        now = await run.now()

        async def count(conn: AsyncConnection) -> str:
            return await draw(conn, trigger, facts, now)

        return await run.write("count it against the caps", str, count)

    # --- playbooks, and trying them again ---

    async def _run_playbook(
        self,
        run: Run,
        trigger: Trigger,
        playbook: Playbook,
        client: RepositoryClient,
        facts: Facts,
    ) -> None:
        now = await run.now()
        request = trigger.request

        async def begin(conn: AsyncConnection) -> bool:
            await runs.start(
                conn,
                run.id,
                trigger,
                playbook=request.command,
                at=now,
                inputs=request.model_dump(mode="json"),
            )
            await runs.move(conn, run.id, RunState.PREFLIGHT, at=now)
            return True

        await run.write("begin the run", bool, begin)
        ending = await playbook(run, trigger, request, partial(weigh, facts))
        match ending.outcome:
            case "succeeded":
                await self._react(run, trigger, client, Emotion.DONE)
            case "joined":
                text = replies.refusal(trigger.actor, ending.reason, ending.remedy)
                await self._answer(run, trigger, client, text)
            case "declined":
                await self._give_up(run, ending.reason)
                await self._refuse(run, trigger, client, ending.reason, ending.remedy)
            case "stopped" | "failed":
                await self._react(run, trigger, client, Emotion.REFUSED)

    async def _give_up(self, run: Run, reason: str) -> None:
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            known = await runs.find(conn, run.id)
            if known is not None and known.is_live:
                await runs.move(conn, run.id, RunState.FAILED, at=now, reason=reason)
            return True

        await run.write("end the run", bool, change)

    async def _failed(
        self, run: Run, trigger: Trigger, client: RepositoryClient, failed: StepFailed
    ) -> None:
        await self._give_up(run, f"{failed.step}: {failed}")
        text = replies.failure(trigger.actor, failed.step, str(failed), failed.aftermath)
        try:
            await self._answer(run, trigger, client, text, Emotion.REFUSED)
        except StepFailed as deaf:
            # What broke the Run (a permission, a suspension) may keep us from saying so.
            log.error("nobody could be told", run=run.id, step=failed.step, why=str(deaf))

    async def _retry(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        here = await run.step("see what is going on", Here, self._find_here(trigger))
        if live := here.live:
            return await self._send(run, trigger, client, live, SignalKind.RETRY)
        failed = here.last_failed
        asked = None if failed is None else Trigger.model_validate(failed.trigger)
        playbook = None if asked is None else self._playbooks.get(type(asked.request))
        if asked is None or playbook is None:
            return await self._nothing_here(run, trigger, client)
        # The same request once more, answered where it was made first.
        again = trigger.model_copy(
            update={
                "request": asked.request,
                "source": trigger.source.model_copy(update={"subject": asked.source.subject}),
            }
        )
        facts = await self._facts(run, again)
        decision = admit(facts)
        if isinstance(decision, Refused):
            return await self._refuse(run, trigger, client, decision.reason, decision.remedy)
        return await self._run_playbook(run, again, playbook, client, facts)

    async def _signal(
        self, run: Run, trigger: Trigger, client: RepositoryClient, kind: SignalKind
    ) -> None:
        here = await run.step("see what is going on", Here, self._find_here(trigger))
        if not here.live:
            return await self._nothing_here(run, trigger, client)
        return await self._send(run, trigger, client, here.live, kind)

    async def _decide(
        self,
        run: Run,
        trigger: Trigger,
        request: ApproveRequest | RejectRequest,
        client: RepositoryClient,
    ) -> None:
        here = await run.step("see what is going on", Here, self._find_here(trigger))
        pending = here.pending(request.approval)
        is_yes = isinstance(request, ApproveRequest)
        if is_yes and not pending and (held := await self._holding.let_through(run, trigger)):
            return await self._reply(run, trigger, client, held)
        if (
            is_yes
            and not pending
            and (config := await self._config_approving.approve(run, trigger))
        ):
            return await self._reply(run, trigger, client, config)
        if len(pending) != 1:
            text = replies.which_approval(trigger.actor, request.command, pending, here.incidents)
            return await self._answer(run, trigger, client, text, Emotion.REFUSED)
        kind = SignalKind.APPROVE if is_yes else SignalKind.REJECT
        about = await self._approving.decide(run, trigger, pending[0].id, yes=is_yes)
        if isinstance(about, Reply):
            return await self._reply(run, trigger, client, about)
        return await self._send(run, trigger, client, pending, kind, about)

    async def _rule(
        self, run: Run, trigger: Trigger, request: RulingRequest, client: RepositoryClient
    ) -> None:
        here = await run.step("see what is going on", Here, self._find_here(trigger))
        searching = [each for each in here.live if each.playbook == "bisect"]
        if not searching:
            return await self._nothing_here(run, trigger, client)
        kind = SignalKind(request.command)
        return await self._send(run, trigger, client, searching, kind, request.sha)

    async def _send(
        self,
        run: Run,
        trigger: Trigger,
        client: RepositoryClient,
        live: Sequence[runs.Run],
        kind: SignalKind,
        commit: str | None = None,
    ) -> None:
        signal = Signal(kind=kind, actor=trigger.actor, commit=commit)
        for each in live:
            await self._wake(each.id, signal, f"{run.id}:{each.id}")
        await self._react(run, trigger, client, Emotion.DONE)

    # --- the incident here ---

    async def _status(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        here = await run.step("see what is going on", Here, self._find_here(trigger))

        async def read(_: bool) -> dict[str, str]:
            issues = [each.issue for each in here.incidents if each.issue is not None]
            found = [await client.issues.find(number) for number in issues]
            return {str(each.number): replies.next_thing(each.body) for each in found if each}

        next_things = await run.step("read what is next", dict[str, str], read)
        told = [
            (incident, [r for r in here.runs if r.incident_id == incident.id])
            for incident in here.incidents
        ]
        await self._answer(run, trigger, client, replies.status(told, next_things))

    async def _set_severity(
        self, run: Run, trigger: Trigger, request: SeverityRequest, client: RepositoryClient
    ) -> None:
        here = await run.step("see what is going on", Here, self._find_here(trigger))
        open_here = [incident for incident in here.incidents if incident.is_open]
        if not open_here:
            return await self._nothing_here(run, trigger, client)
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            for incident in open_here:
                changed = await incidents.set_severity(conn, incident.id, request.severity)
                await announce(conn, changed, at=now)
            await audit.append(
                conn,
                trigger.repository.id,
                "incident.severity",
                actor=trigger.actor.login,
                at=now,
                incident=open_here[0].id,
                run=run.id,
                data={"severity": request.severity},
            )
            return True

        await run.write("set the severity", bool, change)
        await run.step(
            "change the severity label",
            bool,
            lambda _: self._relabel(client, open_here, f"severity:{request.severity}"),
        )
        return await self._react(run, trigger, client, Emotion.DONE)

    async def _relabel(self, client: RepositoryClient, found: list[Incident], label: str) -> bool:
        for incident in found:
            if incident.issue is not None:
                present = (await client.issues.get(incident.issue)).labels
                for old in present:
                    if old.startswith("severity:") and old != label:
                        await client.labels.remove(incident.issue, old)
                await client.labels.add(incident.issue, [label])
        return True

    def _find_here(self, trigger: Trigger) -> Callable[[bool], Awaitable[Here]]:
        return partial(find_here, self._records, trigger.repository.id, trigger.source)

    # --- answers ---

    async def _nothing_here(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        text = replies.nothing_here(trigger.actor, trigger.request.command)
        await self._answer(run, trigger, client, text, Emotion.REFUSED)

    async def _refuse(
        self, run: Run, trigger: Trigger, client: RepositoryClient, reason: str, remedy: str
    ) -> None:
        text = replies.refusal(trigger.actor, reason, remedy)
        await self._answer(run, trigger, client, text, Emotion.REFUSED)

    async def _reply(
        self, run: Run, trigger: Trigger, client: RepositoryClient, reply: Reply
    ) -> None:
        emotion = Emotion.DONE if reply.done else Emotion.REFUSED
        await self._answer(run, trigger, client, reply.text, emotion)

    async def _answer(
        self,
        run: Run,
        trigger: Trigger,
        client: RepositoryClient,
        text: str,
        emotion: Emotion = Emotion.DONE,
    ) -> None:
        subject = trigger.source.subject
        if trigger.source.kind is SourceKind.COCKPIT:
            return await self._answer_in_cockpit(run, trigger, emotion, text)
        if subject is not None:

            async def comment(look_first: bool) -> bool:
                await client.comments.ensure_comment(
                    subject,
                    key=f"answer:{run.id}",
                    body=text,
                    since=trigger.received_at,
                    look_first=look_first,
                )
                return True

            await run.step("answer", bool, comment)
        return await self._react(run, trigger, client, emotion)

    async def _answer_in_cockpit(
        self, run: Run, trigger: Trigger, emotion: Emotion, text: str = ""
    ) -> None:
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            await answers.put(
                conn,
                run.id,
                repository_id=trigger.repository.id,
                actor=trigger.actor.login,
                outcome=_OUTCOMES[emotion],
                at=now,
                text=text,
            )
            return True

        await run.write(f"answer in the cockpit: {emotion}", bool, change)

    async def _react(
        self, run: Run, trigger: Trigger, client: RepositoryClient, emotion: Emotion
    ) -> None:
        source = trigger.source
        if source.kind is SourceKind.COCKPIT:
            return await self._answer_in_cockpit(run, trigger, emotion)
        subject = _REACTS.get(source.kind)
        if subject is None:
            return None  # a label or an API request: its id is no comment's
        number = source.subject if source.kind is SourceKind.REVIEW else int(source.object_id)
        if number is None:
            return None

        async def react(_: bool) -> bool:
            await client.reactions.ensure_reaction(subject, number, emotion)
            return True

        await run.step(f"react with {emotion}", bool, react)
        return None
