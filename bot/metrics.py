"""What `/metrics` publishes: what this process has done, and what the records say by now.

Counters and histograms are this process's own; `docs/operating.md` has the table of all of them.
What comes from the records is the same on every replica: take the maximum, not the sum. No label
has a value that somebody from outside could make up.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.culprit.evidence import TrialOutcome
from bot.records.outages import outage_of
from bot.records.tables.intake import inbox, notifications
from bot.records.tables.recovery import OPEN_STATUSES, incidents, runs, trials
from bot.records.tables.safety import replicas
from bot.records.tables.traffic import evidence, servings
from bot.triggers import Severity

log = structlog.get_logger(__name__)

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.0, 10.0)
_LONG = (60.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)
"""Seconds, from a minute to a day."""

ANSWERED = Histogram(
    "playbooks_delivery_answer_seconds",
    "Time from a delivery to its answer.",
    buckets=_QUICK,
    registry=None,
)
BEGUN = Histogram(
    "playbooks_delivery_run_seconds",
    "Time from a request's arrival until its Run is begun.",
    buckets=(*_QUICK, 30.0, 60.0, 300.0),
    registry=None,
)
RUN_CHANGES = Counter(
    "playbooks_run_changes",
    "Runs that came to a state, by playbook and state; declined: refused, or nothing to do.",
    ("playbook", "state"),
    registry=None,
)
STEPS = Counter(
    "playbooks_steps",
    "Steps that were taken, by step and what came of it.",
    ("step", "outcome"),
    registry=None,
)
STEP_SECONDS = Histogram(
    "playbooks_step_seconds",
    "How long a step took, with what it waited out, by what it is for.",
    ("duty",),
    buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0),
    registry=None,
)
STEP_RETRIES = Counter(
    "playbooks_step_retries",
    "Tries of a step that met a passing fault, by step.",
    ("step",),
    registry=None,
)
GITHUB_ANSWERS = Counter(
    "playbooks_github_answers",
    "Answers of GitHub, by their kind; lost: none came.",
    ("kind",),
    registry=None,
)
NOTIFICATIONS = Counter(
    "playbooks_notifications",
    "Tries to send a notification, by what came of it.",
    ("outcome",),
    registry=None,
)
TRIALS = Counter(
    "playbooks_trials", "Trials of commits that ended, by outcome.", ("outcome",), registry=None
)
TAKEOVERS = Counter(
    "playbooks_takeovers", "Replicas that this one has taken over from.", registry=None
)
LOOP_LAG = Histogram(
    "playbooks_event_loop_lag_seconds",
    "How much too late the event loop came back to a sleeper.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=None,
)

PROCESS = (
    ANSWERED, BEGUN, RUN_CHANGES, STEPS, STEP_SECONDS, STEP_RETRIES, GITHUB_ANSWERS, NOTIFICATIONS,
    TRIALS, TAKEOVERS, LOOP_LAG,
)  # fmt: skip
for _outcome in TrialOutcome:
    TRIALS.labels(_outcome)
for _kind in ("2xx", "304", "4xx", "5xx", "lost"):
    GITHUB_ANSWERS.labels(_kind)
for _sent in ("sent", "failed", "given up"):
    NOTIFICATIONS.labels(_sent)

_LOOK_EVERY_S = 0.5
FRESH_S = 5.0
"""Seconds for which the records are not read again, whoever asks for `/metrics` how often."""
_MOST_RAMPS = 50
_DEAD_AFTER = timedelta(seconds=40)


async def watch_event_loop() -> None:
    """Measure how late the event loop is; until cancelled."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_LOOK_EVERY_S)
        LOOP_LAG.observe(max(time.perf_counter() - began - _LOOK_EVERY_S, 0.0))


class RecordsCollector(Collector):
    """What the records say by now: read by `look`, given in Prometheus's form."""

    def __init__(self, records: AsyncEngine, clock: Callable[[], datetime]) -> None:
        """Read from `records`, an engine that only reads; `clock` tells the time (UTC)."""
        self._records = records
        self._clock = clock
        self._families: list[Metric] = []
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        self._mitigated_until: datetime | None = None
        self._mitigation = Histogram(
            "playbooks_time_to_mitigate_seconds",
            "Time from an incident's beginning until it was mitigated.",
            buckets=_LONG,
            registry=None,
        )

    async def look(self) -> None:
        """Read the records, unless that was done a moment ago. A database that is away is said."""
        async with self._looking:
            if time.monotonic() - self._looked < FRESH_S:
                return
            readable = GaugeMetricFamily(
                "playbooks_records_readable", "Whether the records could be read (1) or not (0)."
            )
            try:
                async with asyncio.timeout(FRESH_S), self._records.connect() as conn:
                    self._families = [readable, *await self._read(conn)]
                readable.add_metric([], 1)
            except Exception as error:
                if outage_of(error) is None and not isinstance(error, TimeoutError):
                    log.exception("the records could not be measured")
                readable.add_metric([], 0)
                self._families = [readable]
            self._looked = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """Give what was read last."""
        yield from self._families
        yield from self._mitigation.collect()

    async def _read(self, conn: AsyncConnection) -> list[Metric]:
        now = self._clock()
        await self._read_mitigations(conn)
        return [
            *await _inbox(conn, now),
            *await _runs(conn),
            *await _counts(conn, now),
            *await _ramps(conn),
        ]

    async def _read_mitigations(self, conn: AsyncConnection) -> None:
        """Add what was mitigated since the last look; at the first, all that ever was."""
        query = sa.select(incidents.c.mitigated_at, incidents.c.started_at, incidents.c.detected_at)
        query = query.where(incidents.c.mitigated_at.is_not(None))
        if self._mitigated_until is not None:
            query = query.where(incidents.c.mitigated_at > self._mitigated_until)
        for row in await conn.execute(query.order_by(incidents.c.mitigated_at)):
            took = row.mitigated_at - (row.started_at or row.detected_at)
            self._mitigation.observe(max(took.total_seconds(), 0.0))
            self._mitigated_until = row.mitigated_at


def _gauge(
    name: str,
    text: str,
    values: Mapping[tuple[str, ...], float],
    labels: tuple[str, ...] = (),
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(list(key), value)
    return family


async def _inbox(conn: AsyncConnection, now: datetime) -> list[Metric]:
    query = sa.select(sa.func.count(), sa.func.min(inbox.c.received_at)).where(
        inbox.c.done_at.is_(None)
    )
    depth, oldest = (await conn.execute(query)).one()
    age = 0.0 if oldest is None else max((now - oldest).total_seconds(), 0.0)
    return [
        _gauge("playbooks_inbox_entries", "Requests that wait to be begun.", {(): depth}),
        _gauge("playbooks_inbox_oldest_age_seconds", "Age of the oldest of them.", {(): age}),
    ]


async def _runs(conn: AsyncConnection) -> list[Metric]:
    """The live Runs, and which of them go no further without a person."""
    needs = runs.c.standing["state"].as_string() == "needs you"
    waits = sa.or_(runs.c.state == "awaiting approval", needs)
    since = sa.func.coalesce(runs.c.standing["at"].as_string(), "")
    query = sa.select(runs.c.playbook, runs.c.state, waits.label("waits"), since, runs.c.updated_at)
    live: dict[tuple[str, ...], float] = {}
    waiting: dict[tuple[str, ...], float] = {("revert",): 0}
    oldest: dict[tuple[str, ...], float] = {}
    for row in await conn.execute(query.where(runs.c.finished_at.is_(None))):
        key = (row.playbook, row.state)
        live[key] = live.get(key, 0) + 1
        if row.waits:
            at = datetime.fromisoformat(row[3]) if row[3] else row.updated_at
            waiting[row.playbook,] = waiting.get((row.playbook,), 0) + 1
            oldest[row.playbook,] = min(oldest.get((row.playbook,), float("inf")), at.timestamp())
    return [
        _gauge("playbooks_runs", "Runs under way.", live, ("playbook", "state")),
        _gauge(
            "playbooks_waiting_for_person",
            "Runs that go no further without a person.",
            waiting,
            ("playbook",),
        ),
        _gauge(
            "playbooks_waiting_for_person_since_timestamp_seconds",
            "Since when the first of them waits.",
            oldest,
            ("playbook",),
        ),
    ]


async def _counts(conn: AsyncConnection, now: datetime) -> list[Metric]:
    by_severity = (
        sa.select(incidents.c.severity, sa.func.count())
        .where(incidents.c.status.in_(OPEN_STATUSES))
        .group_by(incidents.c.severity)
    )
    open_ones: dict[tuple[str, ...], float] = {(each.value,): 0 for each in Severity}
    for severity, count in await conn.execute(by_severity):
        open_ones[severity,] = count
    unsent = sa.select(sa.func.count()).where(notifications.c.state.in_(["pending", "failed"]))
    under_way = (
        sa.select(sa.func.count())
        .select_from(trials.join(runs, runs.c.id == trials.c.run_id))
        .where(trials.c.ended_at.is_(None), runs.c.finished_at.is_(None))
    )
    living = sa.select(sa.func.count()).where(
        replicas.c.beat_at > now - _DEAD_AFTER, replicas.c.taken_over_by.is_(None)
    )
    return [
        _gauge("playbooks_incidents_open", "Open incidents.", open_ones, ("severity",)),
        _gauge(
            "playbooks_notifications_waiting",
            "Notifications that are not sent yet.",
            {(): await conn.scalar(unsent) or 0},
        ),
        _gauge(
            "playbooks_trials_under_way",
            "Trials of commits under way.",
            {(): await conn.scalar(under_way) or 0},
        ),
        _gauge("playbooks_replicas", "Living replicas.", {(): await conn.scalar(living) or 0}),
    ]


async def _ramps(conn: AsyncConnection) -> list[Metric]:
    """The newest open shadows and ramps, by their ids: names of capabilities are nobody's here."""
    later = servings.alias()
    newest = (
        sa.select(sa.func.max(later.c.generation))
        .where(later.c.attempt == evidence.c.attempt)
        .correlate(evidence)
        .scalar_subquery()
    )
    query = (
        sa.select(
            evidence.c.attempt,
            evidence.c.mode,
            evidence.c.seq,
            evidence.c.seen_at,
            servings.c.split,
        )
        .select_from(evidence)
        .join(
            servings,
            sa.and_(
                servings.c.repository_id == evidence.c.repository_id,
                servings.c.generation == newest,
            ),
            isouter=True,
        )
        .where(evidence.c.closed_at.is_(None))
        .order_by(evidence.c.opened_at.desc())
        .limit(_MOST_RAMPS)
    )
    share: dict[tuple[str, ...], float] = {}
    entries: dict[tuple[str, ...], float] = {}
    seen: dict[tuple[str, ...], float] = {}
    for row in await conn.execute(query):
        key = (row.attempt, row.mode)
        share[key] = (row.split or {}).get("percent", 0) / 100
        entries[key] = row.seq
        if row.seen_at is not None:
            seen[key] = row.seen_at.timestamp()
    labels = ("attempt", "mode")
    return [
        _gauge("playbooks_ramp_share_ratio", "The candidate's share of traffic.", share, labels),
        _gauge("playbooks_ramp_evidence_entries", "Entries of its evidence.", entries, labels),
        _gauge(
            "playbooks_ramp_seen_timestamp_seconds",
            "When something was last observed of it.",
            seen,
            labels,
        ),
    ]


class BuildInfo(Collector):
    """Which release this is, and what it can replay."""

    def __init__(self, version: str, code: str) -> None:
        """Keep the version of the product, and of the code that Runs are continued under."""
        self._said = {"version": version, "code": code, "python": platform.python_version()}

    def collect(self) -> Iterator[Metric]:
        """Give it in Prometheus's form."""
        yield InfoMetricFamily("playbooks_build", "What this process runs.", self._said)


def publish(registry: CollectorRegistry, *collectors: Collector) -> None:
    """Have `registry` publish the process's own metrics, and these."""
    for each in (*PROCESS, *collectors):
        registry.register(each)
    for of_python in (ProcessCollector, PlatformCollector, GCCollector):
        of_python(registry=registry)
