"""Lengths of time and moments as people read them: roughly, for what is edited is not news."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

_MINUTE = timedelta(minutes=1)
_COARSE = timedelta(minutes=5)


def in_words(span: timedelta) -> str:
    """About how long, rounded up: `a minute`, `7 minutes`, `25 minutes`, `3 hours`, `4 days`."""
    step = _MINUTE if span < 2 * _COARSE else _COARSE
    minutes = math.ceil(span / step) * (step // _MINUTE)
    if minutes <= 1:
        return "a minute"
    if minutes < 120:
        return f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{hours / 24:.0f} days"


def about(span: timedelta) -> str:
    """The same, saying that it is no promise: `less than a minute`, `about 25 minutes`."""
    return "less than a minute" if span < _MINUTE else f"about {in_words(span)}"


def moment(at: datetime) -> str:
    """When: `14:05 UTC on 2 March`."""
    return at.strftime("%H:%M UTC on %-d %B")
