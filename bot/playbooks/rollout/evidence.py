"""What was observed of a candidate, and its report.

Numbers in, words out. The curve is text, so that it can stand in an issue and be read aloud; where
GitHub can fetch one, a picture stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.canary.judge import Verdict
from bot.canary.messages import NAMES as WATCHED
from bot.canary.messages import against, chance, share
from bot.canary.ramp_evidence import SAMPLE_RATIO
from bot.canary.report import (
    MetricEvidence,
    MetricReport,
    RampReport,
    ReportSubject,
    ShadowDiffReport,
    WatchedSpan,
    ramp_report,
    shadow_report,
)
from bot.canary.shadow_evidence import DROPOUTS
from bot.pictures.evidence import MOST_POINTS, MOST_STAGES, EvidenceChart, MetricRow, StageMark
from bot.playbooks.rollout.ports import allocation, ledgers
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
    """Read the ledger of the shadow or ramp that the capability has now; None where it has none.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository that has the capability.
        capability: its name in the configuration.
    """
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
        course.settled() if ended else course.evidence,
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
    """Describe a shadow as it is now, or as it ended.

    Args:
        ledger: the head of the ledger that its observations are in.
        course: what was learnt from them.
        verdict: what is concluded.
        candidate: the provider that was shadowed.
        now: the time of the report; where the ledger is closed, its end counts instead.
    """
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


NAMES = {**WATCHED, "silence": "silence"}
Report = RampReport | ShadowDiffReport
_WIDTH = 40
_LEVELS = "▁▂▃▄▅▆▇█"


def metric_table(metrics: Mapping[str, MetricReport]) -> str:
    """Compare both arms, a row per metric; empty where nothing is compared yet."""
    if not metrics:
        return ""
    lines = [
        "| metric | baseline | candidate | candidate/baseline (95%) | too bad? | good enough? |",
        "|---|---|---|---|---|---|",
    ]
    for name, metric in metrics.items():
        shown = (
            NAMES.get(name, name),
            value(name, metric.baseline),
            value(name, metric.candidate),
            _ratio(metric),
            _too_bad(metric),
            _good_enough(metric),
        )
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def _too_bad(metric: MetricReport) -> str:
    worse = metric.worse
    if worse.crossed:
        return f"**yes** (by chance at most {chance(worse.log_e)})"
    return against(worse.log_e, worse.limit, crossed=False)


def _good_enough(metric: MetricReport) -> str:
    if metric.verdict == "breach":
        return "no"
    if metric.verdict == "within margin":
        return "yes"
    return f"not sure yet: {share(metric.within.log_e, metric.within.limit)} of the proof"


def value(name: str, number: float | None) -> str:
    """Write an arm's value of a metric with its unit."""
    if number is None:
        return "not seen"
    if name.startswith("error"):
        return f"{number:.2%}"
    if name.startswith("latency"):
        return f"{number * 1000:,.0f} ms" if number < 10 else f"{number:,.1f} s"
    if name == "cost":
        return f"{number:.3g} USD"
    return f"{number:.3g}"


def curves(report: Report, picture: str | None) -> str:
    """Show each metric's evidence over time against its limit; empty before the first points.

    Args:
        report: what was observed.
        picture: the address of the same as a picture; None where GitHub could not fetch it.
    """
    drawn = [
        (name, [point.log_e[name] for point in report.curve if name in point.log_e], evidence)
        for name, evidence in watched(report).items()
    ]
    drawn = [row for row in drawn if row[1]]
    if not drawn:
        return ""
    widest = max(len(NAMES.get(name, name)) for name, _, _ in drawn)
    lines = [
        f"{NAMES.get(name, name):<{widest}}  {sparkline(seen, evidence.limit):<{_WIDTH}}  "
        f"{_where(evidence)}"
        for name, seen, evidence in drawn
    ]
    false_alarms = sum(evidence.alpha for evidence in watched(report).values())
    caption = (
        "Evidence against the candidate, over time. A full block is the limit; a candidate as good "
        f"as tolerated reaches any of them by chance in at most {false_alarms:.1%} of tries:"
    )
    shown = markdown.image("the same as the text below", picture) if picture else ""
    parts = (caption, shown, markdown.fence(chr(10).join(lines)))
    return "\n\n".join(part for part in parts if part)


def _where(evidence: MetricEvidence) -> str:
    said = against(evidence.log_e, evidence.limit, crossed=evidence.crossed)
    return said.upper() if evidence.crossed else said


def watched(report: Report) -> dict[str, MetricEvidence]:
    """Everything that speaks against a candidate.

    Metrics, and the split of a ramp or the lost answers of a shadow; absolute limits once they
    count.
    """
    if isinstance(report, ShadowDiffReport):
        metrics = {name: metric.worse for name, metric in report.metrics.items()}
        return {**metrics, DROPOUTS: report.sample_ratio.evidence}
    limits = {name: limit.evidence for name, limit in report.limits.items() if limit.seen}
    metrics = {name: metric.worse for name, metric in report.metrics.items()}
    return {**metrics, SAMPLE_RATIO: report.sample_ratio.evidence, **limits}


def chart_of(report: Report) -> EvidenceChart | None:
    """Turn a curve into what its picture shows; None before the first points."""
    if not report.curve:
        return None
    start, end = report.window.start, max(report.window.end, report.curve[-1].at)
    length = (end - start).total_seconds() or 1.0

    def place(at: datetime) -> float:
        return min(max((at - start).total_seconds() / length, 0.0), 1.0)

    rows = []
    for name, evidence in watched(report).items():
        course: list[float | None] = [None] * MOST_POINTS
        for point in report.curve:
            if name in point.log_e:
                stretch = min(int(place(point.at) * MOST_POINTS), MOST_POINTS - 1)
                before = course[stretch]
                now = point.log_e[name] / evidence.limit
                course[stretch] = now if before is None else max(before, now)
        if any(seen is not None for seen in course):
            rows.append(
                MetricRow(name=name, limit=evidence.limit, now=evidence.log_e, course=tuple(course))
            )
    if not rows:
        return None
    served = report.stages if isinstance(report, RampReport) else ()
    stages = [StageMark(at=place(each.entered), percent=each.percent) for each in served]
    return EvidenceChart(seconds=int(length), stages=tuple(stages[-MOST_STAGES:]), rows=tuple(rows))


def sparkline(seen: Sequence[float], limit: float, width: int = _WIDTH) -> str:
    """Draw evidence (nats) as blocks from none to the limit, at most `width` of them.

    Where there are more points than blocks, each block shows the highest it stands for.
    """
    count = min(width, len(seen))
    cuts = [index * len(seen) // count for index in range(count + 1)]
    tops = [max(seen[start:end]) for start, end in pairwise(cuts)]
    return "".join(_LEVELS[_level(top, limit)] for top in tops)


def _level(log_e: float, limit: float) -> int:
    if log_e >= limit:
        return len(_LEVELS) - 1
    return min(int(max(log_e, 0.0) / limit * (len(_LEVELS) - 1)), len(_LEVELS) - 2)


def _ratio(metric: MetricReport) -> str:
    found = metric.comparison
    if found is not None:
        return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})"
    if metric.baseline and metric.candidate is not None:
        return f"{metric.candidate / metric.baseline:.2f} (only sums are known)"
    return "not seen"
