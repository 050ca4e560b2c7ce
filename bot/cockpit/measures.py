"""What was measured of a candidate, in the words that its issue uses as well."""

from __future__ import annotations

from bot.canary.interval import Interval
from bot.canary.messages import NAMES, against, share
from bot.playbooks.candidate.evidence import value

__all__ = ["against", "difference", "name_of", "share", "sign_of_harm", "value"]

_HARDLY = 0.005
"""What is less than half a percent is said as none."""


def name_of(metric: str) -> str:
    """What a metric, a split or a limit is called."""
    return NAMES.get(metric, metric.replace("_", " "))


def difference(compared: Interval | None) -> str:
    """How much more or less the candidate has than the baseline: `+39% (-64% to +253%)`."""
    if compared is None:
        return "not known"
    return f"{_more(compared.ratio)} ({_more(compared.low)} to {_more(compared.high)})"


def _more(ratio: float) -> str:
    if abs(ratio - 1) < _HARDLY:
        return "0%"
    return f"{ratio - 1:+.0%}" if ratio < 10 else f"{ratio:,.0f} times"


def sign_of_harm(part: float) -> str:
    """How close the candidate is to being taken back: the share of the proof it takes."""
    if part >= 1:
        return "over its limit"
    return "no sign" if part <= 0 else f"{int(100 * part)}%"
