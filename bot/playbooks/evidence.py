"""Evidence on a candidate as people read it: a table of metrics, and each one's curve (Markdown).

Numbers in, words out. The curve is text, so that it can stand in an issue and be read aloud; a
picture of it may stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from bot import markdown
from bot.canary.reports import CurvePoint, MetricReport
from bot.canary.verdict import factor

NAMES = {
    "error": "errors",
    "latency": "latency, whole",
    "latency_p50": "latency p50",
    "latency_p95": "latency p95",
    "latency_p99": "latency p99",
    "cost": "cost",
    "roas": "ROAS",
    "sample_ratio": "split",
    "silence": "silence",
}
_WIDTH = 40
_LEVELS = "▁▂▃▄▅▆▇█"


def metric_table(metrics: Mapping[str, MetricReport]) -> str:
    """Compare both arms, a row per metric; empty where nothing is compared yet."""
    if not metrics:
        return ""
    lines = [
        "| metric | baseline | candidate | candidate/baseline (95%) | against it | verdict |",
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


def curves(points: Sequence[CurvePoint], metrics: Mapping[str, MetricReport]) -> str:
    """Draw each metric's evidence over time against its limit; empty before the first points.

    A full block is the limit: whatever reaches it is a breach.
    """
    rows = [
        (name, [point.log_e[name] for point in points if name in point.log_e], metric.worse)
        for name, metric in metrics.items()
    ]
    drawn = [(name, seen, worse) for name, seen, worse in rows if seen]
    if not drawn:
        return ""
    widest = max(len(NAMES.get(name, name)) for name, _, _ in drawn)
    lines = [
        f"{NAMES.get(name, name):<{widest}}  {sparkline(seen, worse.limit):<{_WIDTH}}  "
        f"{factor(worse.log_e)} (limit {factor(worse.limit)})"
        + ("  BREACH" if worse.crossed else "")
        for name, seen, worse in drawn
    ]
    caption = "Evidence against the candidate, over time; a full block is the limit:"
    return f"{caption}\n\n{markdown.fence(chr(10).join(lines))}"


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
