"""The posterior of a search as a picture (SVG): where in the range the culprit may be. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bot.triggers import Value

STRIP, HEIGHT = 640, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 26, 30
_NARROWEST = 1.5

_STYLE = """
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
            f"<style>{_STYLE}</style>",
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
