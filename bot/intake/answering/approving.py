"""A yes or no to a plan: who may give it, to exactly which plan, and until when."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.github.client import GitHub
from bot.intake.answering import replies
from bot.intake.answering.answer import Reply
from bot.playbooks.run import Run
from bot.records.database import reading
from bot.records.refusals import IllegalMove
from bot.records.safety import approvals
from bot.records.safety.approvals import Approval
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import Objection, founders_of, objection_to
from bot.triggers import Trigger, Value


class _Asked(Value):
    """What is asked for, and whose answer counts."""

    approval: Approval | None
    founders: tuple[str, ...] = ()


class _Decided(Value):
    """The plan that was decided about; without a commit, `refused` says why not."""

    commit: str = ""
    refused: str = ""


class Approving:
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

        asked = await run.step("see whose answer counts", _Asked, look)
        approval, founders, actor = asked.approval, asked.founders, trigger.actor
        if approval is None or approval.state == "void":
            return None
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

        decided = await run.write("write the decision down", _Decided, change)
        if decided.refused:
            return _refused(
                trigger,
                f"Nothing was decided: {decided.refused}.",
                "`/status` says where it stands; `/retry` asks anew.",
            )
        return decided.commit

    async def _asked(self, trigger: Trigger, waiting: str) -> _Asked:
        async with reading(self._records).connect() as conn:
            approval = await approvals.latest(conn, waiting)
        if approval is None:
            return _Asked(approval=None)
        client = self._github.repository(trigger.repository, playbook="approve", recovery=True)
        config = (await self._config.of(trigger.repository)).config
        return _Asked(approval=approval, founders=await founders_of(client, config, self._founders))


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


def _only_founders(founders: Sequence[str]) -> tuple[str, str]:
    names = ", ".join(markdown.code(each) for each in founders) or "nobody is one now"
    return (
        f"This cannot be undone, so only a Founder decides it ({names}).",
        "Ask a Founder to read the plan and comment here.",
    )


def _not_ones_own(others: Sequence[str]) -> tuple[str, str]:
    names = ", ".join(markdown.code(each) for each in others)
    return "Nobody approves what they asked for themselves.", f"Ask another Founder: {names}."
