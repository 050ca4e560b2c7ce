"""The records of one Run, kept in the same order whatever the playbook.

Each change of an incident or a Run and its audit entry are one transaction; the chain's new head,
signed, is what the reports and the records branch carry.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Literal, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.incident.context import Opened, Refs
from bot.playbooks.incident.ports import (
    approvals,
    budgets,
    chain,
    incidents,
    notifications,
    runs,
)
from bot.playbooks.run import Run
from bot.playbooks.steps import AnyStep, Step
from bot.playbooks.undo import Undone
from bot.records.approvals import ASKED
from bot.records.audit.anchors import Anchor, sign
from bot.records.lifecycle import IncidentStatus, RunState
from bot.records.notifications import FOUNDER
from bot.triggers import Severity, Trigger, Value

_PATHS_NOTED = 20
Change = Callable[[AsyncConnection, datetime], Awaitable[None]]


class PlanAsked(Protocol):
    """A plan that somebody has to approve."""

    @property
    def of(self) -> Literal["founder", "person"]:
        """Whose yes counts."""

    @property
    def digest(self) -> str:
        """Names the plan by its content."""

    @property
    def expires_after(self) -> timedelta:
        """How long the question stands."""

    @property
    def irreversible(self) -> tuple[str, ...]:
        """The paths that nothing brings back."""


class _Noted(Value):
    anchor: Anchor
    severity: Severity


class IncidentRecorder:
    """Writes down what one Run does about its incident.

    Attributes:
        anchor: the signed end of the audit chain after the last thing written.
        severity: the incident's, as of then: people may change it any time.
    """

    def __init__(
        self, run: Run, trigger: Trigger, opened: Opened, signing_key: Ed25519PrivateKey
    ) -> None:
        """Continue where `begin` ended."""
        self.anchor = opened.anchor
        self.severity = opened.incident.severity
        self._run = run
        self._trigger = trigger
        self._incident = opened.incident.id
        self._signing_key = signing_key

    async def issue(self, number: int) -> None:
        """Note the incident issue: from now on commands on it find this Run."""
        incident = self._incident

        async def change(conn: AsyncConnection, _: datetime) -> None:
            await incidents.refer(conn, incident, issue=number)

        await self._write(Step.RECORD_INCIDENT_ISSUE, "issue.opened", change, {"issue": number})

    async def papers(self, *, adr: str, artifact: str) -> None:
        """Note where the decision record and the report will be found."""
        incident, run = self._incident, self._run.id

        async def change(conn: AsyncConnection, now: datetime) -> None:
            await incidents.refer(conn, incident, adr=adr)
            await runs.note(conn, run, at=now, artifact_path=artifact)

        refs: Refs = {"adr": adr, "artifact": artifact}
        await self._write(Step.RECORD_FILE_PATHS, "papers.placed", change, refs)

    async def hotfix(
        self,
        action: str,
        *,
        issue: int | None,
        pull_request: int | None,
        adr: str,
        artifact: str,
        head: str,
        refs: Refs,
    ) -> None:
        """Note a published proposal; from now on deliveries about it wake this Run."""
        incident, run = self._incident, self._run.id

        async def change(conn: AsyncConnection, now: datetime) -> None:
            await incidents.refer(conn, incident, issue=issue, adr=adr, pull_request=pull_request)
            await runs.note(conn, run, at=now, artifact_path=artifact)
            await runs.watch(conn, run, at=now, head_sha=head, pull_request=pull_request)
            await _reach(conn, run, RunState.VERIFYING, now)

        await self._write(Step.RECORD_PROPOSAL, action, change, refs)

    async def wait_for_approval(self, why: str, head: str, plan: PlanAsked | None = None) -> None:
        """Note that a person has to approve: only now does `/approve` find this Run.

        Args:
            why: the doubt.
            head: the commit it is about.
            plan: the plan that the answer is bound to, where there is one.
        """
        run = self._run.id
        refs: Refs = {"commit": head}
        if plan is not None:
            refs["plan_digest"] = plan.digest
            refs["irreversible"] = list(plan.irreversible[:_PATHS_NOTED])

        async def change(conn: AsyncConnection, now: datetime) -> None:
            known = await runs.find(conn, run)
            if known is not None and known.state is RunState.AWAITING_APPROVAL:
                await runs.move(conn, run, RunState.RUNNING, at=now)
            await runs.move(conn, run, RunState.AWAITING_APPROVAL, at=now, reason=why)
            if plan is not None:
                await runs.note(conn, run, at=now, plan_digest=plan.digest)
                await approvals.ask(
                    conn,
                    run,
                    self._trigger.repository.id,
                    of=plan.of,
                    commit=head,
                    plan_digest=plan.digest,
                    requested_by=self._trigger.actor.login,
                    at=now,
                    expires_at=now + plan.expires_after,
                )

        await self._write(Step.REQUEST_APPROVAL, ASKED, change, refs, why)

    async def approved(self, why: str, head: str, by: str, checks: tuple[str, ...] = ()) -> None:
        """Note who approved what of which commit, and without which checks."""
        refs: Refs = {"commit": head, "by": by}
        if checks:
            refs["checks"] = list(checks)
        await self._write(Step.RECORD_APPROVAL, "approval.given", self._verifying, refs, why)

    async def need_no_approval(self, why: str, head: str, *, asks_again: bool = False) -> None:
        """Note that what had to be approved has changed meanwhile.

        Args:
            why: the doubt.
            head: the commit it was about.
            asks_again: whether something else is asked next: `/approve` finds this Run all along.
        """
        run = self._run.id

        async def change(conn: AsyncConnection, now: datetime) -> None:
            await approvals.void(conn, run, now)
            if not asks_again:
                await _reach(conn, run, RunState.VERIFYING, now)

        refs: Refs = {"commit": head}
        await self._write(Step.VOID_APPROVAL, "approval.void", change, refs, why)

    async def _verifying(self, conn: AsyncConnection, now: datetime) -> None:
        await _reach(conn, self._run.id, RunState.VERIFYING, now)

    async def undoing(self, step: AnyStep, why: str) -> None:
        """Note that a step failed, and that what the Run did is being undone."""
        run = self._run.id

        async def change(conn: AsyncConnection, now: datetime) -> None:
            await runs.move(conn, run, RunState.COMPENSATING, at=now, reason=f"{step.label}: {why}")

        await self._write(Step.BEGIN_COMPENSATION, "run.undoing", change, {"step": step.id}, why)

    async def broke_off(self, step: AnyStep, why: str, undone: Undone | None = None) -> None:
        """Note that a step failed and what was undone, and end the Run.

        The incident stays open for another attempt.
        """
        run = self._run.id

        async def change(conn: AsyncConnection, now: datetime) -> None:
            known = await runs.find(conn, run)
            state = RunState.FAILED
            if known is not None and known.state is RunState.COMPENSATING:
                whole = undone is None or undone.is_whole
                state = RunState.ROLLED_BACK if whole else RunState.ROLLBACK_FAILED
            await approvals.void(conn, run, now)
            await runs.move(conn, run, state, at=now, reason=f"{step.label}: {why}")
            if state is RunState.ROLLBACK_FAILED and undone is not None:
                await self._escalate(conn, undone, now)

        refs: Refs = {"step": step.id, **({} if undone is None else undone_refs(undone))}
        refs |= self._not_done()
        await self._write(Step.END_RUN, "run.failed", change, refs, why)

    async def call_founder(self, step: AnyStep, why: str) -> None:
        """Tell the Founder that a Run failed, where nobody could be told in the repository."""
        now, run, trigger = await self._run.now(), self._run.id, self._trigger

        async def change(conn: AsyncConnection) -> bool:
            await notifications.post(
                conn,
                f"{run}:untold",
                repository_id=trigger.repository.id,
                incident_id=self._incident,
                audience=FOUNDER,
                title=f"Broke off in {trigger.repository.full_name}",
                body=f"A run failed ({step.label}: {why}), and I cannot say so there. If the App "
                "does not have the repository any more, the rest is left to people; once it has it "
                "again, `/retry` begins once more.",
                at=now,
            )
            return True

        await self._run.write(Step.CALL_FOUNDER, bool, change)

    async def _escalate(self, conn: AsyncConnection, undone: Undone, now: datetime) -> None:
        """Tell the Founder that something is left which nobody wanted."""
        left = ", ".join(each.step.label for each in undone.left)
        await notifications.post(
            conn,
            f"{self._run.id}:left",
            repository_id=self._trigger.repository.id,
            incident_id=self._incident,
            audience=FOUNDER,
            title=f"Not undone in {self._trigger.repository.full_name}",
            body=f"A run failed, and could not undo: {left}. Its incident says how to do it.",
            at=now,
        )

    async def move(
        self,
        action: str,
        status: IncidentStatus,
        *,
        refs: Refs | None = None,
        watch: str | None = None,
        pull_request: int | None = None,
    ) -> None:
        """Move the incident along its life; `watch` names a commit whose checks matter now."""
        incident, run = self._incident, self._run.id

        async def change(conn: AsyncConnection, now: datetime) -> None:
            await incidents.move(conn, incident, status, at=now)
            known = await runs.find(conn, run)
            if watch is not None and known is not None and known.state is RunState.COMPENSATING:
                # What was to be undone had been merged a moment before.
                await runs.move(conn, run, RunState.VERIFYING, at=now)
            if watch is not None:
                await runs.watch(conn, run, at=now, head_sha=watch, pull_request=pull_request)

        await self._write(Step.MOVE_INCIDENT.of(status), action, change, refs)

    async def note(self, step: AnyStep, action: str, refs: Refs) -> None:
        """Write something down that changes neither the incident nor the Run."""

        async def change(conn: AsyncConnection, _: datetime) -> None:
            del conn

        await self._write(step, action, change, refs)

    async def finish(self, state: RunState, artifact_sha256: str | None) -> None:
        """End the Run; None: it wrote no report, as a ramp that never began."""
        run = self._run.id

        async def change(conn: AsyncConnection, now: datetime) -> None:
            await runs.note(conn, run, at=now, artifact_sha256=artifact_sha256)
            await _reach(conn, run, state, now)
            known = await runs.find(conn, run)
            if known is not None and known.playbook == "revert" and not known.watch_pull_request:
                # Nobody had it begin, or it was called off before: nothing limited was used.
                await budgets.give_back(conn, known.repository_id, known.trigger_key)

        refs: Refs = {"state": state, **self._not_done()}
        if artifact_sha256 is not None:
            refs["artifact_sha256"] = artifact_sha256
        await self._write(Step.FINISH_RUN, "run.finished", change, refs)

    def _not_done(self) -> Refs:
        """What was tried beside the recovery and refused: told once, where the Run ends."""
        left = self._run.untold.left
        return {"not_done": [f"{each.what}: {each.why}" for each in left]} if left else {}

    async def _write(
        self, step: AnyStep, action: str, change: Change, refs: Refs | None = None, why: str = ""
    ) -> None:
        now = await self._run.now()

        async def write(conn: AsyncConnection) -> _Noted:
            await change(conn, now)
            found = await incidents.find(conn, self._incident)
            entry = await chain.append(
                conn,
                self._trigger.repository.id,
                action,
                actor=self._trigger.actor.login,
                at=now,
                incident=self._incident,
                run=self._run.id,
                refs=refs,
                data={"why": why} if why else None,
            )
            return _Noted(
                anchor=sign(entry.head, self._signing_key, now),
                severity=found.severity if found else self.severity,
            )

        noted = await self._run.write(step, _Noted, write)
        self.anchor, self.severity = noted.anchor, noted.severity


def undone_refs(undone: Undone) -> Refs:
    """What was undone, for the audit."""
    return {
        "undone": [each.id for each in undone.taken],
        "left": [each.step.id for each in undone.left],
        "merged": undone.merged,
    }


async def _reach(conn: AsyncConnection, run: str, state: RunState, at: datetime) -> None:
    """Move a Run; what waited for an approval goes back to work first."""
    known = await runs.find(conn, run)
    if state in (RunState.ROLLED_BACK, RunState.ROLLBACK_FAILED):
        await runs.move(conn, run, RunState.COMPENSATING, at=at)
    waited = known is not None and known.state is RunState.AWAITING_APPROVAL
    if waited and state in (RunState.VERIFYING, RunState.SUCCEEDED):
        await runs.move(conn, run, RunState.RUNNING, at=at)
        await runs.move(conn, run, RunState.VERIFYING, at=at)
    elif known is not None and known.state is RunState.RUNNING and state is RunState.SUCCEEDED:
        await runs.move(conn, run, RunState.VERIFYING, at=at)
    await runs.move(conn, run, state, at=at)
