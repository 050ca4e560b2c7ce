"""The evidence over time, for the picture in a report: few points, however long it takes."""

from __future__ import annotations

from datetime import timedelta

from bot.canary.facts import Facts
from bot.canary.reports import CurvePoint

MOST = 240
_FIRST_SPACING = timedelta(seconds=1)


class CurveState(Facts):
    """A saved curve; `spacing` in seconds."""

    points: tuple[CurvePoint, ...]
    spacing: float


class Curve:
    """Keeps a point every so often; when there are too many, every other one goes.

    Which points stay depends on the points only, never on when somebody looked.
    """

    def __init__(self) -> None:
        """Start without points."""
        self.points: list[CurvePoint] = []
        self._spacing = _FIRST_SPACING

    def add(self, point: CurvePoint, *, always: bool = False) -> None:
        """Add a point, unless it is too close to the one before; `always`: also then."""
        if self.points and not always and point.at - self.points[-1].at < self._spacing:
            return
        self.points.append(point)
        if len(self.points) > MOST:
            self.points = self.points[::2]
            self._spacing *= 2

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
