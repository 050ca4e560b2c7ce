"""Telling people about a Run, each place once: issue, sticky status, description, check-run, words.

Everything here is an ensure: found by its hidden marker or external id, and created only when
missing. Edits notify nobody; new comments do, so there is one at "needs you" and one at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bot import markdown
from bot.github.calls.checks import CheckReport, Conclusion
from bot.github.client import RepositoryClient
from bot.github.markers import marked
from bot.github.models import Issue
from bot.playbooks.words.standing import StatusMessage

_CONCLUSIONS: dict[str, Conclusion | None] = {
    "working": None,
    "needs you": "action_required",
    "done": "success",
    "stopped": "cancelled",
}


@dataclass(frozen=True)
class StatusPlaces:
    """Speaks for one incident.

    Attributes:
        github: the repository.
        incident: the incident's id, part of every marker.
        since: nothing of ours is older than this: when the Trigger was received.
        run: the Run's id, the check-run's external id.
    """

    github: RepositoryClient
    incident: str
    since: datetime
    run: str

    async def open_issue(
        self,
        title: str,
        body: str,
        *,
        labels: tuple[str, ...],
        assignees: tuple[str, ...],
        look_first: bool,
    ) -> Issue:
        """Open the incident issue."""
        return await self.github.issues.ensure_issue(
            key=f"incident:{self.incident}",
            title=title,
            body=body,
            labels=labels,
            assignees=assignees,
            since=self.since,
            look_first=look_first,
        )

    async def update_issue(self, number: int, body: str) -> None:
        """Make the incident issue say `body`."""
        await self.github.issues.update(number, body=marked(body, f"incident:{self.incident}"))

    async def close_issue(self, number: int, *, completed: bool) -> None:
        """Close the incident issue, as done or as not planned."""
        await self.github.issues.close(number, "completed" if completed else "not_planned")

    async def status(self, number: int, body: str, *, known: int | None, look_first: bool) -> int:
        """Keep the one sticky status on an issue or pull request up to date, and give its id.

        `known` is the comment's id where it is known: lists may lag behind.
        """
        comment = await self.github.comments.sticky_comment(
            number,
            key=f"status:{self.incident}",
            body=body,
            since=self.since,
            look_first=look_first,
            comment_id=known,
        )
        return comment.id

    async def comment(self, number: int, key: str, body: str, *, look_first: bool) -> None:
        """Write one new comment, which notifies whom it mentions."""
        await self.github.comments.ensure_comment(
            number,
            key=f"{key}:{self.incident}",
            body=body,
            since=self.since,
            look_first=look_first,
        )

    async def section(self, number: int, content: str) -> None:
        """Rewrite our section of a pull request's description; the rest is its author's."""
        pull = await self.github.pulls.get(number)
        body = markdown.with_section(pull.body or "", "status", content)
        if body != (pull.body or ""):
            await self.github.pulls.update(number, body=body)

    async def check(
        self, known: int | None, head: str, name: str, report: CheckReport, *, look_first: bool
    ) -> int:
        """Report on a commit through our check-run, and give its id.

        Args:
            known: the check-run's id on this commit, where it is known already.
            head: the commit.
            name: the check-run's stable name.
            report: what it says.
            look_first: whether it may be there already.
        """
        return await self.github.checks.ensure_reported(
            known,
            head_sha=head,
            name=name,
            external_id=self.run,
            report=report,
            look_first=look_first,
        )


def concluded(standing: StatusMessage) -> Conclusion | None:
    """How a check-run ends that says this standing; None: it is still at work."""
    if standing.withheld:
        return "failure"
    # A review that is missing says nothing against what was verified.
    if standing.state == "needs you" and standing.is_verified:
        return "success"
    return _CONCLUSIONS[standing.state]
