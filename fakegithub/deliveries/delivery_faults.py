"""What can go wrong with one webhook delivery."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from fakegithub.world.world import Event


@dataclass(frozen=True)
class Lose:
    """It never arrives. `recorded`: GitHub's list shows it as failed; else it never existed."""

    recorded: bool = True


@dataclass(frozen=True)
class Duplicate:
    """It arrives several times, with the same GUID."""

    copies: int = 2


@dataclass(frozen=True)
class Delay:
    """It arrives `seconds` late; others do not wait for it."""

    seconds: float


@dataclass(frozen=True)
class Reorder:
    """It arrives after the one that follows it, at the latest after `seconds`."""

    seconds: float = 0.5


DeliveryFault = Lose | Duplicate | Delay | Reorder


@dataclass(eq=False)
class DeliveryRule:
    """Which deliveries meet a fault, how often, how likely."""

    fault: DeliveryFault
    event: re.Pattern[str]
    times: int | None
    probability: float
    fired: int = 0

    def wants(self, event: Event, rng: random.Random) -> bool:
        """Decide about one delivery, and count it if so."""
        if self.times is not None and self.fired >= self.times:
            return False
        name = f"{event.name}.{event.action}" if event.action else event.name
        if not self.event.search(name) or rng.random() >= self.probability:
            return False
        self.fired += 1
        return True
