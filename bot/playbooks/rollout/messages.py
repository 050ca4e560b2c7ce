"""The words that shadow and ramp share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from bot import markdown
from bot.canary.messages import NAMES
from bot.playbooks.incident import phrases
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import StatusMessage, about, in_words, moment
from bot.playbooks.run import Ending

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
        f"will ask you by {moment(until)}."
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
    then = "it is rolled back" if takes_back else "I will ask you"
    return (
        f"This stage began at {moment(since)}. {_until_verdict('next step', left)}{after} Without "
        f"a verdict by {moment(until)}, {then}."
    )


def _until_verdict(what: str, left: timedelta | None) -> str:
    if left is None or left > _LONGEST:
        return f"It is too early to say when the {what} comes: too little was seen."
    return f"At the pace so far the {what} is {about(left)} away."


class RolloutMessages(IncidentContext):
    """One shadow, ramp or rollback.

    Attributes:
        capability: what is provided.
        baseline: who serves it, unless the candidate does.
        candidate: who might take over; None where nobody was on trial.
        policy: the digest of the policy it is judged by.
    """

    capability: str
    baseline: str
    candidate: str | None
    policy: str

    @property
    def how_to_start_over(self) -> str:
        """Traffic is back already: there is a candidate to try, and nothing to roll back."""
        return f"All traffic stays at the baseline. To try again: {retry_command(self)}."


def subject_of(capability: str) -> str:
    """What incidents about a capability are called: one of a kind is open at a time."""
    return f"capability:{capability}"


def on_trial(case: RolloutMessages) -> str:
    """`candidate` for `capability`, as inline code."""
    return f"{markdown.code(case.candidate or 'nobody')} for {markdown.code(case.capability)}"


def retry_command(case: RolloutMessages) -> str:
    """How a candidate that was rolled back is tried again: the pause is lifted first."""
    lift = markdown.code(f"/unpause {case.capability} because …")
    shadow = markdown.code(f"/shadow {case.capability} {case.candidate}")
    return f"{lift}, then {shadow}"


def where(issue: int | None, incident: str) -> str:
    """Name another incident: its issue, or its short id where none is open yet."""
    return f"#{issue}" if issue else markdown.code(incident[-8:])


def joined(kind: Literal["shadow", "ramp"], issue: int | None, incident: str) -> Ending:
    """Answer that the same capability is shadowed or ramped already.

    Args:
        kind: what is under way.
        issue: the number of its incident's issue; None: it is not open yet.
        incident: the incident's id, which names it where no issue does.
    """
    return Ending(
        outcome="joined",
        reason=f"A {kind} of this capability is under way: {where(issue, incident)}.",
        remedy="One at a time: wait for it, or end it with `/cancel` there.",
    )


def reason_given(case: IncidentContext) -> str:
    """What the asker said, as a sentence; empty where they said nothing."""
    return f"Reason given: {markdown.text(case.reason)}" if case.reason else ""


def bullets(sentences: Sequence[str]) -> str:
    """A list of plain sentences; empty without any."""
    return "\n".join(f"- {markdown.text(sentence)}" for sentence in sentences)


def unseen(names: Sequence[str]) -> str:
    """Name the metrics of the policy that nobody reported; empty where all were."""
    if not names:
        return ""
    shown = ", ".join(NAMES.get(name, name) for name in names)
    return f"Nobody reported these, so they are not judged: {shown}."


def status(case: RolloutMessages, standing: StatusMessage) -> str:
    """The sticky comment; its first line is the one next thing to do."""
    return phrases.status(case, standing)


def issue_body(
    case: RolloutMessages,
    standing: StatusMessage,
    about: str,
    *sections: str,
    commands: Sequence[str],
) -> str:
    """The issue: where it stands, what it is about, what was observed, and what may be said.

    Args:
        case: the facts.
        standing: where it stands.
        about: one or two sentences, Markdown.
        sections: what was observed, Markdown; empty ones are left out.
        commands: what may be commented here.
    """
    return phrases.paragraphs(
        f"**{standing.headline}**",
        about,
        reason_given(case),
        phrases.facts(case),
        phrases.body(standing),
        *sections,
        phrases.passed_over(case, standing),
        phrases.untold(case),
        f"Commands here: {', '.join(f'`{command}`' for command in commands)}.",
    )
