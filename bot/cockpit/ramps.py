"""The pages of shadows and ramps.

The split that is meant, the one that is observed, the evidence over time, and what follows.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.canary.judge import Verdict
from bot.canary.report import (
    CurvePoint,
    RampReport,
    ReportSubject,
    ShadowDiffReport,
    WatchedSpan,
    ramp_report,
    shadow_report,
)
from bot.cockpit.actions import answer_to_show
from bot.cockpit.render import LineChart, lines_of
from bot.cockpit.request import AccessRule, PageRefused, PageRoute, Visit, whole_number
from bot.playbooks.rollout.evidence import watched
from bot.records.lifecycle import UnknownRecord
from bot.traffic.evaluation import Evaluations, RampEvaluation, ShadowEvaluation, UnreadableEvidence
from bot.traffic.evidence_log import EvidenceLog, Judged
from bot.traffic.flagd import Allocation

_KEPT = 200
_LEAST_DRAWN = -1.0
"""Evidence against a breach may fall without end; what lies deeper is drawn here."""


@dataclass(frozen=True)
class RolloutLane:
    """One shadow or ramp.

    Attributes:
        ledger: when it began and ended, and by which policy.
        servings: every split it had, oldest first.
        report: everything that was learnt; None where it cannot be added up.
        judged: what is concluded.
        chart: each metric's evidence for a breach, as a share of its limit; None
            before the first points.
        points: the same by time, for the table: when, and by metric.
    """

    ledger: EvidenceLog
    servings: tuple[Allocation, ...]
    report: RampReport | ShadowDiffReport | None = None
    judged: Judged | None = None
    chart: LineChart | None = None
    points: tuple[tuple[datetime, dict[str, float]], ...] = ()

    @property
    def serving(self) -> Allocation | None:
        """The split it had last."""
        return self.servings[-1] if self.servings else None

    @property
    def candidate(self) -> str:
        """Who might take over."""
        named = [each.split.candidate for each in self.servings if each.split.candidate]
        return named[-1] if named else self.ledger.policy.candidates[0]

    @property
    def configured(self) -> float | None:
        """The candidate's share as the split says it now; None in a shadow."""
        if self.ledger.mode == "shadow" or self.serving is None:
            return None
        return self.serving.split.percent / 100

    @property
    def stage(self) -> tuple[int, int] | None:
        """What was observed in the present stage: of the baseline, of the candidate."""
        if not isinstance(self.report, RampReport) or not self.report.stages:
            return None
        return self.report.stages[-1].n

    @property
    def observed(self) -> float | None:
        """The candidate's share of what was observed in the present stage."""
        if self.stage is None or not sum(self.stage):
            return None
        return self.stage[1] / sum(self.stage)


class RolloutLanes:
    """Adds ledgers up, for looking at only. Its courses are its own: nobody else reads on them."""

    def __init__(self, records: AsyncEngine) -> None:
        """Read from the records."""
        self._evaluations = Evaluations(records)
        self._known: LRUCache[tuple[str, int, bool], RolloutLane] = LRUCache(_KEPT)
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def look(
        self, ledger: EvidenceLog, served: Sequence[Allocation], now: datetime
    ) -> RolloutLane:
        """Look at one shadow or ramp; what was added up once is not added up again."""
        bare = RolloutLane(ledger, tuple(served))
        # It may end without a new observation: by a person, or by silence.
        key = (ledger.attempt, ledger.last, ledger.closed_at is not None)
        async with self._one_at_a_time[ledger.attempt]:
            known = self._known.get(key)
            judged = None if known is None else known.judged
            if known is None or ledger.closed_at is None:
                try:
                    _, course = await self._evaluations.current(ledger.attempt)
                except (UnknownRecord, UnreadableEvidence):
                    return bare
                # Time alone changes the verdict: what is silent too long, or may go on now.
                judged = Judged.of(await asyncio.to_thread(_verdict, ledger, course, now))
                if known is None:
                    known = await asyncio.to_thread(_added_up, bare, course, now)
                    self._known[key] = known
            if ledger.closed_at is not None:
                self._evaluations.forget(ledger.attempt)
        # The split and the end may have changed without a new observation.
        return RolloutLane(ledger, tuple(served), known.report, judged, known.chart, known.points)


def _verdict(
    ledger: EvidenceLog, course: RampEvaluation | ShadowEvaluation, now: datetime
) -> Verdict:
    if ledger.breach is not None:
        return ledger.breach.verdict
    return course.judge(ledger.closed_at or now, now)


def _added_up(
    bare: RolloutLane, course: RampEvaluation | ShadowEvaluation, now: datetime
) -> RolloutLane:
    ledger = bare.ledger
    verdict = _verdict(ledger, course, now)
    subject = ReportSubject(
        id=ledger.attempt,
        capability=ledger.capability,
        candidate=bare.candidate,
        window=WatchedSpan(start=ledger.opened_at, end=ledger.closed_at or now),
        input_sha256=ledger.digest,
    )
    curve = tuple(course.curve.points)
    report: RampReport | ShadowDiffReport
    if isinstance(course, ShadowEvaluation):
        report = shadow_report(subject, course.evidence, verdict, curve=curve)
    else:
        report = ramp_report(
            subject,
            course.evidence,
            verdict,
            shadow=None,
            salt=bare.serving.split.salt if bare.serving else "0",
            stages=course.stages(ledger.closed_at, None),
            curve=curve,
        )
    limits = {name: evidence.limit for name, evidence in watched(report).items()}
    points = tuple(
        (point.at, {name: e / limits[name] for name, e in point.log_e.items() if name in limits})
        for point in _up_to_now(report, ledger)
    )
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in limits}
    for at, shares in points:
        for name, share in shares.items():
            series[name].append((at.timestamp(), max(share, _LEAST_DRAWN)))
    drawn = {name: values for name, values in series.items() if values}
    chart = lines_of(drawn, limit=1.0) if drawn else None
    return RolloutLane(ledger, bare.servings, report, Judged.of(verdict), chart, points)


def _up_to_now(report: RampReport | ShadowDiffReport, ledger: EvidenceLog) -> list[CurvePoint]:
    """The curve and, where it lags behind, what is known now: it keeps a point every so often."""
    points, at = list(report.curve), ledger.seen_at
    if at is None or (points and at <= points[-1].at):
        return points
    log_e = {name: evidence.log_e for name, evidence in watched(report).items()}
    return [*points, CurvePoint(at=at, log_e=log_e)]


PER_PAGE = 30
_MOST_PAGES = 100_000


class RampPages:
    """`/ui/ramps` and `/ui/ramps/{attempt}`."""

    def __init__(self, lanes: RolloutLanes) -> None:
        """Look through `lanes`."""
        self._lanes = lanes

    def routes(self) -> tuple[PageRoute, ...]:
        """Their addresses."""
        return (
            PageRoute("GET", "/ramps", self.index, AccessRule.SIGNED_IN),
            PageRoute("GET", "/ramps/{attempt}", self.page, AccessRule.SIGNED_IN),
        )

    async def index(self, visit: Visit) -> web.StreamResponse:
        """Who serves what, and every shadow and ramp, the newest first."""
        sight, chosen = visit.narrowed()
        page = min(whole_number(visit.query, "page") or 1, _MOST_PAGES)
        async with visit.window(sight) as window:
            found = await window.ledgers(limit=PER_PAGE + 1, beyond=(page - 1) * PER_PAGE)
            serving = await window.serving()
            lanes = [
                await self._lanes.look(each, await window.served_by(each), visit.now)
                for each in found[:PER_PAGE]
            ]
        more = page + 1 if len(found) > PER_PAGE else None
        return visit.page(
            "ramps.html", chosen=chosen, lanes_shown=lanes, serving=serving, page=page, more=more
        )

    async def page(self, visit: Visit) -> web.StreamResponse:
        """One shadow or ramp."""
        async with visit.window() as window:
            ledger = await window.ledger(visit.request.match_info["attempt"])
            if ledger is None:
                raise PageRefused(404, "There is no such shadow or ramp among those you can see.")
            lane = await self._lanes.look(ledger, await window.served_by(ledger), visit.now)
            run = await window.run(ledger.run_id)
            shown = await answer_to_show(visit, window)
        return visit.page(
            "ramp.html",
            lane=lane,
            run=run,
            seen=visit.sight.seen[ledger.repository_id],
            request_answer=shown,
        )
