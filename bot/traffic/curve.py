"""The evidence over time, for the picture in a report: few points, however long it takes."""

from __future__ import annotations

from datetime import timedelta

from bot.canary.facts import StrictValue
from bot.canary.reports import CurvePoint

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
