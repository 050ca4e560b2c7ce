"""`/pause`, `/unpause`, and `/approve` where the gate holds one pull request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.commands import replies
from bot.commands.answer import Reply
from bot.config import Config
from bot.github.client import GitHub, RepositoryClient
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records import answered, gate_reports, pauses
from bot.records.database import reading
from bot.records.gate_reports import GateReport
from bot.records.lifecycle import StaleVersion
from bot.records.pauses import Pause, PauseKind, Pausing
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import founders_of
from bot.safety.self_workers import LATELY, Lifting, judge_lifting, marked_in, read_held
from bot.traffic import allocation
from bot.triggers import (
    LATE,
    SELF_WORK,
    Actor,
    PauseRequest,
    Repository,
    Role,
    SourceKind,
    Trigger,
    UnpauseRequest,
    Value,
)

MAY_EXEMPT = Role.MAINTAIN
_MOST_NAMED = 5


class _Asked(Value):
    """What a wish to lift rests on."""

    held: tuple[Pause, ...]
    lifting: Lifting = Lifting()
    """Whether the asker may: whoever's work is held does not lift it."""
    is_later: bool = False
    """Whether the only pause that can be meant was set by a comment written after the wish."""


class _Head(Value):
    """The pull request a commit is to be let through of."""

    pause: Pause | None
    report: GateReport | None = None
    now: str | None = None
    lifting: Lifting = Lifting()


async def pausable(conn: AsyncConnection, repository_id: int, config: Config) -> list[str]:
    """Name the capabilities that can be paused: also one that has its traffic under an old name.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository.
        config: as it counts there.
    """
    served = await allocation.of_repository(conn, repository_id)
    return sorted({*config.capabilities, *(each.capability for each in served)})


class PauseCommands:
    """Carries out wishes about pauses."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        config: ConfigInForce,
        founders: Sequence[str],
    ) -> None:
        """Prepare.

        Args:
            github: to look at pull requests and roles.
            records: of pauses and of what the gate said.
            config: says who the agents and the Founders are.
            founders: those of the process settings.
        """
        self._github = github
        self._records = records
        self._config = config
        self._founders = founders

    async def pause(self, run: Run, trigger: Trigger, request: PauseRequest) -> Reply:
        """Hold self-work or a capability."""
        known = await run.step(
            Step.READ_PAUSABLE, list[str], lambda _: self._capabilities(trigger.repository)
        )
        if request.scope != SELF_WORK and request.scope not in known:
            return _unknown(trigger.actor, request.scope, known)
        now, said = await run.now(), trigger.received_at
        wanted = Pausing(
            key=trigger.key,
            repository_id=trigger.repository.id,
            scope=request.scope,
            kind=PauseKind.MANUAL,
            reason=request.reason,
            by=trigger.actor.login,
            # What was said right after it is later, however long this took to be carried out.
            at=said if timedelta() <= now - said <= LATE else now,
            run=run.id,
        )

        async def change(conn: AsyncConnection) -> Pause:
            return await pauses.pause(conn, wanted)

        return _paused(await run.write(Step.PAUSE, Pause, change), trigger.actor)

    async def unpause(self, run: Run, trigger: Trigger, request: UnpauseRequest) -> Reply:
        """Let it go on."""

        async def look(_: bool) -> _Asked:
            return await self._asked(trigger, request)

        asked = await run.step(Step.READ_PAUSED, _Asked, look)
        wanted = [p for p in asked.held if request.scope in (None, p.scope)]
        if len(wanted) != 1:
            return _which(trigger.actor, asked.held, request.scope)
        if asked.is_later or wanted[0].since > trigger.received_at:
            return _paused_since(trigger.actor, wanted[0])
        if not asked.lifting.may:
            deed = f"`/unpause {wanted[0].scope} because …`"
            return _may_not(trigger.actor, asked.lifting, _needed(wanted[0]), deed)
        now = await run.now()
        because = request.reason or "no reason given"

        async def change(conn: AsyncConnection) -> bool:
            pause = await pauses.in_force(conn, trigger.repository.id, wanted[0].scope, lock=True)
            if pause is None:
                return False
            if pause.kind is not wanted[0].kind or pause.since > trigger.received_at:
                raise StaleVersion(f"{pause.scope} was paused for another reason meanwhile")
            await pauses.unpause(
                conn, pause, by=trigger.actor.login, person=True, at=now, because=because,
                run=run.id,
            )  # fmt: skip
            return True

        await run.write(Step.UNPAUSE, bool, change)
        return Reply(text=f"{markdown.code(wanted[0].scope)} goes on.")

    async def let_through(self, run: Run, trigger: Trigger) -> Reply | None:
        """Let the commit through that the gate holds here; None where it holds nothing."""
        number = trigger.source.subject
        if number is None or not trigger.source.is_pull_request:
            return None

        async def look(_: bool) -> _Head:
            return await self._head(trigger, number)

        found = await run.step(Step.READ_HELD_HEAD, _Head, look)
        pause, report = found.pause, found.report
        if pause is None or report is None or report.conclusion == "success":
            return None
        if not found.lifting.may:
            needed = _may_exempt(pause)
            return _may_not(trigger.actor, found.lifting, needed, "`/approve`")
        if report.head_sha != found.now:
            return _pushed_since(trigger.actor)
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            await gate_reports.exempt(
                conn, trigger.repository.id, number, report.head_sha, pause.id,
                by=trigger.actor.login, at=now, run=run.id,
            )  # fmt: skip
            return True

        await run.write(Step.RELEASE_HELD_HEAD, bool, change)
        return Reply(
            text=f"{markdown.code(report.head_sha[:12])} may be merged in spite of the pause. "
            "Another push is held again."
        )

    async def _capabilities(self, repository: Repository) -> list[str]:
        self._config.forget(repository.id)
        config = (await self._config.of(repository)).config
        async with reading(self._records).connect() as conn:
            return await pausable(conn, repository.id, config)

    async def _asked(self, trigger: Trigger, request: UnpauseRequest) -> _Asked:
        async with reading(self._records).connect() as conn:
            held = await pauses.all_in_force(conn, trigger.repository.id)
            wanted = [p for p in held if request.scope in (None, p.scope)]
            if len(wanted) != 1:
                return _Asked(held=tuple(held))
            # The pause has the moment of the word that set it: all of one comment have the same.
            beside = await answered.received_at(conn, trigger.repository.id, wanted[0].since)
        setting = [each for each in beside if isinstance(each.request, PauseRequest)]
        if setting and all(each.came_after(trigger) for each in setting):
            return _Asked(held=tuple(held), is_later=True)
        client = self._github.repository(trigger.repository, playbook="unpause")
        lifting = await self._lifting(client, trigger, needed=_needed(wanted[0]))
        return _Asked(held=tuple(held), lifting=lifting)

    async def _lifting(
        self, client: RepositoryClient, trigger: Trigger, *, needed: Role | None
    ) -> Lifting:
        config = (await self._config.of(trigger.repository)).config
        here = trigger.repository.id

        held = await read_held(client, config, marked_in(self._records, here), trigger.received_at)
        founders = await founders_of(client, config, self._founders)
        return await judge_lifting(
            client, held, trigger.actor.login, needed=needed, founders=founders
        )

    async def _head(self, trigger: Trigger, number: int) -> _Head:
        here = trigger.repository.id
        # A comment is about the head its author saw; a button about the commit it stands on.
        seen = trigger.received_at
        async with reading(self._records).connect() as conn:
            pause = await pauses.in_force(conn, here, SELF_WORK)
            report = await gate_reports.held_before(conn, here, number, seen)
        client = self._github.repository(trigger.repository, playbook="approve")
        if pause is not None and report is None:
            report = await self._said_elsewhere(client, number, seen)
        if pause is None or report is None:
            return _Head(pause=pause)
        if trigger.source.kind is SourceKind.CHECK_RUN:
            check_run = await client.checks.get(int(trigger.source.object_id.partition(":")[0]))
            async with reading(self._records).connect() as conn:
                report = await gate_reports.find(conn, here, check_run.head_sha)
        pull = await client.pulls.get(number)
        lifting = await self._lifting(client, trigger, needed=_may_exempt(pause))
        return _Head(pause=pause, report=report, now=pull.head.sha, lifting=lifting)

    async def _said_elsewhere(
        self, client: RepositoryClient, number: int, seen: datetime
    ) -> GateReport | None:
        """Read what was said on a pull request's head because of another that has the same."""
        pull = await client.pulls.find(number)
        if pull is None:
            return None
        async with reading(self._records).connect() as conn:
            report = await gate_reports.find(conn, client.repository.id, pull.head.sha)
        return report if report is not None and report.first_at <= seen else None


def _needed(pause: Pause) -> Role | None:
    """The weakest role that lifts a pause; a Founder does too."""
    return Role.MAINTAIN if pause.kind is PauseKind.SAFETY else Role.WRITE


def _may_exempt(pause: Pause) -> Role | None:
    """The weakest role that lets one commit through; None: only a Founder does."""
    return None if pause.kind is PauseKind.SAFETY else MAY_EXEMPT


def _paused_since(actor: Actor, pause: Pause) -> Reply:
    return Reply(
        text=replies.refusal(
            actor,
            f"{markdown.code(pause.scope)} was paused after you wrote this: "
            f"{markdown.text(pause.reason)}",
            f"To let it go on all the same: `/unpause {pause.scope} because …`.",
        ),
        done=False,
    )


def _unknown(actor: Actor, scope: str, known: Sequence[str]) -> Reply:
    names = ", ".join(markdown.code(each) for each in (SELF_WORK, *known))
    return Reply(
        text=replies.refusal(
            actor, f"There is no capability {markdown.code(scope)} here.", f"Allowed: {names}."
        ),
        done=False,
    )


def _paused(pause: Pause, actor: Actor) -> Reply:
    scope = markdown.code(pause.scope)
    if pause.state == "lifted":
        return Reply(text=f"{scope} was paused by this comment, and unpaused since.")
    held = (
        "`self-work gate` now fails on every pull request of self-work; others and hotfixes pass."
        if pause.scope == SELF_WORK
        else "It gets no new shadow and no more traffic; a rollback is always possible."
    )
    by = "" if pause.set_by == actor.login else f" (by {markdown.code(pause.set_by)} already)"
    return Reply(
        text=f"{scope} is paused{by}: {markdown.text(pause.reason)}\n\n{held}\n\n"
        f"To let it go on: `/unpause {pause.scope} because …`."
    )


def _which(actor: Actor, held: Sequence[Pause], scope: str | None) -> Reply:
    if not held:
        text = replies.refusal(
            actor, "Nothing is paused here.", "To pause self-work: `/pause because …`."
        )
    elif scope is not None:
        names = ", ".join(markdown.code(pause.scope) for pause in held)
        text = replies.refusal(actor, f"{markdown.code(scope)} is not paused.", f"Paused: {names}.")
    else:
        listed = "\n".join(
            f"- {markdown.code(f'/unpause {pause.scope}')}: {markdown.text(pause.reason)}"
            for pause in held
        )
        text = replies.refusal(actor, "Several are paused. Say which:", listed)
    return Reply(text=text, done=False)


def _may_not(actor: Actor, lifting: Lifting, needed: Role | None, command: str) -> Reply:
    who = "a Founder" if needed is None else f"{needed} access"
    if needed is Role.MAINTAIN:
        who += ", or a Founder"
    why = f"This needs {who}."
    if lifting.held is not None:
        number = lifting.held.number
        yours = (
            "`self_work.authors` names you"
            if number is None
            else f"#{number} is self-work that you wrote"
        )
        why = f"Nobody whose work is held may lift the pause or let a commit through: {yours}."
    shown = [markdown.code(each) for each in lifting.others[:_MOST_NAMED]]
    more = len(lifting.others) - len(shown)
    names = ", ".join(shown) + (f" or {more} more" if more > 0 else "")
    remedy = (
        f"Ask one of these to comment {command}: {names}."
        if shown
        else (
            f"Nobody else may at the moment: it needs {who}, and no self-work of their own within "
            f"{LATELY.days} days."
        )
    )
    return Reply(text=replies.refusal(actor, why, remedy), done=False)


def _pushed_since(actor: Actor) -> Reply:
    return Reply(
        text=replies.refusal(
            actor,
            "Something was pushed since you could have seen it, so nothing was let through.",
            "Look at what is there now, and `/approve` again.",
        ),
        done=False,
    )
