"""What a rollback says, as pure functions of the facts (Markdown out)."""

from __future__ import annotations

from bot import markdown
from bot.canary.reports import MetricReport
from bot.playbooks import wording
from bot.playbooks.candidacy import CandidateCase, issue_body, reason_given
from bot.playbooks.checks import Counting
from bot.playbooks.declined import Stop
from bot.playbooks.evidence import NAMES, metric_table
from bot.playbooks.run import Ending
from bot.playbooks.standing import Standing
from bot.records.documents.rollback_report import Anomaly, Reshadow
from bot.triggers import Value


class RollbackFacts(Value):
    """What was observed.

    Attributes:
        anomaly: why it was rolled back.
        before: the share the candidate had, percent.
        reshadow: what has to happen before it may be ramped again.
        diffs: what was compared, by metric.
        watched: the issue of the shadow or ramp.
    """

    anomaly: Anomaly
    before: int
    reshadow: Reshadow
    diffs: dict[str, MetricReport]
    watched: int | None


def title(capability: str, candidate: str | None) -> str:
    """What the incident is called (plain text)."""
    return f"Roll {capability} back" + (f" from {candidate}" if candidate else "")


def issue_title(case: CandidateCase) -> str:
    """The incident issue's title (plain text)."""
    return f"Incident: {case.capability} rolled back to {case.baseline}"


def commit_message(case: CandidateCase, facts: RollbackFacts) -> str:
    """The fix commit's message."""
    return (
        f"{title(case.capability, case.candidate)}\n\n"
        f"{markdown.text(facts.anomaly.said, limit=500)}\n\n"
        f"The flag document serves {case.baseline} only, and {case.capability} is paused."
    )


def flags_message(case: CandidateCase) -> str:
    """The message of the commit that brings the flag document up to date."""
    return f"Flags: all of {case.capability} for {case.baseline}, and paused"


def starting(case: CandidateCase) -> Standing:
    """Traffic is back; the fix is being made."""
    return Standing(
        state="working",
        headline=f"Nothing to do for you yet: {markdown.code(case.baseline)} serves all of "
        f"{markdown.code(case.capability)} again, and I am preparing the fix.",
    )


def nothing_to_take_back(capability: str) -> Stop:
    """No candidate has any traffic."""
    return Stop(
        f"No candidate has any traffic of {markdown.code(capability)}: there is nothing to roll "
        "back.",
        f"To keep candidates out: `/pause {capability} because …`.",
    )


def joined(issue: int | None, incident: str) -> Ending:
    """The same capability is being rolled back already."""
    where = f"#{issue}" if issue else markdown.code(incident[-8:])
    return Ending(
        outcome="joined",
        reason=f"All traffic is back at the baseline; {where} sees to the rest.",
        remedy="",
    )


def issue(case: CandidateCase, standing: Standing, facts: RollbackFacts) -> str:
    """The incident issue: what was odd, what was compared, and how to try again."""
    return issue_body(
        case,
        standing,
        what_happened(case, facts),
        metric_table(facts.diffs),
        again(facts.reshadow),
        commands=("/status", "/retry", "/cancel", "/severity low|medium|high|critical"),
    )


def section(
    case: CandidateCase, standing: Standing, facts: RollbackFacts, counting: Counting
) -> str:
    """The managed section of the fix pull request's description."""
    return wording.paragraphs(
        f"**{standing.headline}**",
        what_happened(case, facts),
        "With this the committed flag document says what is served: the baseline only, paused.",
        reason_given(case),
        wording.facts(case),
        wording.body(standing),
        again(facts.reshadow),
        wording.which_checks(counting),
    )


def what_happened(case: CandidateCase, facts: RollbackFacts) -> str:
    """What was odd, and what was done at once."""
    candidate = markdown.code(case.candidate or "")
    had = f"{facts.before}% of the traffic" if facts.before else "copies of requests only"
    metric = facts.anomaly.metric
    about = f" ({NAMES.get(metric, metric)})" if metric else ""
    also = (
        f" Also beyond its limit: {', '.join(map(markdown.code, facts.anomaly.also))}."
        if facts.anomaly.also
        else ""
    )
    watched = f" Watched in #{facts.watched}." if facts.watched else ""
    return (
        f"{candidate} had {had} of {markdown.code(case.capability)}. "
        f"{markdown.text(facts.anomaly.said)}{about}{also} All of it went back to "
        f"{markdown.code(case.baseline)} at once, and the capability is paused.{watched}"
    )


def again(plan: Reshadow) -> str:
    """How to try again."""
    lines = [f"**To try again:** {markdown.text(plan.reason)}"]
    if plan.min_pairs is not None:
        lines.append(f"{plan.min_pairs:,} pairs show an effect as large as this one.")
    lines.append(f"Lift the pause with `/unpause`, then `{plan.command}`.")
    return " ".join(lines)
