"""How long a search will take yet, from what is still open and how long trials took. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from bot.playbooks.bisect.lab import TrialRow
from bot.playbooks.words.outlook import about, moment

_CHECKING = 2
"""Rounds at the end: the suspect, its parents and its revert are run afresh."""


def rounds_left(probabilities: Sequence[float], parallel: int) -> int:
    """How many rounds of trials are likely yet.

    Args:
        probabilities: of each commit in question.
        parallel: trials at once. So many split what is open into one part more, at best.
    """
    total = sum(probabilities)
    if total <= 0:
        return _CHECKING
    shares = [each / total for each in probabilities if each > 0]
    bits = -sum(share * math.log2(share) for share in shares)
    return math.ceil(bits / math.log2(parallel + 1)) + _CHECKING


def outlook(
    probabilities: Sequence[float], table: Sequence[TrialRow], parallel: int, until: datetime
) -> str:
    """Say about how long it takes yet, and when people are asked at the latest.

    Args:
        probabilities: of each commit in question.
        table: the trials so far.
        parallel: trials at once.
        until: when the search's minutes are over.
    """
    latest = f"I ask you at {moment(until)} at the latest."
    each = _mean(table)
    if each is None:
        return f"How long it takes is known once a first trial has ended. {latest}"
    rounds = rounds_left(probabilities, parallel)
    return (
        f"{_yet(rounds * each)}: some {rounds} rounds of up to {parallel} trials at once, and a "
        f"trial takes {about(each)}. {latest}"
    )


def checking(left: int, table: Sequence[TrialRow], parallel: int) -> str:
    """Say about how long the check of a suspect takes yet; empty where no trial has ended.

    Args:
        left: fresh runs that have not ended.
        table: the trials so far.
        parallel: trials at once.
    """
    each = _mean(table)
    if each is None:
        return ""
    # How many are left is not named: the words would be edited at the end of every run.
    return (
        f"{_yet(math.ceil(left / parallel) * each)}: up to {parallel} of these runs are made at "
        f"once, and one takes {about(each)}."
    )


def _yet(span: timedelta) -> str:
    said = about(span)
    return f"{said[0].upper()}{said[1:]} yet"


def _mean(table: Sequence[TrialRow]) -> timedelta | None:
    took = [row.seconds for row in table if row.seconds]
    return timedelta(seconds=sum(took) / len(took)) if took else None
