"""Charts as plain geometry: the templates draw them as SVG, with the same numbers in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.records.bisect_progress import Bar

WIDTH, HEIGHT = 640, 180
_GAP = 1.0
_LEAST_SEEN = 1.5
_COLOURS = 6


@dataclass(frozen=True)
class Column:
    """One bar: where it stands, in the units of the chart, and what it is about."""

    x: float
    y: float
    width: float
    height: float
    bar: Bar
    is_highest: bool


@dataclass(frozen=True)
class BarChart:
    """A bar chart. `top` is the probability at its upper edge."""

    width: int
    height: int
    columns: tuple[Column, ...]
    top: float


@dataclass(frozen=True)
class ChartCurve:
    """One line: its points as SVG takes them, its last value, and how it is drawn.

    `stroke` is one of six colours; those that come round again are dashed.
    """

    name: str
    points: str
    last: float
    stroke: int
    is_dashed: bool


@dataclass(frozen=True)
class LineChart:
    """A line chart. `zero` and `limit` are heights in the chart; `low` and `high` its edges."""

    width: int
    height: int
    curves: tuple[ChartCurve, ...]
    zero: float
    limit: float | None
    low: float
    high: float

    def percent_down(self, height: float) -> float:
        """Where a height lies, in percent of the chart's from above: words stand there."""
        return round(100 * height / self.height, 1)


def bars_of(bars: Sequence[Bar]) -> BarChart:
    """Draw the posterior over a range."""
    top = max((each.probability for each in bars), default=0.0) or 1.0
    step = WIDTH / max(len(bars), 1)
    gap = _GAP if step > 4 * _GAP else 0.0
    columns = []
    for place, each in enumerate(bars):
        share = each.probability / top
        height = max(share * HEIGHT, _LEAST_SEEN if each.probability > 0 else 0.0)
        columns.append(
            Column(
                x=round(place * step + gap / 2, 2),
                y=round(HEIGHT - height, 2),
                width=round(step - gap, 2),
                height=round(height, 2),
                bar=each,
                is_highest=each.probability == top,
            )
        )
    return BarChart(WIDTH, HEIGHT, tuple(columns), top)


def lines_of(
    series: Mapping[str, Sequence[tuple[float, float]]], *, limit: float | None = None
) -> LineChart:
    """Draw values over time; each series is pairs of a time (any unit) and a value."""
    values = [value for points in series.values() for _, value in points]
    times = [time for points in series.values() for time, _ in points]
    edges = [*values, 0.0, *([limit] if limit is not None else [])]
    low, high = min(edges), max(edges)
    span = (high - low) or 1.0
    start, length = (min(times), (max(times) - min(times)) or 1.0) if times else (0.0, 1.0)

    def height_of(value: float) -> float:
        return round(HEIGHT - (value - low) / span * HEIGHT, 2)

    curves = tuple(
        ChartCurve(
            name=name,
            points=" ".join(
                f"{round((time - start) / length * WIDTH, 2)},{height_of(value)}"
                for time, value in points
            )
            # One point alone would not be seen.
            + (f" {WIDTH},{height_of(points[0][1])}" if len(points) == 1 else ""),
            last=points[-1][1] if points else 0.0,
            stroke=place % _COLOURS,
            is_dashed=place >= _COLOURS,
        )
        for place, (name, points) in enumerate(series.items())
    )
    above = None if limit is None else height_of(limit)
    return LineChart(WIDTH, HEIGHT, curves, height_of(0.0), above, low, high)
