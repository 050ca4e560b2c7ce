"""One Trigger from receipt to answer: acknowledge, admit, carry out, react.

Runs inside the engine, so a crash anywhere resumes where it was. Playbooks do the work; what is
small enough to be one step (status, retry, severity …) is done here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.github.client import GitHub, RepositoryClient
from bot.github.reactions import Emotion, Subject
from bot.intake import replies
from bot.playbooks.run import Ending, Run, Signal, SignalKind, StepFailed
from bot.records import audit, incidents, runs
from bot.records.incidents import Incident
from bot.records.lifecycle import RunState
from bot.safety.admission import Refused, admit
from bot.triggers import (
    ActorKind,
    ApproveRequest,
    CancelRequest,
    CorrectionRequest,
    HelpRequest,
    LaterRequest,
    RejectRequest,
    RetryRequest,
    RevertRequest,
    Role,
    SeverityRequest,
    SourceKind,
    StatusRequest,
    Trigger,
    Value,
)

Revert = Callable[[Run, Trigger, RevertRequest], Awaitable[Ending]]
Wake = Callable[[str, Signal, str], Awaitable[None]]

_REACTS = {
    SourceKind.ISSUE_COMMENT: Subject.ISSUE_COMMENT,
    SourceKind.REVIEW_COMMENT: Subject.REVIEW_COMMENT,
}


class _Here(Value):
    """The incidents and Runs about one issue or pull request."""

    incidents: tuple[Incident, ...]
    runs: tuple[runs.Run, ...]


class Reception:
    """Answers Triggers."""

    def __init__(self, *, github: GitHub, records: AsyncEngine, revert: Revert, wake: Wake) -> None:
        """Prepare.

        Args:
            github: to acknowledge and answer.
            records: to find what runs where.
            revert: the playbook.
            wake: sends a Signal to a Run, at most once per key.
        """
        self._github = github
        self._records = records
        self._revert = revert
        self._wake = wake

    async def receive(self, run: Run, trigger: Trigger) -> None:
        """Carry out one Trigger."""
        client = self._github.repository(trigger.repository, playbook=trigger.request.command)
        try:
            await self._receive(run, trigger, client)
        except StepFailed as failed:
            await self._failed(run, trigger, client, failed)

    async def _receive(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        await self._react(run, trigger, client, Emotion.SEEN)
        decision = admit(trigger, await self._role(run, trigger, client))
        if isinstance(decision, Refused):
            return await self._refuse(run, trigger, client, decision.reason, decision.remedy)
        request = trigger.request
        match request:
            case RevertRequest():
                await self._run_revert(run, trigger, request, client)
            case RetryRequest():
                await self._retry(run, trigger, client)
            case CancelRequest():
                await self._signal(run, trigger, client, SignalKind.CANCEL)
            case StatusRequest():
                here = await run.step("see what is going on", _Here, self._find_here(trigger))
                told = [
                    (incident, [r for r in here.runs if r.incident_id == incident.id])
                    for incident in here.incidents
                ]
                await self._answer(run, trigger, client, replies.status(told))
            case HelpRequest():
                await self._answer(run, trigger, client, replies.help_reply())
            case SeverityRequest():
                await self._set_severity(run, trigger, request, client)
            case ApproveRequest() | RejectRequest():
                await self._refuse(
                    run, trigger, client, "Nothing is waiting for an approval here.", ""
                )
            case LaterRequest():
                text = replies.later(trigger.actor, request.name)
                await self._answer(run, trigger, client, text, Emotion.REFUSED)
            case CorrectionRequest():
                text = replies.correction(trigger.actor, request.problems)
                await self._answer(run, trigger, client, text, Emotion.REFUSED)
        return None

    async def _role(self, run: Run, trigger: Trigger, client: RepositoryClient) -> Role:
        if trigger.actor.kind is not ActorKind.PERSON:
            return Role.NONE
        return await run.step(
            "read what the sender may do",
            Role,
            lambda _: client.permissions.role_of(trigger.actor.login),
        )

    # --- revert, and trying it again ---

    async def _run_revert(
        self, run: Run, trigger: Trigger, request: RevertRequest, client: RepositoryClient
    ) -> None:
        now = await run.now()

        async def begin(conn: AsyncConnection) -> bool:
            await runs.start(
                conn,
                run.id,
                trigger,
                playbook="revert",
                at=now,
                inputs=request.model_dump(mode="json"),
            )
            await runs.move(conn, run.id, RunState.PREFLIGHT, at=now)
            return True

        await run.write("begin the run", bool, begin)
        ending = await self._revert(run, trigger, request)
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
        text = replies.failure(trigger.actor, failed.step, str(failed))
        await self._answer(run, trigger, client, text, Emotion.REFUSED)

    async def _retry(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        here = await run.step("see what is going on", _Here, self._find_here(trigger))
        live = [each for each in here.runs if each.is_live]
        if live:
            return await self._send(run, trigger, client, live, SignalKind.RETRY)
        ended = [each for each in here.runs if each.state is RunState.FAILED]
        if not ended:
            return await self._nothing_here(run, trigger, client)
        request = Trigger.model_validate(ended[-1].trigger).request
        if not isinstance(request, RevertRequest):
            return await self._nothing_here(run, trigger, client)
        await self._run_revert(
            run, trigger.model_copy(update={"request": request}), request, client
        )
        return None

    async def _signal(
        self, run: Run, trigger: Trigger, client: RepositoryClient, kind: SignalKind
    ) -> None:
        here = await run.step("see what is going on", _Here, self._find_here(trigger))
        live = [each for each in here.runs if each.is_live]
        if not live:
            return await self._nothing_here(run, trigger, client)
        return await self._send(run, trigger, client, live, kind)

    async def _send(
        self,
        run: Run,
        trigger: Trigger,
        client: RepositoryClient,
        live: list[runs.Run],
        kind: SignalKind,
    ) -> None:
        signal = Signal(kind=kind, actor=trigger.actor)
        for each in live:
            await self._wake(each.id, signal, f"{run.id}:{each.id}")
        await self._react(run, trigger, client, Emotion.DONE)

    # --- the incident here ---

    async def _set_severity(
        self, run: Run, trigger: Trigger, request: SeverityRequest, client: RepositoryClient
    ) -> None:
        here = await run.step("see what is going on", _Here, self._find_here(trigger))
        open_here = [incident for incident in here.incidents if incident.is_open]
        if not open_here:
            return await self._nothing_here(run, trigger, client)
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            for incident in open_here:
                await incidents.set_severity(conn, incident.id, request.severity)
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

    def _find_here(self, trigger: Trigger) -> Callable[[bool], Awaitable[_Here]]:
        return partial(self._look_here, trigger)

    async def _look_here(self, trigger: Trigger, _: bool) -> _Here:
        subject = trigger.source.subject
        async with self._records.connect() as conn:
            recent = await incidents.list_recent(conn, trigger.repository.id, limit=200)
            found = [each for each in recent if _concerns(each, subject)]
            # What is open comes first; of what is over only the latest is of interest.
            chosen = [each for each in found if each.is_open] or found[:1]
            all_runs = [r for each in chosen for r in await runs.of_incident(conn, each.id)]
        return _Here(incidents=tuple(chosen), runs=tuple(all_runs))

    # --- answers ---

    async def _nothing_here(self, run: Run, trigger: Trigger, client: RepositoryClient) -> None:
        text = replies.nothing_here(trigger.actor, trigger.request.command)
        await self._answer(run, trigger, client, text, Emotion.REFUSED)

    async def _refuse(
        self, run: Run, trigger: Trigger, client: RepositoryClient, reason: str, remedy: str
    ) -> None:
        text = replies.refusal(trigger.actor, reason, remedy)
        await self._answer(run, trigger, client, text, Emotion.REFUSED)

    async def _answer(
        self,
        run: Run,
        trigger: Trigger,
        client: RepositoryClient,
        text: str,
        emotion: Emotion = Emotion.DONE,
    ) -> None:
        subject = trigger.source.subject
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
        await self._react(run, trigger, client, emotion)

    async def _react(
        self, run: Run, trigger: Trigger, client: RepositoryClient, emotion: Emotion
    ) -> None:
        subject = _REACTS.get(trigger.source.kind)
        if subject is None:
            return

        async def react(_: bool) -> bool:
            await client.reactions.ensure_reaction(subject, int(trigger.source.object_id), emotion)
            return True

        await run.step(f"react with {emotion}", bool, react)


def _concerns(incident: Incident, subject: int | None) -> bool:
    if subject is None:
        return False
    named = f"pull_request:{subject}" in incident.subject.split("+")
    return named or incident.issue == subject or subject in incident.prs
