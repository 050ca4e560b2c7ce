"""The evidence against a candidate as a picture (SVG), each metric's over time. Pure.

Every metric has a row of its own, scaled so that its limit is at the same height: what reaches
the line is a breach, whatever the metric. Upright lines are the stages, where there are any.

The posterior of a search as a picture (SVG): where in the range the culprit may be. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from html import escape
from typing import Annotated

from pydantic import Field

from bot.canary.messages import NAMES, against, chance
from bot.triggers import Value

MOST_POINTS, MOST_STAGES = 60, 12

_CODES = tuple(NAMES)
_HEAD, _ROW = struct.Struct(">IBBB"), struct.Struct(">BHh")
_NOTHING, _LIMIT = 255, 200
_TOP_OF_ROW = 254 / _LIMIT
_MILLI = 1000.0

WIDTH, ROW_HEIGHT = 720, 46
_LEFT, _RIGHT, _TOP, _BOTTOM = 124, 196, 24, 26
_GAP = 8

_STYLE = """
text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #59636e; }
.name { fill: #1f2328; font-weight: 600; } .stage { stroke: #d1d9e0; }
.band { fill: #f6f8fa; } .limit { stroke: #cf222e; stroke-dasharray: 4 3; }
.seen { fill: none; stroke: #0969da; stroke-width: 1.5; } .dot { fill: #0969da; }
.over .seen { stroke: #cf222e; } .over .dot { fill: #cf222e; }
.over .said { fill: #cf222e; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1; } .name { fill: #f0f6fc; } .stage { stroke: #3d444d; }
  .band { fill: #151b23; } .limit { stroke: #f85149; }
  .seen { stroke: #4493f8; } .dot { fill: #4493f8; }
  .over .seen { stroke: #f85149; } .over .dot, .over .said { fill: #f85149; }
}
"""


class MetricRow(Value):
    """One metric: its name, its limit and what there is now (nats), and its course.

    `course`: for each stretch of time the highest evidence, as a share of the limit; None where
    nothing was seen.
    """

    name: str
    limit: float
    now: float
    course: tuple[float | None, ...]

    @property
    def crossed(self) -> bool:
        """Whether it ever reached its limit."""
        return any(share is not None and share >= 1 for share in self.course)


class StageMark(Value):
    """When a stage began, as a share of the time shown, and the candidate's percentage."""

    at: Annotated[float, Field(ge=0, le=1)]
    percent: Annotated[int, Field(ge=0, le=100)]


class EvidenceChart(Value):
    """What a picture shows; every row has as many stretches, `seconds` long together."""

    seconds: int
    stages: tuple[StageMark, ...]
    rows: tuple[MetricRow, ...]


def packed(chart: EvidenceChart) -> bytes:
    """Write a chart as few bytes; shares are rounded to half a percent of the limit."""
    points = len(chart.rows[0].course)
    found = [_HEAD.pack(min(chart.seconds, 2**32 - 1), len(chart.stages), len(chart.rows), points)]
    found += [bytes([round(mark.at * 255), mark.percent]) for mark in chart.stages]
    for row in chart.rows:
        limit, now = round(row.limit * _MILLI), round(row.now * 100)
        found.append(
            _ROW.pack(_CODES.index(row.name), min(limit, 0xFFFF), max(-0x8000, min(now, 0x7FFF)))
        )
        found.append(bytes(map(_level, row.course)))
    return b"".join(found)


def unpacked(content: bytes) -> EvidenceChart | None:
    """Read what `packed` wrote; None where it wrote no such thing."""
    try:
        seconds, stages, rows, points = _HEAD.unpack_from(content)
        at = _HEAD.size
        marks = [(content[at + 2 * place], content[at + 2 * place + 1]) for place in range(stages)]
        at += 2 * stages
        found = []
        for _ in range(rows):
            code, limit, now = _ROW.unpack_from(content, at)
            at += _ROW.size
            course = content[at : at + points]
            at += points
            found.append(
                MetricRow(
                    name=_CODES[code],
                    limit=limit / _MILLI,
                    now=now / 100,
                    course=tuple(None if b == _NOTHING else b / _LIMIT for b in course),
                )
            )
        if at != len(content) or not found or not points:
            return None
        return EvidenceChart(
            seconds=seconds,
            stages=tuple(StageMark(at=share / 255, percent=percent) for share, percent in marks),
            rows=tuple(found),
        )
    except (struct.error, IndexError, ValueError):
        return None


def draw_evidence(chart: EvidenceChart) -> str:
    """Draw every row below the other; never empty."""
    inner = WIDTH - _LEFT - _RIGHT
    bottom = _TOP + len(chart.rows) * ROW_HEIGHT
    height = bottom + _BOTTOM
    over = [NAMES[row.name] for row in chart.rows if row.crossed]
    summary = f"Beyond its limit: {', '.join(over)}." if over else "No metric reached its limit."
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="t d">',
        '<title id="t">Evidence against the candidate over time</title>',
        f'<desc id="d">{escape(summary)}</desc>',
        f"<style>{_STYLE}</style>",
    ]
    for place, row in enumerate(chart.rows):
        lines += _row(row, _TOP + place * ROW_HEIGHT, inner)
    lines += _stages(chart.stages, inner, bottom)
    lines += [
        f'<text x="{_LEFT}" y="{height - 8}">start</text>',
        f'<text x="{_LEFT + inner}" y="{height - 8}" text-anchor="end">'
        f"{_duration(chart.seconds)}</text>",
        f'<text x="{_LEFT + inner + 10}" y="{height - 8}">dashed: the limit</text>',
        "</svg>",
        "",
    ]
    return "\n".join(lines)


def _row(row: MetricRow, top: float, inner: int) -> list[str]:
    room = ROW_HEIGHT - _GAP
    base = top + room

    def height_of(share: float) -> float:
        return base - min(max(share, 0.0), _TOP_OF_ROW) / _TOP_OF_ROW * room

    step = inner / max(len(row.course) - 1, 1)
    points = [
        (_LEFT + place * step, height_of(share))
        for place, share in enumerate(row.course)
        if share is not None
    ]
    limit = height_of(1.0)
    said = against(row.now, row.limit, crossed=row.crossed)
    title = f"{NAMES[row.name]}: {said}, which chance alone reaches at most {chance(row.limit)}"
    drawn = [
        '<g class="over">' if row.crossed else "<g>",
        f"<title>{escape(title)}</title>",
        f'<rect class="band" x="{_LEFT}" y="{top}" width="{inner}" height="{room}"/>',
        f'<line class="limit" x1="{_LEFT}" y1="{limit:.1f}" x2="{_LEFT + inner}" '
        f'y2="{limit:.1f}"/>',
        f'<text class="name" x="{_LEFT - 8}" y="{top + room / 2 + 4:.1f}" text-anchor="end">'
        f"{escape(NAMES[row.name])}</text>",
        f'<text class="said" x="{_LEFT + inner + 10}" y="{top + room / 2 + 4:.1f}">'
        f"{escape(said)}</text>",
    ]
    if len(points) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append(f'<polyline class="seen" points="{path}"/>')
    if points:
        x, y = points[-1]
        drawn.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
    return [*drawn, "</g>"]


def _stages(marks: Sequence[StageMark], inner: int, bottom: int) -> list[str]:
    drawn, free = [], 0.0
    for mark in marks:
        x = _LEFT + mark.at * inner
        drawn.append(
            f'<line class="stage" x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{bottom - _GAP}"/>'
        )
        if x >= free:
            drawn.append(f'<text x="{x + 2:.1f}" y="{_TOP - 8}">{mark.percent}%</text>')
            free = x + 34
    return drawn


def _level(share: float | None) -> int:
    if share is None:
        return _NOTHING
    level = round(min(max(share, 0.0), _TOP_OF_ROW) * _LIMIT)
    # Rounding must not make a breach, nor hide one.
    return max(level, _LIMIT) if share >= 1 else min(level, _LIMIT - 1)


def _duration(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds} s"


STRIP, HEIGHT = 640, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 26, 30
_NARROWEST = 1.5

_SUSPICION_STYLE = """
text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #59636e; }
.bar { fill: #0969da; } .likeliest { fill: #cf222e; } .axis { stroke: #d1d9e0; }
.name { fill: #1f2328; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1; } .bar { fill: #4493f8; } .likeliest { fill: #f85149; }
  .axis { stroke: #3d444d; } .name { fill: #f0f6fc; }
}
"""


class Stretch(Value):
    """Some commits in a row: the first's place in the range from 1, their number, their mass.

    `sha` abbreviates the likeliest of them; `probability` is that the culprit is among them.
    """

    first: int
    count: int
    sha: str
    probability: float

    @property
    def where(self) -> str:
        """The places they take in the range."""
        return f"{self.first}" if self.count == 1 else f"{self.first}-{self.first + self.count - 1}"


def draw(stretches: Sequence[Stretch]) -> str:
    """Draw a bar for each stretch, oldest commits on the left; never empty.

    The scale always goes to 100%, so that pictures of one search can be compared.
    """
    likeliest = max(stretches, key=lambda each: each.probability)
    last = stretches[-1].first + stretches[-1].count - 1
    inner_width, inner_height = STRIP - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = inner_width / len(stretches)
    base = _TOP + inner_height
    bars = []
    for place, each in enumerate(stretches):
        height = max(0.5, min(1.0, each.probability) * inner_height)
        kind = "likeliest" if each is likeliest else "bar"
        title = escape(f"{each.where}: {each.sha} {each.probability:.1%}")
        bars.append(
            f'<rect class="{kind}" x="{_LEFT + place * step:.1f}" y="{base - height:.1f}" '
            f'width="{max(_NARROWEST, step - 2):.1f}" height="{height:.1f}">'
            f"<title>{title}</title></rect>"
        )
    said = f"{likeliest.sha} {likeliest.probability:.1%}"
    at = _LEFT + (stretches.index(likeliest) + 0.5) * step
    anchor = "start" if at < STRIP / 3 else "end" if at > 2 * STRIP / 3 else "middle"
    summary = escape(f"The likeliest of {last} commits is number {likeliest.where}, {said}.")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {STRIP} {HEIGHT}" '
            f'width="{STRIP}" height="{HEIGHT}" role="img" aria-labelledby="t d">',
            '<title id="t">Probability that the culprit is there</title>',
            f'<desc id="d">{summary}</desc>',
            f"<style>{_SUSPICION_STYLE}</style>",
            f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{STRIP - _RIGHT}" y2="{base}"/>',
            f'<line class="axis" x1="{_LEFT}" y1="{_TOP}" x2="{STRIP - _RIGHT}" y2="{_TOP}" '
            'stroke-dasharray="2 4"/>',
            f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">100%</text>',
            f'<text x="{_LEFT - 6}" y="{base + 4}" text-anchor="end">0%</text>',
            *bars,
            f'<text class="name" x="{at:.1f}" y="{_TOP - 10}" text-anchor="{anchor}">'
            f"{escape(said)}</text>",
            f'<text x="{_LEFT}" y="{HEIGHT - 8}">1 (oldest)</text>',
            f'<text x="{STRIP - _RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{last} (newest)</text>',
            "</svg>",
            "",
        ]
    )
