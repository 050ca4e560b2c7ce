"""Runs that an update of this bot ended: what they left is written down, and people are told once.

A journal that this code cannot replay takes no more steps, so the telling is a Run of its own.
What only looks (a judge), or follows what machines say (a triage), is begun again by it: nobody has
to ask for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import LazyModule, markdown
from bot.commands import replies
from bot.commands.answer import TriggerAnswer, Writing
from bot.github.calls.issues import Emotion
from bot.github.client import GitHub, RepositoryClient
from bot.playbooks.run import Run as EngineRun
from bot.playbooks.run import StepFailed, attempt
from bot.playbooks.steps import Step
from bot.records import alerts, approvals, incidents, runs
from bot.records.audit import chain
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus
from bot.slash_commands import PLAYBOOKS
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.allocation import Decided
from bot.triggers import (
    OURSELVES,
    JudgeRequest,
    Source,
    SourceKind,
    TriageRequest,
    Trigger,
    Value,
    derived_id,
)

if TYPE_CHECKING:
    from bot.playbooks.incident import workflow as incident_workflow
else:
    incident_workflow = LazyModule("bot.playbooks.incident.workflow")

log = structlog.get_logger(__name__)

_ON_TRIAL = ("shadow", "ramp")
_MERGED = (IncidentStatus.MITIGATED, IncidentStatus.RESOLVED, IncidentStatus.CLOSED)


class StrandedRun(Value):
    """A Run that cannot go on: it is `over`, or `parked` until another release is back.

    `given_up` is one that was parked until somebody ended it.
    """

    run: str
    trigger: Trigger
    fate: Literal["over", "parked"]
    given_up: bool = False

    @property
    def id(self) -> str:
        """The id of the Run that tells people, the same however often it is started."""
        return f"settle:{self.fate}:{self.run}"


class _Left(Value):
    """What it left behind: its incident, and the Run that follows its alerts from now on."""

    incident: Incident | None = None
    follower: str | None = None


class StrandedRuns:
    """Tells people about a Run that an update ended, and leaves its incident free for `/retry`."""

    def __init__(
        self, github: GitHub, put: Callable[[Trigger], Awaitable[object]], writing: Writing
    ) -> None:
        """Prepare.

        Args:
            github: where people are told.
            put: asks for something again.
            writing: puts answers where they were asked for.
        """
        self._github = github
        self._put = put
        self._writing = writing

    async def tell(self, run: EngineRun, stranded: StrandedRun) -> None:
        """Write it down, correct what is said of it, and tell whoever asked."""
        trigger = stranded.trigger
        client = self._github.repository(trigger.repository, playbook=trigger.request.command)
        now = await run.now()
        again = _again(run, trigger, now)
        try:
            left = await self._write_down(run, stranded, _id_of(again), now)
            if isinstance(trigger.request, JudgeRequest):
                # Nobody waits for its answer, and it only looks: it looks again.
                return await self._ask(run, again)
            if left.follower == _id_of(again):
                await self._ask(run, again)
            # Whoever follows its alerts now says on the issue where they stand.
            if left.incident is not None and stranded.fate == "over" and left.follower is None:
                await self._correct(run, client, left.incident)
            await self._say(run, client, stranded, left)
        except StepFailed as deaf:
            log.error("nobody could be told", run=stranded.run, why=str(deaf))

    async def broke(self, run: EngineRun, stranded: StrandedRun, failed: StepFailed) -> None:
        """This bot itself is at fault: there is nobody left to tell but the log."""
        log.error("nobody could be told", run=stranded.run, teller=run.id, why=str(failed))

    async def _write_down(
        self, run: EngineRun, stranded: StrandedRun, another: str, now: datetime
    ) -> _Left:
        async def change(conn: AsyncConnection) -> _Left:
            follower = await _follower(conn, stranded, another)
            known = await runs.find(conn, stranded.run)
            if known is None or known.incident_id is None:
                return _Left(follower=follower)
            incident = await incidents.find(conn, known.incident_id)
            if stranded.fate == "over":
                await approvals.void(conn, known.id, now)
                await chain.append(
                    conn,
                    known.repository_id,
                    "run.stranded",
                    actor=known.actor,
                    at=now,
                    incident=known.incident_id,
                    run=known.id,
                    data={"why": runs.STRANDED},
                )
                state, headline = _stands(incident, follower)
                await runs.stand(conn, known.id, at=now, state=state, headline=headline)
                if incident is not None and incident.kind in _ON_TRIAL:
                    # Nobody watches the candidate any more: users get the baseline.
                    incident = await _end_trial(conn, incident, run.id, now)
            return _Left(incident=incident, follower=follower)

        return await run.write(Step.SETTLE_STRANDED, _Left, change)

    async def _correct(self, run: EngineRun, client: RepositoryClient, incident: Incident) -> None:
        """Have the status and the issue begin with what is to be done now."""
        headline = f"**{_headline(incident)}**"
        places = {incident.issue, *incident.prs, *_pull_requests_of(incident)} - {None}

        async def correct(_: bool) -> bool:
            for number in sorted(each for each in places if each is not None):
                found = await client.comments.find_ours(
                    number,
                    f"status:{incident.id}",
                    since=incident.detected_at - incident_workflow.CLOCKS_DIFFER_BY,
                )
                if found is not None:
                    await client.comments.edit(found, _with_headline(found.body or "", headline))
            if incident.issue is not None:
                issue = await client.issues.get(incident.issue)
                await client.issues.update(
                    incident.issue, body=_with_headline(issue.body or "", headline)
                )
                if incident.kind in _ON_TRIAL:
                    await client.issues.close(incident.issue, "not_planned")
                elif _is_over(incident):
                    resolved = incident.status in _MERGED
                    await client.issues.close(
                        incident.issue, "completed" if resolved else "not_planned"
                    )
            return True

        what = "correct the status"
        await attempt(run, Step.UPDATE_STRANDED_STATUS, bool, correct, what=what, otherwise=False)

    async def _say(
        self,
        run: EngineRun,
        client: RepositoryClient,
        stranded: StrandedRun,
        left: _Left,
    ) -> None:
        trigger, incident = stranded.trigger, left.incident
        if left.follower is not None:
            text = replies.followed_again()
        elif stranded.fate == "over" and incident is not None and _is_over(incident):
            text = replies.ended_meanwhile()
        elif trigger.request.command not in PLAYBOOKS and incident is None:
            text = replies.say_again(trigger.actor, trigger.request.command)
        elif stranded.fate == "parked":
            text = replies.parked(trigger.actor)
        else:
            text = replies.stranded(
                trigger.actor,
                _open_things(incident),
                merged=incident is not None and incident.status in _MERGED,
                issue=None if incident is None else incident.issue,
            )
        if trigger.source.kind is SourceKind.COCKPIT:
            return await TriggerAnswer(run, trigger, client, self._writing).say(
                text, Emotion.REFUSED
            )
        number = trigger.source.subject or (None if incident is None else incident.issue)
        if number is None:
            return None

        async def comment(look_first: bool) -> bool:
            await client.comments.ensure_comment(
                number,
                key=stranded.id,
                body=text,
                since=trigger.received_at,
                look_first=look_first,
            )
            return True

        what = f"comment on #{number}"
        await attempt(run, Step.TELL_STRANDED, bool, comment, what=what, otherwise=False)
        return None

    async def _ask(self, run: EngineRun, again: Trigger) -> None:
        async def put(_: bool) -> bool:
            await self._put(again)
            return True

        await run.step(Step.REQUEST_PLAYBOOK.of(again.request.command), bool, put)


def _again(run: EngineRun, trigger: Trigger, now: datetime) -> Trigger:
    """The same request once more; asked for once, however often it is put."""
    return Trigger(
        source=Source(kind=SourceKind.RUN, object_id=run.id),
        repository=trigger.repository,
        actor=trigger.actor,
        received_at=now,
        request=trigger.request,
    )


def _id_of(trigger: Trigger) -> str:
    """The id that the Run of a Trigger has."""
    return derived_id(trigger.key, trigger.received_at)


async def _follower(conn: AsyncConnection, stranded: StrandedRun, another: str) -> str | None:
    """Who follows the alerts of a triage from now on; None: nobody does, or it is no triage.

    What still follows them when it ends is replaced by `another`. Somebody's `/retry` may have
    been quicker; and what had let them go already, or was given up, is not begun again.
    """
    request = stranded.trigger.request
    if not isinstance(request, TriageRequest) or stranded.fate != "over":
        return None
    group = await alerts.find(conn, request.group, lock=True)
    if group is None or not group.followed:
        return None
    if group.run != stranded.run:
        return group.run
    if stranded.given_up:
        await alerts.let_go(conn, group.id)
        return None
    await alerts.follow(conn, group.id, another)
    return another


async def _end_trial(
    conn: AsyncConnection, incident: Incident, run: str, now: datetime
) -> Incident:
    """Close a shadow or ramp that nobody watches, and give its traffic to the baseline."""
    ledger = await ledgers.find(conn, incident.id)
    if incident.is_open:
        incident = await incidents.move(conn, incident.id, IncidentStatus.DECLINED, at=now)
    if ledger is None or ledger.closed_at is not None:
        return incident
    await ledgers.close(conn, incident.id, at=now)
    serving = await allocation.find(conn, ledger.repository_id, ledger.capability)
    if serving is not None and serving.split.attempt == incident.id:
        decided = Decided(
            at=now, actor=OURSELVES.login, why=runs.STRANDED, run=run, incident=incident.id
        )
        await allocation.set_traffic(
            conn,
            ledger.repository_id,
            ledger.capability,
            allocation.at_baseline(serving.split),
            decided,
        )
    return incident


def _stands(
    incident: Incident | None, follower: str | None
) -> tuple[Literal["working", "needs you", "done"], str]:
    """Where it stands from now on, and the one next thing to do."""
    if follower is not None:
        return "working", "In progress: this bot was updated, and follows these alerts again."
    is_over = incident is not None and _is_over(incident)
    return "done" if is_over else "needs you", _headline(incident)


def _is_over(incident: Incident) -> bool:
    """Whether it is about alerts that are over, and only its issue was left to close."""
    return incident.kind == alerts.KIND and not incident.is_open


def _headline(incident: Incident | None) -> str:
    if incident is not None and _is_over(incident):
        return "Done: this is over."
    if incident is not None and incident.status in _MERGED:
        return "Check that the branch is green, then close this issue: nobody watches it any more."
    if incident is not None and incident.kind in _ON_TRIAL:
        return (
            f"Comment `/retry` for another {incident.kind}: this bot was updated, which ended this "
            "one. Everybody gets the baseline."
        )
    return "Comment `/retry`: this bot was updated, and what was under way here has ended."


def _with_headline(body: str, headline: str) -> str:
    """Put the headline in place of the first line, where that is one."""
    first, newline, rest = body.partition("\n")
    if first.startswith("**") and first.rstrip().endswith("**"):
        return f"{headline}{newline}{rest}"
    return f"{headline}\n\n{body}"


def _pull_requests_of(incident: Incident) -> list[int]:
    """The pull requests that an incident is about."""
    named = [each.partition(":") for each in incident.subject.split("+")]
    return [int(number) for kind, _, number in named if kind == "pull_request" and number.isdigit()]


def _open_things(incident: Incident | None) -> list[str]:
    if incident is None or incident.status in _MERGED:
        return []
    return [f"pull request {markdown.code(f'#{number}')}" for number in incident.prs]
