"""Templates, static files, and charts as SVG."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from bot import LazyModule
from bot.canary import messages
from bot.cockpit import text
from bot.playbooks.rollout.evidence import value
from bot.playbooks.stored_steps import label_of
from bot.records.bisects import Bar

if TYPE_CHECKING:
    import jinja2
else:
    jinja2 = LazyModule("jinja2")

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


ROOT = "/ui"
"""Every address of the cockpit is below this one."""

_HERE = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Forms of ours must say where they come from; nobody else gets to know.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Static:
    """The few files that every page needs, read once; their address changes with their bytes."""

    def __init__(self) -> None:
        """Read them."""
        files = sorted((_HERE / "static").iterdir())
        self._files = {each.name: each.read_bytes() for each in files if each.suffix in _TYPES}

    def address(self, name: str) -> str:
        """Where below the cockpit a page finds the file."""
        digest = hashlib.sha256(self._files[name]).hexdigest()[:12]
        return f"/static/{name}?v={digest}"

    def response(self, name: str) -> web.Response | None:
        """The file; None if there is none of this name."""
        content = self._files.get(name)
        if content is None:
            return None
        headers = HEADERS | {"Cache-Control": "public, max-age=31536000, immutable"}
        kind = _TYPES[Path(name).suffix]
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)


class Manual:
    """The site that `make manual` builds from docs/, shown at `/docs` by the server itself."""

    _KINDS: ClassVar = _TYPES | {
        ".html": "text/html",
        ".json": "application/json",
        ".png": "image/png",
    }

    def __init__(self, folder: Path = _HERE / "manual") -> None:
        """Show what is in `folder`; it may be missing."""
        self._folder = folder.resolve()

    def routes(self) -> list[web.RouteDef]:
        """Its routes: nobody has to be logged in to read it."""
        return [web.get("/docs", self._to_the_start), web.get("/docs/{path:.*}", self._show)]

    async def _to_the_start(self, _: web.Request) -> web.StreamResponse:
        raise web.HTTPMovedPermanently("/docs/")

    async def _show(self, request: web.Request) -> web.StreamResponse:
        asked = request.match_info["path"]
        try:
            found = (self._folder / asked).resolve()
            found.relative_to(self._folder)
            is_folder = found.is_dir()
        except (OSError, ValueError):  # elsewhere, or no name that a file can have
            raise web.HTTPNotFound(text=_NO_PAGE) from None
        if is_folder:
            if asked and not asked.endswith("/"):
                raise web.HTTPMovedPermanently(f"{request.path}/")
            found /= "index.html"
        if found.suffix not in self._KINDS or not found.is_file():
            raise web.HTTPNotFound(text=_NO_PAGE if self._folder.is_dir() else _NO_MANUAL)
        headers = HEADERS | {"Cache-Control": "no-cache", "Content-Type": self._KINDS[found.suffix]}
        if found.suffix != ".png":
            headers["Content-Type"] += "; charset=utf-8"
        return web.FileResponse(found, headers=headers)


_NO_PAGE = "The manual has no such page; it begins at /docs/."
_NO_MANUAL = "This server was built without its manual: run `make manual`, or read docs/ instead."


class Templates:
    """The pages' templates. A name a template does not get is an error, never an empty place."""

    def __init__(self, prefix: str = "") -> None:
        """Prepare; nothing is read before it is needed. `prefix` goes before each address."""
        self.static = Static()
        self.prefix, self.root = prefix, prefix + ROOT

    @cached_property
    def _environment(self) -> jinja2.Environment:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters |= {
            "say": text.say,
            "plain": text.plain,
            "html": text.html_of,
            "inline": text.inline_of,
            "duration": text.duration,
            "metric_name": text.name_of,
            "percent": text.percent,
            "number": text.number,
        }
        environment.globals |= {
            "static": self.static.address,
            "root": self.root,
            "against": messages.against,
            "chain_said": text.chain_said,
            "clock": text.clock,
            "difference": text.difference,
            "doing": text.doing,
            "metric_value": value,
            "proof": messages.share,
            "ref_said": text.ref_said,
            "sign_of_harm": text.sign_of_harm,
            "stage_names": text.STAGES,
            "stage_of": text.stage_of,
            "step_label": label_of,
            "undo_said": text.undo_said,
            "waits_for": text.waits_for,
        }
        return environment

    def render(self, name: str, values: dict[str, Any]) -> str:
        """Fill the template of this name."""
        return self._environment.get_template(name).render(values)
