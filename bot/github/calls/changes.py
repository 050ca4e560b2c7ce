"""What changed in a repository lately, as deliveries would have told it.

Answers are given as GitHub gives them: whoever reads them knows deliveries, which hold the same
objects. Asked again about the same moment, GitHub answers 304 while nothing happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.github.calls.issues import ISSUE, ISSUES, stamp
from bot.github.transport.channel import Channel

COMMENTS = "/repos/{owner}/{repo}/issues/comments"
REVIEWS = "/repos/{owner}/{repo}/pulls/{number}/reviews"
REVIEW_COMMENTS = "/repos/{owner}/{repo}/pulls/{number}/comments"

_EDITED = "query($id: ID!) { node(id: $id) { ... on PullRequestReview { lastEditedAt } } }"

Shown = Mapping[str, Any]


class Changes:
    """Recent changes of one repository."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def issues(self, since: datetime) -> list[Shown]:
        """List issues and pull requests that anything happened to, in the order it did."""
        query = {"state": "all", "since": stamp(since), "sort": "updated", "direction": "asc"}
        return [data async for data in self._channel.items(ISSUES, query=query)]

    async def comments(self, since: datetime) -> list[Shown]:
        """List the comments on issues and pull requests that are new or were edited."""
        return [data async for data in self._channel.items(COMMENTS, query={"since": stamp(since)})]

    async def review_comments(self, number: int, since: datetime) -> list[Shown]:
        """List the comments on a pull request's lines that are new or were edited."""
        query = {"since": stamp(since)}
        found = self._channel.items(REVIEW_COMMENTS, query=query, number=number)
        return [data async for data in found]

    async def reviews(self, number: int) -> list[Shown]:
        """List the reviews of a pull request, oldest first; their list knows no `since`."""
        return [data async for data in self._channel.items(REVIEWS, number=number)]

    async def review_was_edited(self, node_id: str) -> bool:
        """Tell whether a review's text is not the one it was submitted with: REST does not say."""
        data = await self._channel.graphql(
            _EDITED, {"id": node_id}, name="reviewEdited", repeatable=True
        )
        return bool((data["node"] or {}).get("lastEditedAt"))

    async def events(self, number: int, *kinds: str) -> list[Shown]:
        """List what of these kinds happened to an issue or pull request, by whom, oldest first."""
        found = self._channel.items(f"{ISSUE}/events", number=number)
        return [data async for data in found if data.get("event") in kinds]
