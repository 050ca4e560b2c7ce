"""The course of a shadow or ramp: what was learnt from the entries of its ledger, in their order.

Nothing here reads a clock or a database, so the same entries give the same course, whoever adds
them up and however often it was interrupted. A breach ends it: later entries do not count.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol

from bot.canary.counters import Counted, columns_of_counts
from bot.canary.evidence import SAMPLE_RATIO, RampEvidence, RampState
from bot.canary.facts import StrictValue
from bot.canary.frozen import FrozenBaseline
from bot.canary.judge import judge_ramp
from bot.canary.observations import columns_of
from bot.canary.policy import Policy
from bot.canary.reports import CurvePoint, StageReport
from bot.canary.shadow import DROPOUTS, ShadowEvidence, ShadowState
from bot.canary.shadow_judge import judge_shadow
from bot.canary.totals import spent_of
from bot.canary.units import RampUnits, UnitsState
from bot.canary.verdict import Breach, Verdict
from bot.records.instants import Instant
from bot.traffic.contents import unpack, unpack_counts
from bot.traffic.curve import Curve, CurveState
from bot.traffic.ledger import EvidenceLog, LogEntry
from bot.traffic.verdicts import BreachFound

StageEnd = Literal["promote", "breach", "cancelled"]


class Evaluation(Protocol):
    """What was learnt so far.

    `seq` is the last entry taken in, `breach` what the entries led to, if to a breach.
    """

    seq: int
    breach: Breach | None

    def take(self, entry: LogEntry, percents: Mapping[int, int]) -> None:
        """Take in the next entry; `percents`: the candidate's share by generation."""

    def judge(self, now: datetime) -> Verdict:
        """Judge by what was learnt so far."""

    def save(self) -> bytes:
        """Write everything down; no digit is lost."""

    def restore(self, content: bytes) -> None:
        """Take over what `save` wrote."""


class _RampSaved(StrictValue):
    seq: int
    entered: Instant
    seen: Instant | None
    evidence: RampState
    units: UnitsState
    stages: tuple[StageReport, ...]
    curve: CurveState
    breach: BreachFound | None


class RampEvaluation:
    """The course of a ramp.

    Attributes:
        evidence: see there.
        entered: when the phase's split was served first.
        seen: when the last observation was accepted.
        curve: the evidence over time.
        seq: the last entry taken in.
        breach: what the entries led to.
    """

    def __init__(self, policy: Policy, frozen: FrozenBaseline, opened_at: datetime) -> None:
        """Start in the first phase, without evidence."""
        self.evidence = RampEvidence(policy, frozen)
        self.entered = opened_at
        self.seen: datetime | None = None
        self.curve = Curve()
        self.seq = 0
        self.breach: Breach | None = None
        self._units = RampUnits(policy.unit)
        self._left: tuple[StageReport, ...] = ()

    def take(self, entry: LogEntry, percents: Mapping[int, int]) -> None:
        """See `Evaluation`."""
        if self.breach is not None or entry.seq <= self.seq:
            return
        self.seq = entry.seq
        if entry.kind == "phase":
            self._left += (self._stage(entry.at, "promote"),)
            self.evidence.next_phase()
            self.entered = entry.at
            return
        if entry.kind == "counts":
            self._count(unpack_counts(entry.content), percents)
        else:
            self.evidence.add(columns_of(unpack(entry.content), percents, self._units))
        self.seen = entry.at
        verdict = self.judge(entry.at)
        if isinstance(verdict, Breach):
            self.breach = verdict
        self.curve.add(self._point(entry.at), always=self.breach is not None)

    def _count(self, counted: Counted, percents: Mapping[int, int]) -> None:
        columns = columns_of_counts(counted.counts, percents)
        self.evidence.add(columns)
        if counted.totals:
            self.evidence.add_spent(spent_of(counted.totals, percents), columns.tally())

    def judge(self, now: datetime) -> Verdict:
        """See `Evaluation`."""
        if self.breach is not None:
            return self.breach
        return judge_ramp(self.evidence, entered=self.entered, last_seen=self.seen, now=now)

    def stages(self, left: datetime | None, ended: StageEnd | None) -> tuple[StageReport, ...]:
        """Every split that was served, for the report.

        Args:
            left: when the last one ended; None: it is still served.
            ended: how.
        """
        return (*self._left, self._stage(left, ended))

    def _stage(self, left: datetime | None, ended: StageEnd | None) -> StageReport:
        phase = self.evidence.phase
        return StageReport(
            stage=phase.stage,
            percent=phase.percent,
            entered=self.entered,
            left=left,
            n=self.evidence.here.counts,
            ended=ended,
        )

    def _point(self, at: datetime) -> CurvePoint:
        log_e = {name: metric.worse.log_e for name, metric in self.evidence.metrics.items()}
        log_e[SAMPLE_RATIO] = self.evidence.sample_ratio.log_e
        log_e |= {name: limit.process.log_e for name, limit in self.evidence.limits.items()}
        return CurvePoint(at=at, log_e=log_e)

    def save(self) -> bytes:
        """See `Evaluation`."""
        saved = _RampSaved(
            seq=self.seq,
            entered=self.entered,
            seen=self.seen,
            evidence=self.evidence.save(),
            units=self._units.save(),
            stages=self._left,
            curve=self.curve.save(),
            breach=None if self.breach is None else BreachFound.of(self.breach),
        )
        return _written(saved)

    def restore(self, content: bytes) -> None:
        """See `Evaluation`."""
        saved = _RampSaved.model_validate_json(zlib.decompress(content))
        self.evidence.restore(saved.evidence)
        self._units = RampUnits.restored(saved.units)
        self.seq, self.entered, self.seen = saved.seq, saved.entered, saved.seen
        self._left = saved.stages
        self.curve = Curve.restored(saved.curve)
        self.breach = None if saved.breach is None else saved.breach.verdict


class _ShadowSaved(StrictValue):
    seq: int
    seen: Instant | None
    evidence: ShadowState
    breach: BreachFound | None
    curve: CurveState = CurveState(points=(), spacing=0)


class ShadowEvaluation:
    """The course of a shadow; see `RampEvaluation` for its attributes."""

    def __init__(self, policy: Policy, opened_at: datetime) -> None:
        """Start without evidence."""
        self.evidence = ShadowEvidence(policy)
        self.started = opened_at
        self.seen: datetime | None = None
        self.curve = Curve()
        self.seq = 0
        self.breach: Breach | None = None

    def take(self, entry: LogEntry, percents: Mapping[int, int]) -> None:
        """See `Evaluation`."""
        del percents
        if self.breach is not None or entry.seq <= self.seq:
            return
        self.seq = entry.seq
        self.evidence.expire(entry.at)
        self.evidence.add(unpack(entry.content), entry.at)
        self.seen = entry.at
        verdict = self.judge(entry.at)
        if isinstance(verdict, Breach):
            self.breach = verdict
        self.curve.add(self._point(entry.at), always=self.breach is not None)

    def _point(self, at: datetime) -> CurvePoint:
        log_e = {name: metric.worse.log_e for name, metric in self.evidence.metrics.items()}
        log_e[DROPOUTS] = self.evidence.dropouts.log_e
        return CurvePoint(at=at, log_e=log_e)

    def judge(self, now: datetime) -> Verdict:
        """See `Evaluation`."""
        if self.breach is not None:
            return self.breach
        return judge_shadow(self.evidence, started=self.started, last_seen=self.seen, now=now)

    def save(self) -> bytes:
        """See `Evaluation`."""
        breach = None if self.breach is None else BreachFound.of(self.breach)
        saved = _ShadowSaved(
            seq=self.seq,
            seen=self.seen,
            evidence=self.evidence.save(),
            breach=breach,
            curve=self.curve.save(),
        )
        return _written(saved)

    def restore(self, content: bytes) -> None:
        """See `Evaluation`."""
        saved = _ShadowSaved.model_validate_json(zlib.decompress(content))
        self.evidence.restore(saved.evidence)
        self.seq, self.seen = saved.seq, saved.seen
        self.curve = Curve.restored(saved.curve)
        self.breach = None if saved.breach is None else saved.breach.verdict


def begun(ledger: EvidenceLog) -> RampEvaluation | ShadowEvaluation:
    """The course of a ledger before its first entry."""
    if ledger.frozen is None:
        return ShadowEvaluation(ledger.policy, ledger.opened_at)
    return RampEvaluation(ledger.policy, ledger.frozen, ledger.opened_at)


def _written(saved: StrictValue) -> bytes:
    return zlib.compress(saved.model_dump_json().encode(), 1)
