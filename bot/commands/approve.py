"""A yes or no to a plan: who may give it, to exactly which plan, and until when."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.commands import replies
from bot.commands.answer import Reply
from bot.github.client import GitHub, RepositoryClient
from bot.playbooks.pull_request.ownership import (
    SHOWN,
    Against,
    Foreign,
    against,
    is_named,
    read_foreign,
)
from bot.playbooks.pull_request.ownership import WHY as FOREIGN
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records import approvals, gate_reports, runs
from bot.records.approvals import Approval
from bot.records.database import reading
from bot.records.lifecycle import IllegalMove
from bot.records.runs import StoredRun as WaitingRun
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import Objection, founders_of, is_founder, objection_to
from bot.safety.self_workers import Marked, read_held
from bot.triggers import LATE, ApproveRequest, SourceKind, Trigger, Value


class _Asked(Value):
    """What is asked for, and whose answer counts."""

    approval: Approval | None
    founders: tuple[str, ...] = ()
    asked_about: str | None = None
    """The commit that is asked about, of a pull request of ours; None where there is none yet."""
    now: str | None = None
    """That pull request's head now."""
    named: str | None = None
    """The commit that was named, or on whose check-run the button was pressed."""
    foreign: Foreign | None = None
    """Whose head it is, where we ask about one that we did not make."""
    held: bool = False
    """Whether whoever answers writes self-work; read only of such a head."""
    before: frozenset[str] = frozenset()
    """The commits that were asked about before, by other plans."""
    founders_stage: bool = False
    """Whether it is a stage of a ramp that only a Founder lets in: no plan is asked about."""


class _Decided(Value):
    """The plan that was decided about; without a commit, `refused` says why not."""

    commit: str = ""
    refused: str = ""


class ApproveCommands:
    """Decides requests that are bound to one plan; some only a Founder may decide."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        config: ConfigInForce,
        founders: Sequence[str],
    ) -> None:
        """Prepare; `founders` are those of the process settings."""
        self._github = github
        self._records = records
        self._config = config
        self._founders = founders

    async def decide(
        self, run: Run, trigger: Trigger, waiting: str, *, yes: bool
    ) -> Reply | str | None:
        """Decide what the Run `waiting` asks for.

        Returns:
            The commit decided about; a Reply that says why not; None where no plan is asked about.
        """

        async def look(_: bool) -> _Asked:
            return await self._asked(trigger, waiting)

        asked = await run.step(Step.READ_APPROVERS, _Asked, look)
        approval, founders, actor = asked.approval, asked.founders, trigger.actor
        if yes and (refused := _not_to_this(trigger, asked)):
            return refused
        if yes and asked.founders_stage and not is_founder(actor.login, founders):
            return _refused(trigger, *_only_founders(founders, _STAGE))
        if approval is None or approval.state == "void":
            return None
        if yes and (refused := _to_another_plan(trigger, approval, asked.before)):
            return refused
        if approval.of == "person" and approval.state != "pending":
            return None
        if approval.of == "founder" and (refused := _may_not(trigger, approval, founders, yes=yes)):
            return refused
        now = await run.now()

        async def change(conn: AsyncConnection) -> _Decided:
            try:
                decided = await approvals.decide(
                    conn, approval.id, "approved" if yes else "rejected", by=actor.login, at=now
                )
            except IllegalMove as why:
                return _Decided(refused=str(why))
            return _Decided(commit=decided.commit)

        decided = await run.write(Step.RECORD_DECISION, _Decided, change)
        if decided.refused:
            return _refused(
                trigger,
                f"Nothing was decided: {decided.refused}.",
                "`/status` says where it stands; `/retry` asks again.",
            )
        return decided.commit

    async def _asked(self, trigger: Trigger, waiting: str) -> _Asked:
        async with reading(self._records).connect() as conn:
            approval = await approvals.latest(conn, waiting)
            before = frozenset[str]()
            if approval is not None:
                before = await approvals.asked_otherwise(conn, approval)
            run = await runs.find(conn, waiting)
        client = self._github.repository(trigger.repository, playbook="approve", recovery=True)
        asked = _Asked(approval=approval, before=before)
        if run is not None and run.watch_pull_request is not None:
            asked = await self._about(client, trigger, run, asked)
        founders_stage = run is not None and run.reason == approvals.FOUNDERS_STAGE
        if approval is None and not founders_stage:
            return asked
        config = (await self._config.of(trigger.repository)).config
        founders = await founders_of(client, config, self._founders)
        return asked.model_copy(update={"founders": founders, "founders_stage": founders_stage})

    async def _about(
        self, client: RepositoryClient, trigger: Trigger, run: WaitingRun, asked: _Asked
    ) -> _Asked:
        """Read what is there now of the pull request that a Run asks about."""
        pull = await client.pulls.get(run.watch_pull_request or 0)
        approval = asked.approval
        is_foreign = run.reason == FOREIGN
        bound = approval is not None and approval.state == "pending"
        if approval is not None and (bound or approval.commit == pull.head.sha):
            about: str | None = approval.commit
        else:
            about = run.watch_head_sha
        asked = asked.model_copy(update={"now": pull.head.sha, "asked_about": about})
        if is_foreign and bound:
            config = (await self._config.of(trigger.repository)).config
            held = await read_held(
                client, config, self._marked(trigger.repository.id), trigger.received_at
            )
            foreign = await read_foreign(client, pull) or Foreign(head=pull.head.sha)
            is_held = await held.why(trigger.actor.login) is not None
            named = await _named(client, trigger)
            asked = asked.model_copy(update={"foreign": foreign, "held": is_held, "named": named})
        return asked

    def _marked(self, repository: int) -> Marked:
        async def marked(numbers: Collection[int]) -> Collection[int]:
            async with reading(self._records).connect() as conn:
                return await gate_reports.marked(conn, repository, numbers)

        return marked


async def _named(client: RepositoryClient, trigger: Trigger) -> str | None:
    """The commit that an answer is to: the one named, or the one whose button was pressed."""
    request = trigger.request
    if isinstance(request, ApproveRequest) and request.approval is not None:
        return request.approval
    if trigger.source.kind is SourceKind.CHECK_RUN:
        check_run = await client.checks.get(int(trigger.source.object_id.partition(":")[0]))
        return check_run.head_sha
    return None


def _not_to_this(trigger: Trigger, asked: _Asked) -> Reply | None:
    """A yes holds for the commit that was asked about, and for no other that is there now."""
    about, now, login = asked.asked_about, asked.now, trigger.actor.login
    if about is None or now is None:
        return None
    if asked.foreign is None:
        return _moved(trigger, about, now) if about != now else None
    objection = against(
        login,
        asked.named,
        about,
        asked.foreign,
        of=asked.approval.of if asked.approval else "founder",
        founders=asked.founders,
        is_held=asked.held,
    )
    command = markdown.code(f"/approve {now[:SHOWN]}")
    match objection:
        case None:
            return None
        case Against.MOVED:
            return _moved(trigger, about, now)
        case Against.NOT_NAMED:
            return _refused(
                trigger,
                "The commit that waits here was not made by me, so an approval has to name it.",
                f"Read {markdown.code(now[:SHOWN])}, then comment {command}.",
            )
        case Against.THEIR_OWN:
            makers = ", ".join(markdown.code(each) for each in asked.foreign.makers)
            return _refused(
                trigger,
                f"Nobody may approve commits that they wrote or pushed themselves ({makers}).",
                f"Ask somebody else to read it and comment {command}.",
            )
        case Against.HELD:
            return _refused(
                trigger,
                "Nobody who writes self-work may approve what others pushed to my branch.",
                f"Ask somebody else to read it and comment {command}.",
            )
        case Against.NO_FOUNDER:
            return _refused(trigger, *_only_founders(asked.founders))


def _to_another_plan(trigger: Trigger, approval: Approval, before: Collection[str]) -> Reply | None:
    """A yes that was on its way while the plan was made or changed is to what was before."""
    too_early = approval.asked_at - trigger.received_at
    if too_early <= (timedelta() if before else LATE):
        return None
    request = trigger.request
    named = request.approval if isinstance(request, ApproveRequest) else None
    if named is not None and approval.commit not in before and is_named(named, approval.commit):
        return None
    return _refused(
        trigger,
        "Nothing was approved: the plan was made or changed after you wrote this.",
        "Read it as it stands now, and `/approve` it again if you agree.",
    )


def _moved(trigger: Trigger, about: str, now: str) -> Reply:
    return _refused(
        trigger,
        f"Nothing was approved: the question was about {markdown.code(about[:SHOWN])}, and "
        f"{markdown.code(now[:SHOWN])} is there now.",
        f"Read it. If it is what you want merged: {markdown.code(f'/approve {now[:SHOWN]}')}.",
    )


def _may_not(
    trigger: Trigger, approval: Approval, founders: Sequence[str], *, yes: bool
) -> Reply | None:
    """Only a Founder answers, and says yes to no wish of their own while there is another."""
    login = trigger.actor.login
    objection = objection_to(login, founders, asked_by=approval.requested_by)
    if objection is Objection.NO_FOUNDER:
        return _refused(trigger, *_only_founders(founders))
    if yes and objection is Objection.THEIR_OWN:
        others = [each for each in founders if each.lower() != login.lower()]
        return _refused(trigger, *_not_ones_own(others))
    return None


def _refused(trigger: Trigger, reason: str, remedy: str) -> Reply:
    return Reply(text=replies.refusal(trigger.actor, reason, remedy), done=False)


_STAGE = "The policy has only a Founder approve this stage"


def _only_founders(
    founders: Sequence[str], why: str = "This cannot be undone, so only a Founder decides it"
) -> tuple[str, str]:
    names = ", ".join(markdown.code(each) for each in founders) or "nobody is one now"
    return (
        f"{why} ({names}).",
        "Ask a Founder to read the plan and comment here.",
    )


def _not_ones_own(others: Sequence[str]) -> tuple[str, str]:
    names = ", ".join(markdown.code(each) for each in others)
    return "Nobody may approve what they asked for themselves.", f"Ask another Founder: {names}."
