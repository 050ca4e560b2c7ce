"""What is said of how long a shadow or a ramp takes yet (Markdown out)."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.playbooks.words.outlook import about, in_words, moment

_SHORTEST = timedelta(minutes=1)
_LONGEST = timedelta(days=90)
"""Beyond this an estimate says no more than that it will be long."""


def shadow_outlook(since: datetime, left: timedelta | None, until: datetime) -> str:
    """Since when a shadow runs, and about how long yet.

    Args:
        since: when mirroring began.
        left: the estimate; None: too little is seen.
        until: when a person is asked at the latest.
    """
    return (
        f"Requests have been mirrored since {moment(since)}. {_until_verdict('verdict', left)} I "
        f"ask you at {moment(until)} at the latest."
    )


def ramp_outlook(
    since: datetime,
    left: timedelta | None,
    later: timedelta,
    until: datetime,
    *,
    takes_back: bool,
) -> str:
    """Since when a stage is served, and about how long yet.

    Args:
        since: when the stage began.
        left: the estimate for this stage; None: too little is seen.
        later: what the stages after it are planned to take at least; zero: it is the last.
        until: when the stage has to have a verdict.
        takes_back: whether the ramp is rolled back then; else a person is asked.
    """
    after = ""
    if later >= _SHORTEST:
        after = f" The stages after it take {in_words(later)} at least."
    then = "it is rolled back" if takes_back else "I ask you"
    return (
        f"This stage began at {moment(since)}. {_until_verdict('next step', left)}{after} Without "
        f"a verdict by {moment(until)}, {then}."
    )


def _until_verdict(what: str, left: timedelta | None) -> str:
    if left is None or left > _LONGEST:
        return f"It is too early to say when the {what} comes: too little was seen."
    return f"At the pace so far the {what} is {about(left)} away."
