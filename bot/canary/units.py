"""Users, campaigns and requests as units that count once, and how often each arm served them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from bot.canary.policy import StrictValue


def _name(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


class FirstEvents:
    """Lets only the first event of a key count, and again when the split may have moved the key.

    A key's requests resemble each other, so they are one draw of the split, not many: counting
    each of them made false alarms of 88%. Splits are nested: a key on the candidate stays there.
    A key seen on the baseline at `p` percent is drawn again when the split grows to `q`: it moves
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
        name = _name(key)
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


WINDOW = 3600.0
"""Seconds: where the split decides on requests, a key is remembered so long after its last one."""
MOST_KEYS = 200_000
_TELLING = 8.0
"""So many changes of arm were to be expected before a key's requests are said to stay or to mix."""
_STAYS, _MIXES = 0.1, 0.75
"""Shares of the changes to be expected: at most, and at least."""

Sticky = Literal["unknown", "stays", "mixes"]


class RepeatsState(StrictValue):
    """Saved keys where the split decides on requests: digest, percent, when last seen."""

    keys: tuple[tuple[str, int, float], ...] = ()
    expected: float = 0.0
    changed: int = 0


class RepeatedKeys:
    """Finds out whether the requests of one key are draws of their own.

    A policy may say that each request is drawn for itself, while clients try again at the same arm,
    or ask with a user's key. Then only a key's first request is a draw. That is assumed of what is
    reported with a key until the arms of repeated keys mix as fresh draws would; what is concluded
    counts for later requests only, so that no draw decides whether it counts.
    """

    def __init__(self, saved: RepeatsState | None = None) -> None:
        """Start without keys, or with those that `save` wrote."""
        kept = saved or RepeatsState()
        self._keys = {int(name, 16): (percent, at) for name, percent, at in kept.keys}
        self._expected, self._changed = kept.expected, kept.changed

    @property
    def sticky(self) -> Sticky:
        """Whether requests of one key stay with its arm."""
        if self._expected < _TELLING:
            return "unknown"
        share = self._changed / self._expected
        if share <= _STAYS:
            return "stays"
        return "mixes" if share >= _MIXES else "unknown"

    def draw(self, key: str, percent: int, *, candidate: bool, at: float) -> float | None:
        """Tell the probability with which this event's arm was drawn; None: it is no new draw.

        Args:
            key: of the call or of the user.
            percent: the candidate's share, 0 to 100, under the generation that decided.
            candidate: whether the candidate served.
            at: when, seconds.
        """
        name = _name(key)
        known = self._keys.pop(name, None)
        fresh = percent / 100
        if known is None or at - known[1] > WINDOW:
            self._keys[name] = 100 if candidate else percent, at
            self._forget(at)
            return fresh
        before, last = known
        sticky = self.sticky
        grown = before < percent and sticky == "stays"
        if before == 100 or percent <= before:
            self._expected += 1 - fresh if before == 100 else fresh
            self._changed += candidate != (before == 100)
        kept = (100 if candidate else percent) if grown or sticky == "mixes" else before
        self._keys[name] = kept, max(at, last)
        if sticky == "mixes":
            return fresh
        return (percent - before) / (100 - before) if grown else None

    def _forget(self, at: float) -> None:
        """Forget the keys that were not seen for long, and the oldest where there are too many."""
        while self._keys:
            oldest = next(iter(self._keys))
            if len(self._keys) <= MOST_KEYS and at - self._keys[oldest][1] <= WINDOW:
                return
            del self._keys[oldest]

    def save(self) -> RepeatsState:
        """Write the keys down, the one that was seen longest ago first."""
        return RepeatsState(
            keys=tuple((f"{name:016x}", kept, at) for name, (kept, at) in self._keys.items()),
            expected=self._expected,
            changed=self._changed,
        )


class UnitsState(StrictValue):
    """Saved keys of a ramp."""

    unit: Literal["request", "key"]
    requests: tuple[tuple[str, int], ...]
    cohorts: tuple[tuple[str, int], ...]
    repeated: RepeatsState = RepeatsState()
    calls: RepeatsState = RepeatsState()


class RampUnits:
    """Tells for each observation of a ramp how its arm was drawn.

    Revenue is reported apart from the request it belongs to, so its keys are remembered apart.
    """

    def __init__(self, unit: Literal["request", "key"]) -> None:
        """Start with what the policy says the split decides on."""
        self.unit = unit
        self._requests = FirstEvents()
        self._cohorts = FirstEvents()
        self._repeated = RepeatedKeys()
        self._calls = RepeatedKeys()

    @property
    def sticky(self) -> bool:
        """Whether requests of one key stay with its arm, although each should be drawn."""
        return self.unit == "request" and self._repeated.sticky == "stays"

    def draw(
        self,
        key: str | None,
        percent: int,
        *,
        candidate: bool,
        only_revenue: bool,
        call: str | None = None,
        at: float = 0.0,
    ) -> float | None:
        """Tell the probability with which the arm was drawn; None: it is no new draw.

        Args:
            key: what the split decides on; where it is needed, reading observations has made sure
                of it. Where the split decides on requests: whose request it is, if that was told.
            percent: the candidate's share under the generation that decided.
            candidate: whether the candidate served.
            only_revenue: see `Observation`.
            call: the name of the call that this was one try of, if that was told.
            at: when, seconds.
        """
        if self.unit == "key":
            events = self._cohorts if only_revenue else self._requests
            return events.draw(key or "", percent, candidate=candidate)
        if only_revenue:
            return percent / 100
        if call is not None and self._calls.draw(call, percent, candidate=candidate, at=at) is None:
            return None
        if key is not None:
            return self._repeated.draw(key, percent, candidate=candidate, at=at)
        return percent / 100

    def save(self) -> UnitsState:
        """Write the state down."""
        return UnitsState(
            unit=self.unit,
            requests=self._requests.save(),
            cohorts=self._cohorts.save(),
            repeated=self._repeated.save(),
            calls=self._calls.save(),
        )

    @classmethod
    def restored(cls, saved: UnitsState) -> RampUnits:
        """Make it of what `save` wrote."""
        found = cls(saved.unit)
        found._requests = FirstEvents.restored(saved.requests)
        found._cohorts = FirstEvents.restored(saved.cohorts)
        found._repeated = RepeatedKeys(saved.repeated)
        found._calls = RepeatedKeys(saved.calls)
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
