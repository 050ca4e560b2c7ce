"""The first step of every rollback: all traffic to the baseline, and the capability paused.

One transaction in our own database: it needs neither GitHub nor anybody's answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.playbooks.rollback.ports import (
    allocation,
    circuit_breaker,
    incidents,
    ledgers,
    pauses,
    runs,
)
from bot.playbooks.rollout.messages import subject_of
from bot.playbooks.rollout.workflow import reported_by
from bot.records.pauses import PauseKind, Pausing
from bot.records.tables.columns import Instant
from bot.traffic.allocation import Decided
from bot.traffic.evidence_log import BreachFound, EvidenceLog
from bot.traffic.flagd import Allocation, Split
from bot.triggers import RollbackRequest, Trigger, Value


class TrafficBack(Value):
    """What was taken back.

    Attributes:
        attempt: the shadow or ramp; None: there was none, nothing was changed.
        watcher: the Run that watched it.
        baseline: who serves now.
        candidate: who does not any more.
        before: the share the candidate had, percent.
        generation: of the flag document that serves the baseline only.
        at: since when.
        breach: what the evidence showed, or what was reported.
    """

    attempt: str | None = None
    watcher: str = ""
    baseline: str = ""
    candidate: str | None = None
    before: int = 0
    generation: int = 0
    at: Instant
    breach: BreachFound | None = None


async def give_traffic_back(
    conn: AsyncConnection, trigger: Trigger, request: RollbackRequest, *, run: str, now: datetime
) -> TrafficBack:
    """Give everything back to the baseline; where that was done before, say what was.

    Args:
        conn: the caller's transaction.
        trigger: who asked.
        request: for what.
        run: the Run of the rollback.
        now: the time.
    """
    repository_id, capability = trigger.repository.id, request.capability
    history = await allocation.history(conn, repository_id, capability)
    ledger = await _to_take_back(conn, history)
    if ledger is None:
        return TrafficBack(at=now)
    reported = reported_by(trigger.actor.login, request.reason)
    if ledger.closed_at is None:
        tripped = await circuit_breaker.trip(
            conn, ledger.attempt, reported, at=now, actor=trigger.actor.login, run=run
        )
        ledger = tripped.ledger
    elif _promoted(ledger, history):
        await _take_promotion_back(conn, trigger, ledger, history[-1], reported.evidence, run, now)
    serving = await allocation.find(conn, repository_id, capability) or history[-1]
    await _pause(conn, trigger, capability, ledger.breach or reported, run, now)
    served = [each.split for each in history if each.split.attempt == ledger.attempt]
    return TrafficBack(
        attempt=ledger.attempt,
        watcher=ledger.run_id,
        baseline=serving.split.baseline,
        candidate=served[-1].candidate,
        before=_share(history, served, ledger),
        generation=serving.generation,
        at=serving.at,
        breach=ledger.breach or reported,
    )


async def what_would_go_back(
    conn: AsyncConnection, repository_id: int, capability: str
) -> EvidenceLog | None:
    """Read the shadow or ramp that a rollback would take back; None: there is none.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository that has the capability.
        capability: its name in the configuration.
    """
    return await _to_take_back(conn, await allocation.history(conn, repository_id, capability))


async def standing_promotion(
    conn: AsyncConnection, repository_id: int, capability: str
) -> str | None:
    """Name the provider that serves since its promotion, where that can be taken back.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository that has the capability.
        capability: its name in the configuration.
    """
    history = await allocation.history(conn, repository_id, capability)
    async for ledger in _latest_first(conn, history):
        if _promoted(ledger, history):
            return history[-1].split.baseline
    return None


async def _to_take_back(conn: AsyncConnection, history: list[Allocation]) -> EvidenceLog | None:
    lifted: EvidenceLog | None = None
    async for ledger in _latest_first(conn, history):
        concerns = await _concerns(conn, ledger, history)
        if concerns == "pause lifted":
            # Whoever lifted the pause knows that this one is back, and means what is before it.
            lifted = lifted or ledger
            continue
        if concerns:
            return ledger
        # Whoever asks while the pause of a rolled back ramp is in force means that ramp. A shadow
        # harms no user, so it is never all that somebody means.
        if (
            ledger.mode == "ramp"
            and ledger.breach is not None
            and await pauses.in_force(conn, ledger.repository_id, ledger.capability)
        ):
            return None
    return lifted


async def _latest_first(
    conn: AsyncConnection, history: list[Allocation]
) -> AsyncIterator[EvidenceLog]:
    """Go through the shadows and ramps up to the last one whose candidate came to serve.

    What is before that one stays: asked twice, one promotion is taken back and not two.
    """
    attempts = (each.split.attempt for each in reversed(history) if each.split.attempt)
    for attempt in dict.fromkeys(attempts):
        ledger = await ledgers.find(conn, attempt)
        if ledger is None:
            return
        yield ledger
        if _took_over(history, attempt):
            return


def _took_over(history: list[Allocation], attempt: str) -> bool:
    """Whether the candidate of an attempt became who serves, be it for a moment."""
    last = max(place for place, each in enumerate(history) if each.split.attempt == attempt)
    candidate = history[last].split.candidate
    return any(each.split.baseline == candidate for each in history[last:])


async def _concerns(
    conn: AsyncConnection, ledger: EvidenceLog, history: list[Allocation]
) -> bool | Literal["pause lifted"]:
    """Whether there is something to take back, or to write down that was taken back before.

    "pause lifted": that is being written down, and a person lifted the pause meanwhile.
    """
    if ledger.closed_at is None or _promoted(ledger, history):
        return True
    if ledger.breach is None:
        return False
    subject = subject_of(ledger.capability)
    last = await incidents.latest_about(conn, ledger.repository_id, "rollback", subject)
    if last is None or last.detected_at < ledger.opened_at:
        return True
    if last.is_open:
        held = await pauses.in_force(conn, ledger.repository_id, ledger.capability)
        return "pause lifted" if held is None else True
    ended = [run.finished_at for run in await runs.of_incident(conn, last.id) if run.finished_at]
    return not ended or max(ended) < ledger.closed_at


def _promoted(ledger: EvidenceLog, history: list[Allocation]) -> bool:
    """Whether a ramp's candidate is who serves now."""
    candidates = {e.split.candidate for e in history if e.split.attempt == ledger.attempt}
    return ledger.mode == "ramp" and history[-1].split.baseline in candidates


async def _take_promotion_back(
    conn: AsyncConnection,
    trigger: Trigger,
    ledger: EvidenceLog,
    serving: Allocation,
    why: str,
    run: str,
    now: datetime,
) -> None:
    """Give a promoted candidate's traffic back to who served before: it can still be called."""
    before = Split(baseline=ledger.policy.baseline, salt=serving.split.salt)
    repository_id, capability = ledger.repository_id, ledger.capability
    decided = Decided(at=now, actor=trigger.actor.login, why=why, run=run)
    await allocation.set_traffic(conn, repository_id, capability, before, decided)
    await allocation.pause(conn, repository_id, capability, decided, baseline=before.baseline)


async def _pause(
    conn: AsyncConnection,
    trigger: Trigger,
    capability: str,
    breach: BreachFound,
    run: str,
    now: datetime,
) -> None:
    wish = Pausing(
        key=trigger.key,
        repository_id=trigger.repository.id,
        scope=capability,
        kind=PauseKind.SAFETY,
        reason=breach.evidence,
        by=trigger.actor.login,
        at=now,
        run=run,
    )
    await pauses.pause(conn, wish)


def _share(history: list[Allocation], served: list[Split], ledger: EvidenceLog) -> int:
    if _promoted(ledger, history):
        return 100
    return served[-1].percent
