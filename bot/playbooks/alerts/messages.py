"""What an incident about alerts says, as pure functions (Markdown out, titles plain).

Whatever senders wrote passes through `bot.markdown` before it stands in a sentence.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from bot import markdown
from bot.playbooks.alerts.decide import Following, LeaveIt, LookForIt, RevertIt, RollBackCapability
from bot.playbooks.incident.phrases import StatusMessage, listed, quoted
from bot.records.alerts import Condition, ConditionGroup
from bot.records.audit.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, Pointer, render
from bot.triggers import Severity, Value

_SHOWN = 20


class AlertFacts(Value):
    """What the texts need; grows as things appear."""

    incident: str
    severity: Severity
    group: ConditionGroup
    adr: str
    records_url: str
    page: str | None = None
    """The incident's page in the cockpit, where people can reach that."""
    issue: int | None = None
    following: Following | None = None
    resolved: bool = False
    stopped: str = ""
    """Who ended it by `/cancel`."""


def title(group: ConditionGroup) -> str:
    """The incident's title (plain text)."""
    return quoted(group.title, limit=180)


def issue_title(group: ConditionGroup) -> str:
    """The incident issue's title (plain text)."""
    return f"Incident: {title(group)}"


def issue_body(facts: AlertFacts) -> str:
    """The incident issue; its first line is the one next thing to do."""
    parts = [
        f"**{_headline(facts)}**",
        _what_is_done(facts.following),
        f"Severity: {facts.severity} · "
        + markdown.link("ADR", f"{facts.records_url}/{facts.adr}")
        + (f" · {markdown.link('cockpit', facts.page)}" if facts.page else ""),
        _table(facts.group),
    ]
    if facts.group.unseen:
        parts.append(
            "The sender left some alerts out, so nothing counts as recovered until it names all. "
            "If it never does, comment `/cancel` once all is well."
        )
    parts.append("Commands here: `/status`, `/cancel`, `/severity low|medium|high|critical`.")
    return "\n\n".join(part for part in parts if part)


def standing(facts: AlertFacts) -> StatusMessage:
    """Where it stands: people have to act only where nothing follows by itself."""
    if facts.stopped:
        state: Literal["working", "needs you", "done", "stopped"] = "stopped"
    elif facts.resolved:
        state = "done"
    else:
        is_left = facts.following is None or isinstance(facts.following, LeaveIt)
        state = "needs you" if is_left else "working"
    details = tuple(each for each in (_what_is_done(facts.following),) if each)
    return StatusMessage(state=state, headline=_headline(facts), details=details)


def asked_by_hand(facts: AlertFacts, left: LeaveIt, place: int) -> str:
    """The one comment that asks people about a capability, on the issue `place`."""
    where = f" (incident #{facts.issue})" if facts.issue and facts.issue != place else ""
    return (
        f"Comment {markdown.code(left.commands[0])} to give all traffic of "
        f"{markdown.code(left.capability or '')} back to its baseline. An alert blames it: "
        f"{markdown.text(facts.group.title)}{where}.\n\n"
        f"I changed nothing by myself: {markdown.text(left.reason)}. Anyone with write access may."
    )


def decision(facts: AlertFacts, *, on: datetime, audit: Anchor) -> str:
    """The ADR: proposed, its outcome pending."""
    chosen, because = _chosen(facts.following)
    firing = [each for each in facts.group.conditions if each.firing]
    named = ", ".join(quoted(each.said.title, limit=100) for each in firing[:5])
    return render(
        AdrFacts(
            incident_id=facts.incident,
            title=f"Respond to {title(facts.group)}",
            date=on.date(),
            decision_makers=("incident-playbooks",),
            problem=(
                f"Alerts fire: {named}." if firing else "Alerts fired, and have cleared by now.",
                f"Sender: {facts.group.source}; group: {quoted(facts.group.group_key, limit=200)}.",
            ),
            drivers=(f"Severity: {facts.severity}.", "Recovery comes first, blame later."),
            options=(Option(name=chosen),),
            chosen=chosen,
            because=because,
            consequences=Option(
                name=chosen, good=("the incident ends only when every condition has cleared.",)
            ),
            confirmation="The sender says that every condition of the group has cleared.",
            more=(
                (Pointer(label="Incident issue", value=f"#{facts.issue}"),) if facts.issue else ()
            ),
            audit=audit,
        )
    )


def hold_reason(group: ConditionGroup) -> str:
    """Why self-work is paused, as plain text."""
    return f"alert: {title(group)}"


def _headline(facts: AlertFacts) -> str:
    if facts.stopped:
        return f"Stopped: {markdown.code(facts.stopped)} closed this."
    if facts.resolved:
        return "Done: every condition has cleared."
    match facts.following:
        case RevertIt(pull_request=number, sha=sha):
            what = f"#{number}" if number else markdown.code(sha[:7])
            return f"In progress: I asked for a revert of {what}."
        case RollBackCapability(capability=capability):
            return f"In progress: I asked for a rollback of {markdown.code(capability)}."
        case LookForIt():
            return "In progress: I asked for a bisect."
        case LeaveIt(commands=commands) if commands:
            return (
                f"Decide about {markdown.text(facts.group.title)}: comment "
                f"{listed([markdown.code(each) for each in commands], 'or')} here, or leave it."
            )
        case _:
            return f"Look at what fires: {markdown.text(facts.group.title)}."


def _what_is_done(following: Following | None) -> str:
    if following is None:
        return ""
    said = markdown.text(following.reason)
    if isinstance(following, LeaveIt):
        return f"I changed nothing by myself: {said}."
    return f"Why: {said}."


def _chosen(following: Following | None) -> tuple[str, str]:
    match following:
        case RevertIt(pull_request=number, sha=sha, reason=reason):
            return f"Revert {f'#{number}' if number else sha[:7]}", f"{reason}."
        case RollBackCapability(capability=capability, reason=reason):
            return f"Roll back {capability}", f"{reason}."
        case LookForIt(reason=reason):
            return "Bisect", f"{reason}."
        case LeaveIt(reason=reason):
            return "Watch, and leave it to people", f"{reason}."
        case _:
            return "Watch", "it was over before anything could be done."


def _table(group: ConditionGroup) -> str:
    shown = sorted(group.conditions, key=lambda each: (not each.firing, each.fingerprint))
    lines = ["| condition | severity | state |", "|---|---|---|"]
    lines += [_row(each) for each in shown[:_SHOWN]]
    if len(shown) > _SHOWN:
        lines.append(f"| … and {len(shown) - _SHOWN} more | | |")
    return "\n".join(lines)


def _row(condition: Condition) -> str:
    said = condition.said
    name = markdown.link(said.title, said.url) if said.url else markdown.text(said.title)
    return f"| {name} | {said.severity} | {'**fires**' if condition.firing else 'cleared'} |"
