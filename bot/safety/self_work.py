"""Pausing self-work and letting it go on, and what agents are told.

When may self-work go on by itself? Pure: paused → half open (one canary) → running.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.config import Config, SelfWork
from bot.github.client import RepositoryClient
from bot.github.models import PullRequest
from bot.logs import explained
from bot.playbooks.checks.green import Counting, tally
from bot.playbooks.checks.results import checked
from bot.playbooks.pull_request.snapshot import required
from bot.records import budgets, incidents, pauses, runs
from bot.records.audit import chain
from bot.records.budgets import BudgetState
from bot.records.database import reading
from bot.records.incidents import Incident
from bot.records.lifecycle import IncidentStatus, RunState, StaleVersion
from bot.records.pauses import Pause, PauseKind, Pausing
from bot.records.tables.columns import Instant
from bot.safety.budgets import every_budget
from bot.triggers import (
    COMMENTS,
    OURSELVES,
    SELF_WORK,
    Severity,
    SourceKind,
    Trigger,
    Value,
)


class PauseFacts(Value):
    """How things are just now.

    Attributes:
        branch: what the checks say of the default branch.
        trouble: why it would not be safe whatever the branch says: an open incident, a used-up
            budget; None where there is no such thing.
        candidates: open self-work pull requests that could be the canary, oldest first.
        canary: what became of the canary; `unfit`: it will not be merged into the default branch
            as it is now.
        canary_merged: its merge commit.
    """

    branch: Literal["green", "red", "waiting"]
    trouble: str | None = None
    candidates: tuple[int, ...] = ()
    canary: Literal["open", "merged", "unfit"] | None = None
    canary_merged: str | None = None


class Note(Value):
    """Where the pause stands from now on; `said` tells the audit, empty where nothing turned."""

    action: Literal["note"] = "note"
    state: Literal["paused", "half open"]
    green_since: datetime | None
    canary: int | None = None
    canary_merged: str | None = None
    said: str = ""


class Lift(Value):
    """Everything goes on."""

    action: Literal["lift"] = "lift"
    because: str


Step = Note | Lift | None


@explained
def next_step(pause: Pause, outlook: PauseFacts, resume_after: timedelta, now: datetime) -> Step:
    """Decide how a pause goes on; None where it stays just as it is.

    Args:
        pause: the one in force.
        outlook: how things are.
        resume_after: how long the branch has to be green, before the canary and after it.
        now: the time.
    """
    if not pause.lifts_itself:
        return None
    if outlook.branch == "red" or outlook.trouble:
        return _back(pause, outlook)
    since = pause.green_since or (now if outlook.branch == "green" else None)
    long_enough = since is not None and outlook.branch == "green" and now - since >= resume_after
    if pause.state == "paused":
        if long_enough:
            return _half_open(outlook, said="half open")
        return _changed(pause, Note(state="paused", green_since=since))
    return _while_half_open(pause, outlook, since, long_enough=long_enough)


def _while_half_open(
    pause: Pause, outlook: PauseFacts, since: datetime | None, *, long_enough: bool
) -> Step:
    if pause.canary is None or (outlook.canary == "unfit" and pause.canary_merged is None):
        wanted = _half_open(outlook, said="another canary")
        return wanted if wanted.canary != pause.canary else None
    if outlook.canary != "merged":
        return None
    if pause.canary_merged is None:
        # From here on the branch is judged with the canary in it.
        return Note(
            state="half open",
            green_since=None,
            canary=pause.canary,
            canary_merged=outlook.canary_merged or "unknown",
            said="canary merged",
        )
    if long_enough:
        return Lift(because=f"the default branch is green with the canary #{pause.canary}")
    return _changed(
        pause,
        Note(
            state="half open",
            green_since=since,
            canary=pause.canary,
            canary_merged=pause.canary_merged,
        ),
    )


def _half_open(outlook: PauseFacts, said: str) -> Note:
    canary = outlook.candidates[0] if outlook.candidates else None
    return Note(state="half open", green_since=None, canary=canary, said=said)


def _back(pause: Pause, outlook: PauseFacts) -> Step:
    why = outlook.trouble or "the default branch is red"
    said = f"paused again: {why}" if pause.state == "half open" else ""
    return _changed(pause, Note(state="paused", green_since=None, said=said))


def _changed(pause: Pause, note: Note) -> Note | None:
    same = (pause.state, pause.green_since, pause.canary, pause.canary_merged) == (
        note.state,
        note.green_since,
        note.canary,
        note.canary_merged,
    )
    return None if same else note


async def hold_self_work(
    conn: AsyncConnection,
    trigger: Trigger,
    *,
    key: str,
    reason: str,
    is_safety: bool,
    at: datetime,
) -> None:
    """Pause self-work; a pause for safety is lifted by a person only.

    Args:
        conn: the caller's transaction.
        trigger: what is judged; its repository is the one.
        key: what makes this wish this one.
        reason: why, in plain text.
        is_safety: whether something happened that must not happen.
        at: now.
    """
    # What a person let go on is not held again for the very same failure; safety is.
    wanted = Pausing(
        key=key if not is_safety else f"{key}:{trigger.key}",
        once=not is_safety,
        repository_id=trigger.repository.id,
        scope=SELF_WORK,
        kind=PauseKind.SAFETY if is_safety else PauseKind.THRESHOLD,
        reason=reason,
        by=OURSELVES.login,
        at=at,
    )
    await pauses.pause(conn, wanted)


class AgentFlags(Value):
    """How self-work stands.

    Attributes:
        paused: whether agents should stop; half open is paused for all but the canary.
        state: where the pause stands.
        reason: why it is paused.
        since: since when.
        until: when it goes one step on, if all stays green until then; None where nobody knows.
        ends: what ends it, or what happens at `until`, in words.
        canary: the one pull request that goes on while it is half open.
    """

    paused: bool
    state: Literal["running", "paused", "half open"] = "running"
    reason: str | None = None
    since: Instant | None = None
    until: Instant | None = None
    ends: str | None = None
    canary: int | None = None


def told(pause: Pause | None, config: SelfWork) -> AgentFlags:
    """Say how self-work stands.

    Args:
        pause: the one in force.
        config: how long the default branch has to be green before a pause lifts itself.
    """
    if pause is None:
        return AgentFlags(paused=False)
    green_for = timedelta(minutes=config.resume_after_minutes)
    until = None
    if pause.lifts_itself and pause.green_since is not None:
        until = pause.green_since + green_for
    return AgentFlags(
        paused=True,
        state="half open" if pause.state == "half open" else "paused",
        reason=pause.reason,
        since=pause.since,
        until=until,
        ends=_ends(pause, config.resume_after_minutes),
        canary=pause.canary,
    )


def _ends(pause: Pause, minutes: int) -> str:
    by_hand = "/unpause self-work because …"
    if pause.kind is PauseKind.SAFETY:
        return f"A person lifts it ({by_hand}): it was set for safety."
    if pause.kind is PauseKind.MANUAL:
        return f"A person lifts it ({by_hand}): {pause.set_by} set it."
    green = f"the default branch has been green for {minutes} minutes"
    if pause.state == "paused":
        return (
            f"Once {green}, with no high or critical incident open, no revert under way and no "
            f"budget used up, one canary pull request may be merged; or a person lifts it "
            f"({by_hand})."
        )
    if pause.canary_merged is not None:
        return f"It is lifted once {green} with the canary #{pause.canary} in it."
    canary = f"#{pause.canary}" if pause.canary else "the next self-work pull request"
    return f"It is lifted after the canary {canary} is merged and {green}."


_WORKING = (RunState.PREFLIGHT, RunState.RUNNING, RunState.VERIFYING, RunState.COMPENSATING)
_SERIOUS = (Severity.HIGH, Severity.CRITICAL)
_BY_PEOPLE = frozenset({*COMMENTS, SourceKind.LABEL, SourceKind.COCKPIT})


class SelfWorkResumer:
    """Sees pauses that lift themselves through to their end."""

    def __init__(self, records: AsyncEngine, clock: Callable[[], datetime]) -> None:
        """Work on these records."""
        self._records = records
        self._clock = clock
        self._held_for: dict[int, str] = {}

    async def move_on(
        self, client: RepositoryClient, config: Config, pulls: Sequence[PullRequest]
    ) -> None:
        """Take the next step of the pause of self-work, if it is time for one.

        Args:
            client: the repository.
            config: as it counts.
            pulls: open self-work pull requests of others, oldest first.

        Raises:
            GitHubError: GitHub could not be read.
        """
        here = client.repository.id
        async with reading(self._records).connect() as conn:
            pause = await pauses.in_force(conn, here, SELF_WORK)
        if pause is None or not pause.lifts_itself:
            return
        outlook = await self._outlook(client, config, pause, pulls)
        now = self._clock()
        after = timedelta(minutes=config.self_work.resume_after_minutes)
        step = next_step(pause, outlook, after, now)
        if step is None:
            return
        try:
            await self._take(pause, step, now)
        except StaleVersion:
            # Another replica, or a person, was first: the next look sees what is now.
            return

    async def hold_for_many(self, here: int, config: Config) -> None:
        """Pause self-work where too many incidents were opened within the configured hours.

        Each newest incident does so once: a pause that was lifted since is not set again by it,
        nor by any that was known when a person lifted the last one.
        """
        now, limits = self._clock(), config.self_work
        since = now - timedelta(hours=limits.incidents_hours)
        async with reading(self._records).connect() as conn:
            if await pauses.in_force(conn, here, SELF_WORK) is not None:
                return
            recent = await incidents.list_recent(conn, here, limit=1000)
            lifted = await pauses.last_lifted(conn, here, SELF_WORK)
        if lifted is not None and lifted.lifted_at is not None:
            if lifted.lifted_by != OURSELVES.login:
                since = max(since, lifted.lifted_at)
            elif recent and recent[0].detected_at <= lifted.lifted_at:
                return
        counted = [i for i in recent if i.detected_at >= since and _went_wrong(i)]
        if len(counted) < limits.incidents or counted[0].id == self._held_for.get(here):
            return
        newest = counted[0]
        wanted = Pausing(
            key=f"incidents:{newest.id}",
            repository_id=here,
            scope=SELF_WORK,
            kind=PauseKind.THRESHOLD,
            reason=f"{len(counted)} incidents within {limits.incidents_hours} hours",
            by=OURSELVES.login,
            at=newest.detected_at,
            incident_id=newest.id,
        )
        async with self._records.begin() as conn:
            await pauses.pause(conn, wanted)
        self._held_for[here] = newest.id

    async def _take(self, pause: Pause, step: Note | Lift, now: datetime) -> None:
        async with self._records.begin() as conn:
            if isinstance(step, Lift):
                await pauses.unpause(
                    conn, pause, by=OURSELVES.login, person=False, at=now, because=step.because
                )
                return
            await pauses.note(
                conn,
                pause,
                state=step.state,
                green_since=step.green_since,
                canary=step.canary,
                canary_merged=step.canary_merged,
            )
            if step.said:
                await chain.append(
                    conn,
                    pause.repository_id,
                    f"self-work.{step.said.partition(':')[0]}",
                    actor=OURSELVES.login,
                    at=now,
                    incident=pause.incident_id,
                    refs={"pause": pause.id, "canary": step.canary},
                    data={"why": step.said},
                )

    async def _outlook(
        self,
        client: RepositoryClient,
        config: Config,
        pause: Pause,
        pulls: Sequence[PullRequest],
    ) -> PauseFacts:
        base = (await client.about()).default_branch
        canary: Literal["open", "merged", "unfit"] | None = None
        merged = pause.canary_merged
        if merged is not None:
            canary = "merged"
        elif pause.canary is not None:
            pull = await client.pulls.find(pause.canary)
            if pull is not None and pull.is_merged and pull.base.ref == base:
                canary, merged = "merged", pull.merge_commit_sha
            else:
                canary = "open" if pull is not None and _is_fit(pull, base) else "unfit"
        return PauseFacts(
            branch=await _branch(client, config),
            trouble=await self._trouble(client.repository.id, config),
            candidates=tuple(pull.number for pull in pulls if _is_fit(pull, base)),
            canary=canary,
            canary_merged=merged,
        )

    async def _trouble(self, here: int, config: Config) -> str | None:
        now, known = self._clock(), every_budget(config)
        async with reading(self._records).connect() as conn:
            for incident in await incidents.list_open(conn, here):
                if incident.severity in _SERIOUS:
                    return f"a {incident.severity} incident is open: {incident.title}"
                if await _is_being_reverted(conn, incident):
                    return f"a revert is under way: {incident.title}"
            for name in config.budgets:
                balance = await budgets.balance_of(conn, here, known[name], now)
                if balance.state is BudgetState.EXHAUSTED:
                    return f"the budget {name} is used up"
        return None


def _went_wrong(incident: Incident) -> bool:
    """Whether it counts for too many: not what a person asked for and took back."""
    taken_back = incident.status is IncidentStatus.DECLINED and incident.source in _BY_PEOPLE
    return incident.severity is not Severity.LOW and not taken_back


def _is_fit(pull: PullRequest, base: str) -> bool:
    """Whether it could be merged into this branch, as far as its author decides that."""
    return pull.state == "open" and not pull.draft and pull.base.ref == base


async def _is_being_reverted(conn: AsyncConnection, incident: Incident) -> bool:
    """Whether a hotfix is on its way that is not merged yet, and no person is waited for."""
    if incident.kind != "revert" or incident.status is not IncidentStatus.ACTIVE:
        return False
    return any(run.state in _WORKING for run in await runs.of_incident(conn, incident.id))


async def _branch(client: RepositoryClient, config: Config) -> Literal["green", "red", "waiting"]:
    """What the checks that count say of the default branch's newest change."""
    facts = await client.about()
    found = await checked(client, await client.git.head(facts.default_branch))
    results = found.results
    checks = config.checks
    names = (*checks.smoke, *checks.evals, *checks.slo, *checks.safety)
    if not checks.smoke:
        rules = await client.rules.for_branch(facts.default_branch, facts)
        names = (*await required(client, rules), *names)
    names = names or tuple(sorted({each.name for each in results}))
    counting = Counting(smoke=tuple(dict.fromkeys(names)), smoke_from="configured", evals=())
    verdict = tally(counting, results).verdict
    # No check at all is never green.
    return "waiting" if verdict == "nothing counts" else verdict
