"""What is said while people have to review a proposal."""

from __future__ import annotations

from bot import markdown
from bot.playbooks.checks.green import CheckTally
from bot.playbooks.incidents.case import IncidentContext
from bot.playbooks.proposal.merging import PullRequestSnapshot
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.wording import how_to_cancel, listed, proposal_linked


def awaiting_review(
    asked: tuple[str, ...], view: PullRequestSnapshot, case: IncidentContext
) -> StatusMessage:
    """The branch asks for reviews."""
    missing = max(view.approvals_missing, 1)
    people = f" Asked: {', '.join(markdown.mention(name) for name in asked)}." if asked else ""
    owners = " One has to be a code owner's." if view.code_owners_review else ""
    return StatusMessage(
        state="needs you",
        headline=f"Review {proposal_linked(case)}: it is green and needs {missing} more "
        f"{'approval' if missing == 1 else 'approvals'}.{people}",
        details=(
            f"{markdown.code(case.base)} asks for a review, and an App cannot approve its own "
            f"work.{owners} I merge it as soon as the review is in. " + how_to_cancel(case),
        ),
        checks=view.tally.shown,
    )


def awaiting_code_owner(
    owners: tuple[str, ...], case: IncidentContext, tally: CheckTally
) -> StatusMessage:
    """The branch asks for a review by those to whom the changed files belong.

    GitHub names them when it refuses the merge; teams are named, and not notified.
    """
    who = listed([markdown.mention(name) for name in owners], "or")
    named = f": {who}" if owners else ", named in `CODEOWNERS`"
    return StatusMessage(
        state="needs you",
        headline=f"Review {proposal_linked(case)}: it is green and waits for a code owner{named}.",
        details=(
            f"{markdown.code(case.base)} asks that whoever owns the changed files approves, and an "
            "App cannot approve its own work. I merge it as soon as the review is in. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def changes_wanted(by: tuple[str, ...], case: IncidentContext, tally: CheckTally) -> StatusMessage:
    """A reviewer said no."""
    people = ", ".join(markdown.code(name) for name in by)
    return StatusMessage(
        state="needs you",
        headline=f"Settle it with {people}, whose review of {proposal_linked(case)} asks for "
        "changes.",
        details=(
            "I merge as soon as that review is dismissed or has become an approval. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )
