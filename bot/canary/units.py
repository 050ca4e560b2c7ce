"""Users, campaigns and requests as units that count once, and how often each arm served them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from bot.canary.policy import StrictValue


class FirstEvents:
    """Lets only the first event of a key count, and again when the split may have moved the key.

    A key's requests resemble each other, so they are one draw of the split, not many: counting
    each of them made false alarms of 88%. Splits are nested: a key on the candidate stays there.
    A key seen on the baseline at `p` percent is drawn anew when the split grows to `q`: it moves
    with probability `(q - p) / (100 - p)`, whatever it did before. That draw counts too.

    Keys are kept as 64 bits of their SHA-256; memory grows with the keys of one ramp.
    """

    def __init__(self) -> None:
        """Start without having seen any key."""
        self._kept_at: dict[int, int] = {}

    def draw(self, key: str, percent: int, *, candidate: bool) -> float | None:
        """Tell the probability with which this event's arm was drawn; None: it is no new draw.

        Args:
            key: what the split decides on.
            percent: the candidate's share, 0 to 100, under the generation that decided.
            candidate: whether the candidate served.
        """
        name = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        before = self._kept_at.get(name, 0)
        if percent <= before:
            return None
        self._kept_at[name] = 100 if candidate else percent
        return (percent - before) / (100 - before)

    def save(self) -> tuple[tuple[str, int], ...]:
        """Write the keys down: hexadecimal digest, percent."""
        return tuple((f"{name:016x}", percent) for name, percent in sorted(self._kept_at.items()))

    @classmethod
    def restored(cls, saved: tuple[tuple[str, int], ...]) -> FirstEvents:
        """Make it of what `save` wrote."""
        found = cls()
        found._kept_at = {int(name, 16): percent for name, percent in saved}
        return found


class UnitsState(StrictValue):
    """Saved keys of a ramp."""

    unit: Literal["request", "key"]
    requests: tuple[tuple[str, int], ...]
    cohorts: tuple[tuple[str, int], ...]


class RampUnits:
    """Tells for each observation of a ramp how its arm was drawn.

    Revenue is reported apart from the request it belongs to, so its keys are remembered apart.
    """

    def __init__(self, unit: Literal["request", "key"]) -> None:
        """Start with what the policy says the split decides on."""
        self.unit = unit
        self._requests = FirstEvents()
        self._cohorts = FirstEvents()

    def draw(
        self, key: str | None, percent: int, *, candidate: bool, only_revenue: bool
    ) -> float | None:
        """Tell the probability with which the arm was drawn; None: it is no new draw.

        A key where the split decides on requests is ignored; where it is needed, reading
        observations has made sure of it.
        """
        if self.unit == "request":
            return percent / 100
        events = self._cohorts if only_revenue else self._requests
        return events.draw(key or "", percent, candidate=candidate)

    def save(self) -> UnitsState:
        """Write the state down."""
        return UnitsState(
            unit=self.unit, requests=self._requests.save(), cohorts=self._cohorts.save()
        )

    @classmethod
    def restored(cls, saved: UnitsState) -> RampUnits:
        """Make it of what `save` wrote."""
        found = cls(saved.unit)
        found._requests = FirstEvents.restored(saved.requests)
        found._cohorts = FirstEvents.restored(saved.cohorts)
        return found


ArmCounts = tuple[int, int]
"""Of the baseline, of the candidate."""


@dataclass(slots=True)
class ArmTally:
    """Observations of both arms."""

    baseline: int = 0
    candidate: int = 0

    def add(self, other: ArmTally) -> None:
        """Add the other's counts."""
        self.baseline += other.baseline
        self.candidate += other.candidate

    @property
    def counts(self) -> ArmCounts:
        """As a pair, to be saved."""
        return self.baseline, self.candidate

    @property
    def smaller(self) -> int:
        """Of the arm with fewer."""
        return min(self.baseline, self.candidate)
