"""What was learnt in a shadow or ramp, read from its ledger. The same entries, the same digits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.canary.judge import Verdict
from bot.canary.report import (
    RampReport,
    ReportSubject,
    ShadowDiffReport,
    WatchedSpan,
    ramp_report,
    shadow_report,
)
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evaluation import Evaluation, RampEvaluation, ShadowEvaluation, StageEnd, begun
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import Allocation

_AT_ONCE = 50


async def read_course(
    conn: AsyncConnection, ledger: EvidenceLog
) -> RampEvaluation | ShadowEvaluation:
    """Add up everything that counts, from the last checkpoint on."""
    course = begun(ledger)
    saved = await ledgers.checkpoint(conn, ledger.attempt)
    if saved is not None and saved[0] <= ledger.last:
        course.restore(saved[1])
    percents = percents_of(await allocation.of_attempt(conn, ledger.attempt))
    await _take_all(conn, ledger, course, percents)
    return course


async def _take_all(
    conn: AsyncConnection, ledger: EvidenceLog, course: Evaluation, percents: Mapping[int, int]
) -> None:
    while course.seq < ledger.last:
        found = await ledgers.entries(
            conn, ledger.attempt, after=course.seq, until=ledger.last, limit=_AT_ONCE
        )
        for entry in found:
            course.take(entry, percents)
        if not found or course.breach is not None:
            return


async def live_ledger(
    conn: AsyncConnection, repository_id: int, capability: str
) -> EvidenceLog | None:
    """Read the ledger of the shadow or ramp that the capability has now."""
    found = await ledgers.open_ones(conn, repository_id)
    return next((each for each in found if each.capability == capability), None)


def percents_of(served: list[Allocation]) -> dict[int, int]:
    """The candidate's share by generation."""
    return {each.generation: each.split.percent for each in served}


def report_of_ramp(
    ledger: EvidenceLog,
    course: RampEvaluation,
    verdict: Verdict,
    *,
    candidate: str,
    salt: str,
    shadow: str,
    now: datetime,
    ended: StageEnd | None,
) -> RampReport:
    """Describe a ramp as it is now, or as it ended.

    Args:
        ledger: its head.
        course: what was learnt.
        verdict: what is concluded.
        candidate: the provider.
        salt: of the split.
        shadow: the id of the shadow it follows.
        now: the time; where the ledger is closed, that counts.
        ended: how the last stage ended; None while it is served.
    """
    until = ledger.closed_at or now
    return ramp_report(
        _subject(ledger, candidate, until),
        course.evidence,
        verdict,
        shadow=shadow,
        salt=salt,
        stages=course.stages(until if ended else None, ended),
        curve=tuple(course.curve.points),
    )


def report_of_shadow(
    ledger: EvidenceLog,
    course: ShadowEvaluation,
    verdict: Verdict,
    *,
    candidate: str,
    now: datetime,
) -> ShadowDiffReport:
    """Describe a shadow as it is now, or as it ended; see `report_of_ramp`."""
    return shadow_report(
        _subject(ledger, candidate, ledger.closed_at or now),
        course.evidence,
        verdict,
        curve=tuple(course.curve.points),
    )


def _subject(ledger: EvidenceLog, candidate: str, until: datetime) -> ReportSubject:
    return ReportSubject(
        id=ledger.attempt,
        capability=ledger.capability,
        candidate=candidate,
        window=WatchedSpan(start=ledger.opened_at, end=max(until, ledger.opened_at)),
        input_sha256=ledger.digest,
    )
