"""What the pages show, gathered from the world. Pure reading, no HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fakegithub.changes import statuses
from fakegithub.rules import requirements
from fakegithub.world.model import (
    FakeCheckRun,
    FakeComment,
    FakeIssue,
    FakeRepository,
    FakeUser,
    IssueEvent,
)
from fakegithub.world.world import World

Mood = Literal["good", "bad", "waiting", "neutral"]

_MOODS: Mapping[str | None, Mood] = {
    "success": "good", "failure": "bad", "timed_out": "bad", "action_required": "bad",
    "error": "bad", "startup_failure": "bad", "cancelled": "neutral", "neutral": "neutral",
    "skipped": "neutral", "stale": "neutral", "pending": "waiting",
}  # fmt: skip
_EVENTS = {
    "closed": "closed this", "reopened": "reopened this", "merged": "merged this",
    "labeled": "added the label", "unlabeled": "removed the label", "assigned": "assigned",
    "unassigned": "unassigned", "renamed": "changed the title", "locked": "locked this",
    "head_ref_deleted": "deleted the branch", "head_ref_restored": "restored the branch",
    "review_requested": "requested a review", "ready_for_review": "marked this as ready",
    "convert_to_draft": "made this a draft", "auto_merge_enabled": "enabled auto-merge",
    "auto_merge_disabled": "disabled auto-merge", "referenced": "mentioned this in a commit",
    "added_to_merge_queue": "added this to the merge queue",
    "removed_from_merge_queue": "removed this from the merge queue",
}  # fmt: skip
_REVIEWS = {
    "APPROVED": "approved these changes", "CHANGES_REQUESTED": "requested changes",
    "COMMENTED": "reviewed", "DISMISSED": "reviewed (dismissed)",
}  # fmt: skip


@dataclass(frozen=True)
class TimelineItem:
    """One thing in a conversation: something said, or a line about something done."""

    id: int
    at: datetime
    who: FakeUser
    words: str
    body: str | None = None
    detail: str = ""
    place: str = ""
    reactions: tuple[tuple[str, int], ...] = ()
    anchor: str = ""
    edited: bool = False


@dataclass(frozen=True)
class CheckLine:
    """One line of a checks list, whether a check-run or a status."""

    name: str
    mood: Mood
    says: str
    link: str
    reporter: str
    required: bool


def conversation(issue: FakeIssue) -> list[TimelineItem]:
    """Everything said and done, oldest first."""
    entries = [_comment(comment) for comment in issue.comments]
    entries += [_event(event) for event in issue.events]
    for review in issue.pull.reviews if issue.pull else []:
        if review.submitted_at is not None:
            words = _REVIEWS.get(review.state, "reviewed")
            entries.append(
                TimelineItem(
                    review.id, review.submitted_at, review.user, words, review.body or None,
                    anchor=f"pullrequestreview-{review.id}",
                )
            )  # fmt: skip
    return sorted(entries, key=lambda entry: (entry.at, entry.id))


_EMOJI = {
    "+1": "👍", "-1": "👎", "laugh": "😄", "confused": "😕", "heart": "❤️", "hooray": "🎉",
    "rocket": "🚀", "eyes": "👀",
}  # fmt: skip


def reactions(found: list[Any]) -> tuple[tuple[str, int], ...]:
    """Each emoji with how often it was given."""
    counted: dict[str, int] = {}
    for reaction in found:
        emoji = _EMOJI.get(reaction.content, reaction.content)
        counted[emoji] = counted.get(emoji, 0) + 1
    return tuple(counted.items())


def _comment(comment: FakeComment) -> TimelineItem:
    place = comment.path or ""
    if place and comment.line:
        place += f", line {comment.line}"
    return TimelineItem(
        comment.id, comment.created_at, comment.user, "commented", comment.body, "", place,
        reactions(comment.reactions), f"issuecomment-{comment.id}",
        comment.updated_at > comment.created_at,
    )  # fmt: skip


def _event(event: IssueEvent) -> TimelineItem:
    detail = ""
    if event.label is not None:
        detail = event.label.name
    elif event.assignee is not None:
        detail = event.assignee.login
    elif event.commit_id:
        detail = event.commit_id[:10]
    words = _EVENTS.get(event.event, event.event.replace("_", " "))
    return TimelineItem(event.id, event.created_at, event.actor, words, None, detail)


def state_of(issue: FakeIssue) -> tuple[str, Mood]:
    """Open, draft, merged or closed, with a colour."""
    if issue.pull is not None and issue.pull.merged_at is not None:
        return "Merged", "neutral"
    if issue.state == "closed":
        return "Closed", "bad" if issue.pull else "neutral"
    if issue.pull is not None and issue.pull.draft:
        return "Draft", "waiting"
    return "Open", "good"


def mood(status: str, conclusion: str | None) -> Mood:
    """The colour of a check."""
    return _MOODS.get(conclusion, "neutral") if status == "completed" else "waiting"


def check_line(page: str, run: FakeCheckRun, *, required: bool = False) -> CheckLine:
    """A check-run as one line; `page` is the repository's address."""
    says = run.output.get("title") or (run.conclusion or run.status).replace("_", " ")
    return CheckLine(
        run.name, mood(run.status, run.conclusion), str(says), f"{page}/runs/{run.id}",
        run.app.name, required,
    )  # fmt: skip


def checks_of(
    world: World, repository: FakeRepository, page: str, sha: str, base: str | None
) -> list[CheckLine]:
    """Everything reported on a commit, and what `base` requires and nobody reported yet."""
    needed = {name for name, _ in requirements.of(repository, base).checks} if base else set()
    found = [
        check_line(page, run, required=run.name in needed)
        for run in world.check_runs(repository, sha)
    ]
    found += [
        CheckLine(
            status.context, _MOODS[status.state], status.description or status.state,
            status.target_url or "", status.creator.login, status.context in needed,
        )
        for status in statuses.latest(repository, sha)
    ]  # fmt: skip
    missing = sorted(needed - {check.name for check in found})
    found += [
        CheckLine(name, "waiting", "expected, not reported yet", "", "", True) for name in missing
    ]
    return sorted(found, key=lambda check: check.name)


def summary(checks: list[CheckLine]) -> Mood:
    """One colour for all checks."""
    moods = {check.mood for check in checks}
    order: tuple[Mood, ...] = ("bad", "waiting", "good")
    return next((mood for mood in order if mood in moods), "neutral")


def obstacles(world: World, repository: FakeRepository, issue: FakeIssue) -> list[str]:
    """Why an open pull request cannot be merged now; empty when it can."""
    if issue.pull is None or issue.state != "open":
        return []
    found = []
    if issue.pull.draft:
        found.append("This pull request is a draft.")
    if not requirements.compute_mergeable(repository, issue.pull):
        found.append("This branch has conflicts with the base branch.")
    needs = requirements.of(repository, issue.pull.base_ref)
    return found + requirements.obstacles(world, repository, issue, needs)
