"""The facts that every text about a candidate needs, and the sentences they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bot import markdown
from bot.canary.messages import NAMES
from bot.playbooks.incidents.case import IncidentContext
from bot.playbooks.run import Ending
from bot.playbooks.words import wording
from bot.playbooks.words.standing import StatusMessage


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
    def how_to_begin_anew(self) -> str:
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
    """The same capability is shadowed or ramped already."""
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
    return wording.status(case, standing)


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
    return wording.paragraphs(
        f"**{standing.headline}**",
        about,
        reason_given(case),
        wording.facts(case),
        wording.body(standing),
        *sections,
        wording.passed_over(case, standing),
        wording.untold(case),
        f"Commands here: {', '.join(f'`{command}`' for command in commands)}.",
    )
