"""What a revert says, apart from what every proposal says: its titles and its documents.

Pure functions, Markdown out; `wording` says how what comes from outside is made harmless.
"""

from __future__ import annotations

from bot import markdown
from bot.playbooks.checks.green import Counting
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import (
    StatusMessage,
    body,
    commands,
    facts,
    name_of,
    offenders_in_words,
    offenders_linked,
    paragraphs,
    passed_over,
    quoted,
    staying,
    untold,
    which_checks,
)
from bot.playbooks.run import Ending


def issue_title(case: IncidentContext) -> str:
    """The incident issue's title (plain text)."""
    return f"Incident: {quoted(case.base)} broken by {offenders_in_words(case.offenders)}"


def pull_request_title(case: IncidentContext) -> str:
    """The hotfix pull request's title (plain text)."""
    return f"Revert {offenders_in_words(case.offenders)}"


def commit_message(case: IncidentContext, commits: tuple[str, ...]) -> str:
    """The hotfix commit's message, in the form of `git revert`."""
    lines = [f"This reverts commit {sha}." for sha in commits]
    reason = f"\nReason: {quoted(case.reason, limit=1000)}" if case.reason else ""
    return f"{pull_request_title(case)}\n\n" + "\n".join(lines) + reason


def issue_body(case: IncidentContext, standing: StatusMessage) -> str:
    """The incident issue."""
    reason = f" Reason given: {markdown.text(case.reason)}" if case.reason else ""
    return paragraphs(
        f"**{standing.headline}**",
        f"{_about(case, standing)}{reason}",
        facts(case),
        body(standing),
        staying(case),
        passed_over(case, standing),
        untold(case),
        commands(standing, "/retry", "/cancel", "/severity low|medium|high|critical"),
    )


def _about(case: IncidentContext, standing: StatusMessage) -> str:
    base, what = markdown.code(case.base), offenders_linked(case)
    one = len(case.offenders) == 1
    match standing.state:
        case "done":
            return f"{base} was broken, and {what} {'is' if one else 'are'} reverted."
        case "stopped":
            return f"{what} {'was' if one else 'were'} to be reverted on {base}."
        case _:
            return f"{base} is broken, and {what} {'is' if one else 'are'} being reverted."


def pull_request_section(case: IncidentContext, counting: Counting, standing: StatusMessage) -> str:
    """The managed section of the hotfix pull request's description."""
    reason = f" Reason: {markdown.text(case.reason)}" if case.reason else ""
    return paragraphs(
        f"**{standing.headline}**",
        f"Reverts {offenders_linked(case)} on {markdown.code(case.base)}, asked for by "
        f"{name_of(case.requested_by)}.{reason}",
        facts(case),
        body(standing),
        staying(case),
        passed_over(case, standing),
        untold(case),
        which_checks(counting),
    )


def check_title(standing: StatusMessage) -> str:
    """The `hotfix` check-run's title (plain text)."""
    return {
        "working": "In progress: the checks of the hotfix",
        "needs you": "Verified, needs a person" if standing.is_verified else "Needs a person",
        "done": "Merged",
        "stopped": "Stopped without merging",
    }[standing.state]


def joined(issue: int | None, incident: str) -> Ending:
    """Somebody asked for the same before."""
    where = f"#{issue}" if issue else markdown.code(incident)
    return Ending(
        outcome="joined",
        incident=incident,
        reason=f"This is already being reverted, as incident {where}.",
        remedy="`/status` says where it stands.",
    )
