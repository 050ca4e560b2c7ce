"""How many observations each arm has."""

from __future__ import annotations

from dataclasses import dataclass

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
