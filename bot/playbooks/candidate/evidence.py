"""Evidence on a candidate as people read it: a table of metrics, and each one's curve (Markdown).

Numbers in, words out. The curve is text, so that it can stand in an issue and be read aloud; where
GitHub can fetch one, a picture stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from bot import markdown
from bot.canary.reports import Evidence, MetricReport, RampReport
from bot.canary.verdict import factor
from bot.pictures.evidence import MOST_POINTS, MOST_STAGES, EvidenceChart, Row, StageMark
from bot.pictures.evidence import NAMES as DRAWN_NAMES

NAMES = {**DRAWN_NAMES, "silence": "silence"}
_WIDTH = 40
_LEVELS = "▁▂▃▄▅▆▇█"


def metric_table(metrics: Mapping[str, MetricReport]) -> str:
    """Compare both arms, a row per metric; empty where nothing is compared yet."""
    if not metrics:
        return ""
    lines = [
        "| metric | baseline | candidate | candidate/baseline (95%) | evidence against it "
        "| verdict |",
        "|---|---|---|---|---|---|",
    ]
    for name, metric in metrics.items():
        shown = (
            NAMES.get(name, name),
            value(name, metric.baseline),
            value(name, metric.candidate),
            _ratio(metric),
            f"{factor(metric.worse.log_e)} (limit {factor(metric.worse.limit)})",
            f"**{metric.verdict}**" if metric.verdict == "breach" else metric.verdict,
        )
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


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


def curves(report: RampReport, picture: str | None) -> str:
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
        f"{factor(evidence.log_e)} (limit {factor(evidence.limit)})"
        + ("  BREACH" if evidence.crossed else "")
        for name, seen, evidence in drawn
    ]
    caption = "Evidence against the candidate, over time; a full block is the limit:"
    shown = markdown.image("the same as the text below", picture) if picture else ""
    parts = (caption, shown, markdown.fence(chr(10).join(lines)))
    return "\n\n".join(part for part in parts if part)


def watched(report: RampReport) -> dict[str, Evidence]:
    """Everything that may end a ramp: metrics, the split, and absolute limits once they count."""
    limits = {name: limit.evidence for name, limit in report.limits.items() if limit.seen}
    metrics = {name: metric.worse for name, metric in report.metrics.items()}
    return {**metrics, "sample_ratio": report.sample_ratio.evidence, **limits}


def chart_of(report: RampReport) -> EvidenceChart | None:
    """Turn a ramp's curve into what its picture shows; None before the first points."""
    if not report.curve:
        return None
    start, end = report.window.start, max(report.window.end, report.curve[-1].at)
    length = (end - start).total_seconds() or 1.0

    def share(at: datetime) -> float:
        return min(max((at - start).total_seconds() / length, 0.0), 1.0)

    rows = []
    for name, evidence in watched(report).items():
        course: list[float | None] = [None] * MOST_POINTS
        for point in report.curve:
            if name in point.log_e:
                place = min(int(share(point.at) * MOST_POINTS), MOST_POINTS - 1)
                before = course[place]
                now = point.log_e[name] / evidence.limit
                course[place] = now if before is None else max(before, now)
        if any(share is not None for share in course):
            rows.append(
                Row(name=name, limit=evidence.limit, now=evidence.log_e, course=tuple(course))
            )
    if not rows:
        return None
    stages = [StageMark(at=share(each.entered), percent=each.percent) for each in report.stages]
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
    return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})" if found else "not seen"
