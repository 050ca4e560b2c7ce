"""Comments on issues and pull requests: new ones, and the sticky one that is edited in place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from bot.github.calls.ensure import ensure
from bot.github.calls.issues import stamp
from bot.github.calls.ours import Ourselves
from bot.github.models import Comment
from bot.github.text import cut, is_marked, marked
from bot.github.transport.channel import Channel

ON_ISSUE = "/repos/{owner}/{repo}/issues/{number}/comments"
COMMENT = "/repos/{owner}/{repo}/issues/comments/{comment_id}"


class Comments:
    """Comments below issues and pull requests (not the ones on lines of code)."""

    def __init__(self, channel: Channel, ourselves: Ourselves) -> None:
        """Work through `channel`; recognize our own comments by `ourselves`."""
        self._channel = channel
        self._ourselves = ourselves

    async def get(self, comment_id: int) -> Comment:
        """Read one comment.

        Raises:
            NotFound: If it was deleted.
        """
        return Comment.model_validate(await self._channel.get(COMMENT, comment_id=comment_id))

    async def list(self, number: int, *, since: datetime | None = None) -> AsyncIterator[Comment]:
        """List the comments on an issue or pull request, oldest first."""
        query = {"since": stamp(since)}
        async for data in self._channel.items(ON_ISSUE, query=query, number=number):
            yield Comment.model_validate(data)

    async def ensure_comment(
        self, number: int, *, key: str, body: str, since: datetime, look_first: bool
    ) -> Comment:
        """Write the comment that carries `key`'s hidden marker, unless we did already.

        Args:
            number: The issue or pull request.
            key: What makes the comment this one, such as `done:<incident id>`.
            body: Cut to 65,536 characters; the marker is added.
            since: Nothing of ours is older than this: when the incident was received.
            look_first: Whether this step may already have run.
        """

        async def look() -> Comment | None:
            return await self.find_ours(number, key, since=since)

        async def create() -> Comment:
            data = await self._channel.post(ON_ISSUE, {"body": marked(body, key)}, number=number)
            return Comment.model_validate(data)

        return await ensure(
            look=look, create=create, look_first=look_first, sleep=self._channel.around.sleep
        )

    async def sticky_comment(
        self,
        number: int,
        *,
        key: str,
        body: str,
        since: datetime,
        look_first: bool = True,
        comment_id: int | None = None,
    ) -> Comment:
        """Keep one comment that always says `body`: written once, then edited in place.

        An edit notifies nobody. Nothing is sent if the text is the same.

        Args:
            number: The issue or pull request.
            key: What makes the comment this one, such as `status:<incident id>`.
            body: Cut to 65,536 characters; the marker is added.
            since: Nothing of ours is older than this.
            look_first: Whether it may be there already; False only for the first time.
            comment_id: The comment's id where it is known: saves looking through the list.
        """
        known = None if comment_id is None else await self._find(comment_id)
        comment = known or await self.ensure_comment(
            number, key=key, body=body, since=since, look_first=look_first
        )
        return await self.edit(comment, marked(body, key))

    async def edit(self, comment: Comment, body: str) -> Comment:
        """Make one of our comments say `body`, unless it does."""
        body = cut(body)
        if _same(comment.body, body):
            return comment
        data = await self._channel.patch(COMMENT, {"body": body}, comment_id=comment.id)
        return Comment.model_validate(data)

    async def delete(self, comment_id: int) -> None:
        """Delete a comment; that it is gone already is fine."""
        await self._channel.delete(COMMENT, comment_id=comment_id)

    async def find_ours(
        self, number: int, key: str, *, since: datetime | None = None
    ) -> Comment | None:
        """Find our oldest comment with `key`'s marker; copies of it by others do not count."""
        found = [
            comment
            async for comment in self.list(number, since=since)
            if is_marked(comment.body, key) and await self._ourselves.wrote(comment.user)
        ]
        return min(found, key=lambda comment: comment.id, default=None)

    async def _find(self, comment_id: int) -> Comment | None:
        data = await self._channel.find(COMMENT, comment_id=comment_id)
        return None if data is None else Comment.model_validate(data)


def _same(stored: str | None, body: str) -> bool:
    # GitHub may store CRLF line ends and drop white space at the end.
    return (stored or "").replace("\r\n", "\n").rstrip() == body.replace("\r\n", "\n").rstrip()
