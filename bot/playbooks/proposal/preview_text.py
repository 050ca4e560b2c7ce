"""What is said of previews."""

from __future__ import annotations

from collections.abc import Iterable

from bot import markdown
from bot.playbooks.checks.green import CheckRow, CheckTally
from bot.playbooks.incidents.case import IncidentContext
from bot.playbooks.proposal.merging import PullRequestSnapshot
from bot.playbooks.words.standing import StatusMessage
from bot.playbooks.words.wording import how_to_cancel, names, proposal_linked


def preview_failed(
    failed: tuple[str, ...], case: IncidentContext, tally: CheckTally
) -> StatusMessage:
    """The proposal was deployed for a look at it, and that went wrong."""
    return StatusMessage(
        state="needs you",
        headline=f"Look at the {'preview' if len(failed) == 1 else 'previews'} {names(failed)}: "
        f"{proposal_linked(case)} could not be deployed there, so I did not merge it.",
        details=(
            *_logs(row for row in tally.previews if row.name in failed),
            "I carry on by myself when a deployment of the same commit succeeds there. If that "
            f"environment says nothing about the {case.proposal}, merge it yourself. "
            + how_to_cancel(case),
        ),
        checks=tally.shown,
    )


def unreadable(view: PullRequestSnapshot) -> tuple[str, ...]:
    """That the App may not see what is waited for, and what to do about it."""
    if not view.previews_hidden:
        return ()
    return (
        "I may not read deployments here, so I cannot see any preview: grant the App the "
        "permission `deployments: read`.",
    )


def _logs(failed: Iterable[CheckRow]) -> tuple[str, ...]:
    linked = [markdown.link(f"log of {row.name}", row.url) for row in failed if row.url]
    return (f"What went wrong there: {', '.join(linked)}.",) if linked else ()
