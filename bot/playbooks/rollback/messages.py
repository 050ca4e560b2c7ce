"""What a rollback says, as pure functions of the facts (Markdown out)."""

from __future__ import annotations

from bot import markdown
from bot.canary.report import MetricReport
from bot.playbooks.checks.green import Counting
from bot.playbooks.incident import phrases
from bot.playbooks.incident.phrases import StatusMessage, quoted
from bot.playbooks.plan import CannotPlan
from bot.playbooks.rollout.evidence import NAMES, metric_table
from bot.playbooks.rollout.messages import RolloutMessages, issue_body, reason_given, where
from bot.playbooks.run import Ending
from bot.records.documents.reports import Anomaly, Reshadow
from bot.triggers import Value


class RollbackFacts(Value):
    """What was observed.

    Attributes:
        anomaly: why it was rolled back.
        before: the share the candidate had, percent.
        reshadow: what has to happen before it may be ramped again.
        diffs: what was compared, by metric.
        watched: the issue of the shadow or ramp.
        promoted: where that was no more than a shadow: who serves since a promotion that stands.
    """

    anomaly: Anomaly
    before: int
    reshadow: Reshadow
    diffs: dict[str, MetricReport]
    watched: int | None
    promoted: str | None = None


def title(capability: str, candidate: str | None) -> str:
    """What the incident is called (plain text)."""
    return f"Roll {capability} back" + (f" from {candidate}" if candidate else "")


def issue_title(case: RolloutMessages) -> str:
    """The incident issue's title (plain text)."""
    return f"Incident: {case.capability} rolled back to {case.baseline}"


def commit_message(case: RolloutMessages, facts: RollbackFacts) -> str:
    """The fix commit's message."""
    return (
        f"{title(case.capability, case.candidate)}\n\n"
        f"{quoted(facts.anomaly.said, limit=500)}\n\n"
        f"The flag document serves {case.baseline} only, and {case.capability} is paused."
    )


def flags_message(capability: str, baseline: str) -> str:
    """The message of the commit that brings the flag document up to date."""
    return f"Flags: all of {capability} for {baseline}, and paused"


def starting(case: RolloutMessages) -> StatusMessage:
    """Traffic is back; the fix is being made."""
    return StatusMessage(
        state="working",
        headline=f"Rolled back: {markdown.code(case.baseline)} serves all of "
        f"{markdown.code(case.capability)} again, and I am preparing the fix.",
    )


def nothing_to_take_back(capability: str, promoted: str | None) -> CannotPlan:
    """No candidate has any traffic; `promoted`: who serves since a promotion that stands."""
    if promoted is not None:
        return CannotPlan(
            f"What was on trial for {markdown.code(capability)} is rolled back already: "
            f"{markdown.code(promoted)} serves all of it, since its promotion.",
            f"To take that promotion back: `/unpause {capability} because …`, then "
            f"`/rollback {capability}`.",
        )
    return CannotPlan(
        f"No candidate has any traffic of {markdown.code(capability)}: there is nothing to roll "
        "back.",
        f"To keep candidates out: `/pause {capability} because …`.",
    )


def joined(issue: int | None, incident: str) -> Ending:
    """The same capability is being rolled back already."""
    return Ending(
        outcome="joined",
        reason=f"All traffic is back at the baseline; {where(issue, incident)} does the rest.",
        remedy="",
    )


def issue(case: RolloutMessages, standing: StatusMessage, facts: RollbackFacts) -> str:
    """The incident issue: what was odd, what was compared, and how to try again."""
    return issue_body(
        _unrepeated(case, facts),
        standing,
        what_happened(case, facts),
        metric_table(facts.diffs),
        again(case, facts.reshadow),
        commands=_commands(standing),
    )


def _commands(standing: StatusMessage) -> tuple[str, ...]:
    if standing.state in ("done", "stopped"):
        return ("/status",)
    return "/status", "/retry", "/cancel", "/severity low|medium|high|critical"


def section(
    case: RolloutMessages, standing: StatusMessage, facts: RollbackFacts, counting: Counting
) -> str:
    """The managed section of the fix pull request's description."""
    return phrases.paragraphs(
        f"**{standing.headline}**",
        what_happened(case, facts),
        "With this the committed flag document says what is served: the baseline only, paused.",
        reason_given(_unrepeated(case, facts)),
        phrases.facts(case),
        phrases.body(standing),
        again(case, facts.reshadow),
        phrases.untold(case),
        phrases.which_checks(counting),
    )


def what_happened(case: RolloutMessages, facts: RollbackFacts) -> str:
    """What was odd, and what was done at once."""
    candidate, capability = markdown.code(case.candidate or ""), markdown.code(case.capability)
    if facts.before:
        had = f"{candidate} had {facts.before}% of the traffic of {capability}."
        now = f"All of it went back to {markdown.code(case.baseline)} at once"
    else:
        had = f"{candidate} got copies of requests of {capability}, unseen by users."
        now = "Nothing is mirrored any more"
    also = ", ".join(NAMES.get(name, name) for name in facts.anomaly.also)
    sentences = (
        had,
        _why(case, facts.anomaly),
        f"Also beyond its limit: {also}." if also else "",
        f"{now}, and the capability is paused.",
        f"Watched in #{facts.watched}." if facts.watched else "",
        f"{markdown.code(facts.promoted)} serves as before. To take its promotion back as well, "
        f"once this is done: `/rollback {case.capability}`."
        if facts.promoted
        else "",
    )
    return " ".join(sentence for sentence in sentences if sentence)


def _why(case: RolloutMessages, anomaly: Anomaly) -> str:
    """What was measured, or who said so; what they said stands below."""
    by = phrases.name_of(case.requested_by)
    return {
        "breach": markdown.text(anomaly.said),
        "alert": f"Reported by {by}.",
        "person": f"Taken back by {by}.",
    }[anomaly.kind]


def _unrepeated(case: RolloutMessages, facts: RollbackFacts) -> RolloutMessages:
    """What was measured is the reason too: it is said once."""
    measured = facts.anomaly.kind == "breach"
    return case.model_copy(update={"reason": ""}) if measured else case


def again(case: RolloutMessages, plan: Reshadow) -> str:
    """How to try again."""
    lines = [f"**To try again:** {markdown.text(plan.reason)}"]
    if plan.min_pairs is not None:
        lines.append(
            f"It takes {plan.min_pairs:,} requests answered by both to show a difference as large "
            "as this one."
        )
    lines.append(
        f"Lift the pause with `/unpause {case.capability} because …`, then `{plan.command}`."
    )
    return " ".join(lines)
