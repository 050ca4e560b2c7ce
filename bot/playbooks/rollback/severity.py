"""How bad an anomaly is: by how many of the users could see it. Pure."""

from __future__ import annotations

from bot.triggers import Severity

_BY_SHARE = (
    (50, Severity.CRITICAL),
    (25, Severity.HIGH),
    (1, Severity.MEDIUM),
    (0, Severity.LOW),
)
"""From so many percent of traffic on."""


def severity_of(percent: int) -> Severity:
    """Judge an anomaly of a candidate that had `percent` of the traffic."""
    return next(severity for least, severity in _BY_SHARE if percent >= least)
