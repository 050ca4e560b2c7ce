"""What the evidence log says by now, read forward from a checkpoint.

Nothing here reads a clock or a database, so the same entries give the same course, whoever adds
them up and however often it was interrupted. A breach ends it: later entries do not count.

Courses are kept in memory and only ever read forwards; after a restart they begin again from the
last checkpoint. Any process may hold one: all come to the same.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import structlog
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.canary.baseline import FrozenBaseline, Rhythm, RhythmState
from bot.canary.counters import Counted, CounterAlignment, CountersAligned, columns_of_counts
from bot.canary.judge import Breach, Hearing, Verdict, judge_ramp, judge_shadow
from bot.canary.metrics import spent_of
from bot.canary.observations import LONGEST_LAG, Alignment, Arm, Observation, columns_of
from bot.canary.policy import Policy, StrictValue
from bot.canary.ramp_evidence import SAMPLE_RATIO, RampEvidence, RampState
from bot.canary.report import CurvePoint, StageReport
from bot.canary.shadow_evidence import DROPOUTS, ShadowEvidence, ShadowState
from bot.canary.units import RampUnits, UnitsState
from bot.records.database import reading
from bot.records.lifecycle import UnknownRecord
from bot.records.tables.columns import Instant
from bot.traffic import allocation
from bot.traffic import evidence_log as ledgers
from bot.traffic.evidence_log import (
    BreachFound,
    EvidenceLog,
    Judged,
    LogEntry,
    unpack,
    unpack_counts,
)
from bot.triggers import Value

log = structlog.get_logger(__name__)
MOST = 240


class CurveState(StrictValue):
    """A saved curve; `spacing` in seconds."""

    points: tuple[CurvePoint, ...]
    spacing: float


class Curve:
    """Keeps every point; when there are too many, every other one goes, then and ever after.

    Which points stay depends on the points only, never on when somebody looked.
    """

    def __init__(self) -> None:
        """Start without points."""
        self.points: list[CurvePoint] = []
        self._spacing = timedelta(0)

    def add(self, point: CurvePoint, *, always: bool = False) -> None:
        """Add a point, unless it is too close to the one before; `always`: also then."""
        if self.points and not always and point.at - self.points[-1].at < self._spacing:
            return
        self.points.append(point)
        if len(self.points) > MOST:
            self.points = self.points[::2]
            usual = (self.points[-1].at - self.points[0].at) / len(self.points)
            self._spacing = max(2 * self._spacing, usual)

    def save(self) -> CurveState:
        """Write the curve down."""
        return CurveState(points=tuple(self.points), spacing=self._spacing.total_seconds())

    @classmethod
    def restored(cls, saved: CurveState) -> Curve:
        """Make it of what `save` wrote."""
        found = cls()
        found.points = list(saved.points)
        found._spacing = timedelta(seconds=saved.spacing)
        return found


StageEnd = Literal["promote", "breach", "cancelled"]


class Evaluation(Protocol):
    """What was learnt so far.

    `seq` is the last entry taken in, `breach` what the entries led to, if to a breach.
    """

    seq: int
    breach: Breach | None

    def take(self, entry: LogEntry, percents: Mapping[int, int]) -> None:
        """Take in the next entry; `percents`: the candidate's share by generation."""

    def judge(self, now: datetime, awake: datetime | None = None) -> Verdict:
        """Judge by what was learnt so far; `awake`: since when we listen; None: always."""

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
    waiting: tuple[Observation, ...] = ()
    reported: dict[Arm, Instant] = Field(default_factory=dict)
    behind: dict[Arm, timedelta] = Field(default_factory=dict)
    percents: dict[int, int] = Field(default_factory=dict)
    rhythm: RhythmState = RhythmState()
    counters: CountersAligned = CountersAligned()


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
        self.rhythm = Rhythm()
        self._frozen = frozen
        self._units = RampUnits(policy.unit)
        self._left: tuple[StageReport, ...] = ()
        self._aligned = Alignment()
        self._counters = CounterAlignment()
        self._percents: dict[int, int] = {}
        self._settled: tuple[int, RampEvidence] | None = None

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
        self._percents = dict(percents)
        if entry.kind == "counts":
            self._count(self._counters.of(unpack_counts(entry.content), percents), percents)
        else:
            self.observe(unpack(entry.content), percents, entry.at)
        if self.seen is not None:
            self.rhythm.add((entry.at - self.seen).total_seconds())
        self.seen = entry.at
        verdict = self.judge(entry.at)
        if isinstance(verdict, Breach):
            self.breach = verdict
        self.curve.add(self._point(entry.at), always=self.breach is not None)

    def observe(
        self, observations: Sequence[Observation], percents: Mapping[int, int], at: datetime
    ) -> None:
        """Take in observations as they were accepted, both arms side by side.

        Args:
            observations: in the order in which they were accepted.
            percents: the candidate's share by generation.
            at: when they were accepted.
        """
        served = self.evidence.phase.percent, self.entered
        due = self._aligned.add(observations, percents, at, served)
        if any(seen.time < self.entered + LONGEST_LAG for seen in due):
            due = self._without_edges(due, percents)
        self.evidence.add(columns_of(due, percents, self._units))

    def _without_edges(
        self, due: Sequence[Observation], percents: Mapping[int, int]
    ) -> list[Observation]:
        """Leave out the edges of a stage where one provider is far quicker than the other.

        Its answers to the first requests of a stage are there while the other's are still made, as
        if it had been given more of them; at the end of the stage it is the other way round.
        """
        edge = self.evidence.settles_in([each for each in due if each.arm == "candidate"])
        if not edge:
            return list(due)
        here, begins = self.evidence.phase.percent, self.entered + timedelta(seconds=edge)

        def is_inside(seen: Observation) -> bool:
            percent = percents[seen.generation]
            if seen.only_revenue or not 0 < percent < 100:
                return True
            return seen.time >= begins if percent == here else seen.time <= self.entered

        left = [seen for seen in due if not is_inside(seen)]
        # People see them all the same.
        self.evidence.arms.add(columns_of(left, percents, RampUnits("request")))
        return [seen for seen in due if is_inside(seen)]

    def settled(self) -> RampEvidence:
        """The evidence with everything that still waits for the other arm to report."""
        if not self._aligned.waiting:
            return self.evidence
        if self._settled is None or self._settled[0] != self.seq:
            found = RampEvidence(self.evidence.policy, self._frozen)
            found.restore(self.evidence.save())
            units = RampUnits.restored(self._units.save())
            rest = Alignment(self._aligned.waiting).release(_EVER)
            found.add(columns_of(rest, self._percents, units))
            self._settled = self.seq, found
        return self._settled[1]

    def _count(self, counted: Counted, percents: Mapping[int, int]) -> None:
        columns = columns_of_counts(counted.counts, percents)
        self.evidence.add(columns)
        if counted.totals:
            self.evidence.add_spent(spent_of(counted.totals, percents), columns.tally())

    def judge(self, now: datetime, awake: datetime | None = None) -> Verdict:
        """See `Evaluation`."""
        if self.breach is not None:
            return self.breach
        over = self.seen is not None and now - self.seen > LONGEST_LAG
        hearing = Hearing(awake, self.rhythm.unusual(self._frozen), self._units.sticky)
        return judge_ramp(
            self.settled() if over else self.evidence,
            entered=self.entered,
            last_seen=self.seen,
            now=now,
            hearing=hearing,
        )

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
            waiting=tuple(self._aligned.waiting),
            reported=self._aligned.reported,
            behind=self._aligned.behind,
            percents=self._percents,
            rhythm=self.rhythm.state,
            counters=self._counters.state,
        )
        return _written(saved)

    def restore(self, content: bytes) -> None:
        """See `Evaluation`."""
        saved = _RampSaved.model_validate_json(zlib.decompress(content))
        self.evidence.restore(saved.evidence)
        self._units = RampUnits.restored(saved.units)
        self.seq, self.entered, self.seen = saved.seq, saved.entered, saved.seen
        self._left = saved.stages
        self._aligned = Alignment(saved.waiting, saved.reported, saved.behind)
        self._percents = saved.percents
        self.rhythm = Rhythm(saved.rhythm)
        self._counters = CounterAlignment(saved.counters)
        self.curve = Curve.restored(saved.curve)
        self.breach = None if saved.breach is None else saved.breach.verdict


class _ShadowSaved(StrictValue):
    seq: int
    seen: Instant | None
    evidence: ShadowState
    breach: BreachFound | None
    curve: CurveState = CurveState(points=(), spacing=0)
    rhythm: RhythmState = RhythmState()


class ShadowEvaluation:
    """The course of a shadow; see `RampEvaluation` for its attributes."""

    def __init__(self, policy: Policy, opened_at: datetime) -> None:
        """Start without evidence."""
        self.evidence = ShadowEvidence(policy)
        self.rhythm = Rhythm()
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
        if self.seen is not None:
            self.rhythm.add((entry.at - self.seen).total_seconds())
        self.seen = entry.at
        verdict = self.judge(entry.at)
        if isinstance(verdict, Breach):
            self.breach = verdict
        self.curve.add(self._point(entry.at), always=self.breach is not None)

    def _point(self, at: datetime) -> CurvePoint:
        log_e = {name: metric.worse.log_e for name, metric in self.evidence.metrics.items()}
        log_e[DROPOUTS] = self.evidence.dropouts.log_e
        return CurvePoint(at=at, log_e=log_e)

    def judge(self, now: datetime, awake: datetime | None = None) -> Verdict:
        """See `Evaluation`."""
        if self.breach is not None:
            return self.breach
        del awake  # A shadow that is held goes on by itself.
        hearing = Hearing(unusual=self.rhythm.unusual())
        return judge_shadow(
            self.evidence, started=self.started, last_seen=self.seen, now=now, hearing=hearing
        )

    def frozen(self) -> FrozenBaseline:
        """What the shadow taught of the baseline, and of how its requests come in."""
        rhythm = self.rhythm.state
        known = {"gap": rhythm.mean, "longest_gap": rhythm.longest} if rhythm.gaps else {}
        taught = self.evidence.arms.baseline.freeze()
        return FrozenBaseline.model_validate(dict(taught) | known)

    def save(self) -> bytes:
        """See `Evaluation`."""
        breach = None if self.breach is None else BreachFound.of(self.breach)
        saved = _ShadowSaved(
            seq=self.seq,
            seen=self.seen,
            evidence=self.evidence.save(),
            breach=breach,
            curve=self.curve.save(),
            rhythm=self.rhythm.state,
        )
        return _written(saved)

    def restore(self, content: bytes) -> None:
        """See `Evaluation`."""
        saved = _ShadowSaved.model_validate_json(zlib.decompress(content))
        self.evidence.restore(saved.evidence)
        self.seq, self.seen = saved.seq, saved.seen
        self.rhythm = Rhythm(saved.rhythm)
        self.curve = Curve.restored(saved.curve)
        self.breach = None if saved.breach is None else saved.breach.verdict


def begun(ledger: EvidenceLog) -> RampEvaluation | ShadowEvaluation:
    """The course of a ledger before its first entry."""
    if ledger.frozen is None:
        return ShadowEvaluation(ledger.policy, ledger.opened_at)
    return RampEvaluation(ledger.policy, ledger.frozen, ledger.opened_at)


def _written(saved: StrictValue) -> bytes:
    return zlib.compress(saved.model_dump_json().encode(), 1)


_EVER = datetime.max.replace(tzinfo=UTC)
_DEAF = timedelta(seconds=10)
"""A look that comes so much later than the one before it tells that nobody listened meanwhile."""


class Awake:
    """Since when this process has listened without a break.

    It did not while it was stopped, while the database was away, and, for all that can be known,
    while its clock jumped.
    """

    def __init__(self) -> None:
        """Nobody has listened yet."""
        self._last: datetime | None = None
        self._gaps: list[tuple[datetime, timedelta]] = []

    def look(self, now: datetime) -> None:
        """Note that somebody listens now."""
        last, self._last = self._last, now
        if last is None or now < last - _DEAF:
            self._gaps = [(now, timedelta.max)]
        elif now - last > _DEAF:
            self._gaps = [*self._gaps[-50:], (now, now - last)]

    def since(self, max_silence: timedelta, now: datetime) -> datetime:
        """Tell the end of the last break that matters beside a limit of silence."""
        breaks = [end for end, gap in self._gaps if gap > max(_DEAF, max_silence / 4)]
        return breaks[-1] if breaks else now


SMALL = 16 * 1024
"""Bytes of an entry that is sooner taken in than handed to a thread."""


class UnreadableEvidence(Exception):
    """Entries of a ledger are gone or damaged: nobody can judge by it any more."""


class Look(Value):
    """One look at a shadow or ramp, as a step can record it.

    Attributes:
        attempt: which.
        at: when it was judged.
        seq: the last entry that counted.
        input_sha256: of all entries up to the last one of the ledger.
        phase: index of the ramp's phase.
        seen_at: when the last observation was accepted.
        closed: whether it is over.
        judged: the verdict. A breach that closed the ledger is the verdict for good.
    """

    attempt: str
    at: Instant
    seq: int
    input_sha256: str
    phase: int
    seen_at: Instant | None
    closed: bool
    judged: Judged


class Evaluations:
    """Adds up ledgers. `current` gives a course that must not be changed."""

    def __init__(self, database: AsyncEngine) -> None:
        """Read from the records database."""
        self._database = reading(database)
        self._known: dict[str, RampEvaluation | ShadowEvaluation] = {}
        self._saved: dict[str, int] = {}
        self.awake = Awake()
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def current(self, attempt: str) -> tuple[EvidenceLog, RampEvaluation | ShadowEvaluation]:
        """Add up everything that is in the ledger now.

        Raises:
            UnknownRecord: there is no such ledger.
            UnreadableEvidence: it cannot be added up.
        """
        async with self._one_at_a_time[attempt]:
            async with self._database.connect() as conn:
                ledger = await ledgers.find(conn, attempt)
                if ledger is None:
                    raise UnknownRecord(f"nothing is observed for {attempt}")
                course = self._known.get(attempt) or await _resumed(conn, ledger)
                self._known[attempt] = course
                if course.seq < ledger.last:
                    percents = await percents_of(conn, attempt)
                    if not await self._read_on(conn, ledger, course, percents):
                        course = await _resumed(conn, ledger)
                        self._known[attempt] = course
                        if not await self._read_on(conn, ledger, course, percents):
                            raise UnreadableEvidence(f"entries of {attempt} are missing")
            return ledger, course

    async def look(self, attempt: str, now: datetime) -> Look:
        """Judge a shadow or ramp now; see `current`."""
        ledger, course = await self.current(attempt)
        awake = self.awake.since(ledger.policy.max_silence, now)
        verdict = ledger.breach.verdict if ledger.breach else course.judge(now, awake)
        return Look(
            attempt=attempt,
            at=now,
            seq=course.seq,
            input_sha256=ledger.digest,
            phase=ledger.phase,
            seen_at=ledger.seen_at,
            closed=ledger.closed_at is not None,
            judged=Judged.of(verdict),
        )

    async def saved(self, attempt: str) -> tuple[int, bytes] | None:
        """Write down what was learnt, if anything was since it was last asked for: seq, bytes."""
        async with self._one_at_a_time[attempt]:
            course = self._known.get(attempt)
            if course is None or course.seq <= self._saved.get(attempt, 0):
                return None
            content = await asyncio.to_thread(course.save)
            self._saved[attempt] = course.seq
            return course.seq, content

    def forget(self, attempt: str) -> None:
        """Free the memory of a course that is over."""
        self._known.pop(attempt, None)
        self._saved.pop(attempt, None)
        self._one_at_a_time.pop(attempt, None)

    async def _read_on(
        self,
        conn: AsyncConnection,
        ledger: EvidenceLog,
        course: RampEvaluation | ShadowEvaluation,
        percents: Mapping[int, int],
    ) -> bool:
        """Take in what is new; False: entries are missing that this course has not seen."""
        while course.seq < ledger.last and course.breach is None:
            found = await ledgers.entries(conn, ledger.attempt, after=course.seq, until=ledger.last)
            expected = range(course.seq + 1, course.seq + 1 + len(found))
            if not found or [entry.seq for entry in found] != list(expected):
                return False
            for entry in found:
                try:
                    if len(entry.content) <= SMALL:
                        course.take(entry, percents)
                    else:
                        await asyncio.to_thread(course.take, entry, percents)
                except (ValueError, LookupError, zlib.error) as error:
                    # What was half taken in must not be added to.
                    self._known.pop(ledger.attempt, None)
                    raise UnreadableEvidence(
                        f"entry {entry.seq} of {ledger.attempt} is damaged"
                    ) from error
        return True


async def percents_of(conn: AsyncConnection, attempt: str) -> dict[int, int]:
    """The candidate's share by generation, of one shadow or ramp."""
    return {
        serving.generation: serving.split.percent
        for serving in await allocation.of_attempt(conn, attempt)
    }


async def _resumed(conn: AsyncConnection, ledger: EvidenceLog) -> RampEvaluation | ShadowEvaluation:
    course = begun(ledger)
    saved = await ledgers.checkpoint(conn, ledger.attempt)
    if saved is not None:
        try:
            course.restore(saved[1])
        except (ValueError, LookupError, zlib.error):
            log.warning("a checkpoint is damaged; adding up again", attempt=ledger.attempt)
            return begun(ledger)
    return course
