"""`/pause`, `/unpause`, and `/approve` where the gate holds one pull request."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.config import Config
from bot.github.client import GitHub
from bot.intake.answering import replies
from bot.intake.answering.answer import Reply
from bot.playbooks.run import Run
from bot.records.database import reading
from bot.records.refusals import StaleVersion
from bot.records.safety import gate_reports, pauses
from bot.records.safety.gate_reports import Report
from bot.records.safety.pauses import Pause, PauseKind, Pausing
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import founders_of, is_founder
from bot.triggers import (
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


class _Asked(Value):
    """What a wish to lift or to let through rests on."""

    held: tuple[Pause, ...]
    is_agent: bool = False
    """Whether the asker is an author of self-work: whoever is held does not lift it."""


class _Head(Value):
    """The pull request a commit is to be let through of."""

    pause: Pause | None
    report: Report | None = None
    now: str | None = None
    may: bool = False
    is_agent: bool = False


class Holding:
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
            "see what can be paused", list[str], lambda _: self._capabilities(trigger.repository)
        )
        if request.scope != SELF_WORK and request.scope not in known:
            return _unknown(trigger.actor, request.scope, known)
        now = await run.now()
        wanted = Pausing(
            key=trigger.key,
            repository_id=trigger.repository.id,
            scope=request.scope,
            kind=PauseKind.MANUAL,
            reason=request.reason,
            by=trigger.actor.login,
            at=now,
            run=run.id,
        )

        async def change(conn: AsyncConnection) -> Pause:
            return await pauses.pause(conn, wanted)

        return _paused(await run.write("pause it", Pause, change), trigger.actor)

    async def unpause(self, run: Run, trigger: Trigger, request: UnpauseRequest) -> Reply:
        """Let it go on."""

        async def look(_: bool) -> _Asked:
            return await self._asked(trigger)

        asked = await run.step("see what is paused", _Asked, look)
        wanted = [p for p in asked.held if request.scope in (None, p.scope)]
        if len(wanted) != 1:
            return _which(trigger.actor, asked.held, request.scope)
        if asked.is_agent:
            return _not_by_an_agent(trigger.actor)
        now = await run.now()
        because = request.reason or "no reason given"

        async def change(conn: AsyncConnection) -> bool:
            pause = await pauses.in_force(conn, trigger.repository.id, wanted[0].scope, lock=True)
            if pause is None:
                return False
            if pause.kind is not wanted[0].kind:
                raise StaleVersion(f"{pause.scope} was paused for another reason meanwhile")
            await pauses.unpause(
                conn, pause, by=trigger.actor.login, person=True, at=now, because=because,
                run=run.id,
            )  # fmt: skip
            return True

        await run.write("unpause it", bool, change)
        return Reply(text=f"{markdown.code(wanted[0].scope)} goes on.")

    async def let_through(self, run: Run, trigger: Trigger) -> Reply | None:
        """Let the commit through that the gate holds here; None where it holds nothing."""
        number = trigger.source.subject
        if number is None or not trigger.source.is_pull_request:
            return None

        async def look(_: bool) -> _Head:
            return await self._head(trigger, number)

        found = await run.step("see what the gate holds", _Head, look)
        pause, report = found.pause, found.report
        if pause is None or report is None or report.conclusion == "success":
            return None
        if found.is_agent:
            return _not_by_an_agent(trigger.actor)
        if not found.may:
            return _may_not(trigger.actor, pause)
        if report.head_sha != found.now:
            return _pushed_since(trigger.actor)
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            await gate_reports.exempt(
                conn, trigger.repository.id, number, report.head_sha, pause.id,
                by=trigger.actor.login, at=now, run=run.id,
            )  # fmt: skip
            return True

        await run.write("let it through", bool, change)
        return Reply(
            text=f"{markdown.code(report.head_sha[:12])} may be merged in spite of the pause. "
            "Another push is held again."
        )

    async def _capabilities(self, repository: Repository) -> list[str]:
        self._config.forget(repository.id)
        return sorted((await self._config.of(repository)).config.capabilities)

    async def _asked(self, trigger: Trigger) -> _Asked:
        config = (await self._config.of(trigger.repository)).config
        async with reading(self._records).connect() as conn:
            held = await pauses.all_in_force(conn, trigger.repository.id)
        return _Asked(held=tuple(held), is_agent=_is_agent(trigger.actor, config))

    async def _head(self, trigger: Trigger, number: int) -> _Head:
        here = trigger.repository.id
        # A comment is about the head its author saw; a button about the commit it stands on.
        seen = trigger.received_at
        async with reading(self._records).connect() as conn:
            pause = await pauses.in_force(conn, here, SELF_WORK)
            report = await gate_reports.held_before(conn, here, number, seen)
        if pause is None or report is None:
            return _Head(pause=pause)
        client = self._github.repository(trigger.repository, playbook="approve")
        if trigger.source.kind is SourceKind.CHECK_RUN:
            check_run = await client.checks.get(int(trigger.source.object_id.partition(":")[0]))
            async with reading(self._records).connect() as conn:
                report = await gate_reports.find(conn, here, check_run.head_sha)
        pull = await client.pulls.get(number)
        config = (await self._config.of(trigger.repository)).config
        login = trigger.actor.login
        may = (await client.permissions.role_of(login)).at_least(MAY_EXEMPT)
        if pause.kind is PauseKind.SAFETY:
            may = is_founder(login, await founders_of(client, config, self._founders))
        return _Head(
            pause=pause,
            report=report,
            now=pull.head.sha,
            may=may,
            is_agent=_is_agent(trigger.actor, config) or login.lower() == pull.user.login.lower(),
        )


def _is_agent(actor: Actor, config: Config) -> bool:
    return actor.login.lower() in {each.lower() for each in config.self_work.authors}


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
        text = replies.refusal(actor, "Nothing is paused here.", "`/pause because …` would.")
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


def _not_by_an_agent(actor: Actor) -> Reply:
    return Reply(
        text=replies.refusal(
            actor,
            "Whoever's work is held does not lift the pause.",
            "Ask another person with write access.",
        ),
        done=False,
    )


def _may_not(actor: Actor, pause: Pause) -> Reply:
    who = "a Founder" if pause.kind is PauseKind.SAFETY else f"someone with {MAY_EXEMPT} access"
    return Reply(
        text=replies.refusal(
            actor, f"Letting one pull request through needs {who}.", f"Ask {who} to `/approve`."
        ),
        done=False,
    )


def _pushed_since(actor: Actor) -> Reply:
    return Reply(
        text=replies.refusal(
            actor,
            "Something was pushed since you could have seen it, so nothing was let through.",
            "Look at what is there now, and `/approve` again.",
        ),
        done=False,
    )
