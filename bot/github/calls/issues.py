"""Issues, and what people say on them: comments, labels, reactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from bot.github.calls.app import Ourselves
from bot.github.calls.ensure import ensure
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.github.markers import cut, cut_title, edit, is_marked, marked
from bot.github.models import Comment, Issue, Label, Reaction
from bot.github.transport.channel import Channel, WaitingEdit

LABELS_OF_ISSUE = "/repos/{owner}/{repo}/issues/{number}/labels"


class Labels:
    """The repository's labels."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def add(self, number: int, names: Sequence[str]) -> tuple[str, ...]:
        """Put labels on an issue or pull request; give all that are on it now."""
        data = await self._channel.post(
            LABELS_OF_ISSUE, {"labels": list(names)}, repeatable=True, number=number
        )
        return tuple(Label.model_validate(entry).name for entry in data)

    async def remove(self, number: int, name: str) -> None:
        """Take a label off; that it is not there is fine."""
        await self._channel.delete(f"{LABELS_OF_ISSUE}/{{name}}", number=number, name=name)


class Emotion(StrEnum):
    """The reactions the bot uses."""

    SEEN = "eyes"
    DONE = "+1"
    REFUSED = "confused"


class ReactionSubject(StrEnum):
    """What can be reacted to by its id (an issue or pull request: by its number)."""

    ISSUE = "/repos/{owner}/{repo}/issues/{id}/reactions"
    ISSUE_COMMENT = "/repos/{owner}/{repo}/issues/comments/{id}/reactions"
    REVIEW_COMMENT = "/repos/{owner}/{repo}/pulls/comments/{id}/reactions"


class Reactions:
    """The App's reactions. Reviews take none by REST: react on their pull request instead."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def ensure_reaction(
        self, subject: ReactionSubject, id: int, emotion: Emotion
    ) -> Reaction:
        """React once; GitHub gives the existing reaction if there is one."""
        data = await self._channel.post(
            subject.value, {"content": emotion.value}, repeatable=True, id=id
        )
        return Reaction.model_validate(data)

    async def remove(self, subject: ReactionSubject, id: int, reaction_id: int) -> None:
        """Take one of our reactions back; that it is gone already is fine."""
        await self._channel.delete(
            f"{subject.value}/{{reaction_id}}", id=id, reaction_id=reaction_id
        )


ISSUES = "/repos/{owner}/{repo}/issues"
ISSUE = "/repos/{owner}/{repo}/issues/{number}"


class Issues:
    """The repository's issues. A pull request's number works too, where GitHub treats it as one."""

    def __init__(self, channel: Channel, ourselves: Ourselves) -> None:
        """Work through `channel`; recognize our own issues by `ourselves`."""
        self._channel = channel
        self._ourselves = ourselves

    async def get(self, number: int) -> Issue:
        """Read one issue or pull request.

        Raises:
            NotFound: If there is none with this number.
        """
        return Issue.model_validate(await self._channel.get(ISSUE, number=number))

    async def find(self, number: int) -> Issue | None:
        """Read one issue or pull request, or None if there is none."""
        data = await self._channel.find(ISSUE, number=number)
        return None if data is None else Issue.model_validate(data)

    async def list(
        self,
        *,
        state: Literal["open", "closed", "all"] = "open",
        labels: Sequence[str] = (),
        creator: str | None = None,
        since: datetime | None = None,
    ) -> AsyncIterator[Issue]:
        """List issues and pull requests, newest first; `since` is about the last update."""
        query = {
            "state": state,
            "labels": ",".join(labels) or None,
            "creator": creator,
            "since": stamp(since),
        }
        async for data in self._channel.items(ISSUES, query=query):
            yield Issue.model_validate(data)

    async def ensure_issue(
        self,
        *,
        key: str,
        title: str,
        body: str,
        labels: Sequence[str] = (),
        assignees: Sequence[str] = (),
        since: datetime,
        look_first: bool,
    ) -> Issue:
        """Open the issue that carries `key`'s hidden marker, unless we did already.

        Args:
            key: What makes the issue this one, such as `incident:<id>`; hidden in its body.
            title: Cut to 256 characters.
            body: Cut to 65,536 characters; the marker is added.
            labels: Their names; missing ones are created by GitHub.
            assignees: Logins. One whom GitHub cannot assign (422, "invalid"), or a label that it
                refuses, does not keep the issue from being opened.
            since: Nothing of ours is older than this: when the incident was received.
            look_first: Whether this step may already have run.
        """

        async def look() -> Issue | None:
            login = await self._ourselves.login()
            found = [
                issue
                async for issue in self.list(state="all", creator=login, since=since)
                if is_marked(issue.body, key) and not issue.is_pull_request
            ]
            return min(found, key=lambda issue: issue.number, default=None)

        async def create() -> Issue:
            plain = {"title": cut_title(title), "body": marked(body, key)}
            dress = {"labels": list(labels), "assignees": list(assignees)}
            try:
                return Issue.model_validate(await self._channel.post(ISSUES, plain | dress))
            except (Forbidden, Unprocessable):
                if not (labels or assignees):
                    raise
            issue = Issue.model_validate(await self._channel.post(ISSUES, plain))
            await self._dress(issue.number, dress)
            return issue

        return await ensure(
            look=look, create=create, look_first=look_first, sleep=self._channel.around.sleep
        )

    async def _dress(self, number: int, dress: Mapping[str, Sequence[str]]) -> None:
        """Give an issue each of its labels and assignees that GitHub takes."""
        for name, each in [(name, each) for name, of in dress.items() for each in of]:
            try:
                await self._channel.post(
                    f"{ISSUE}/{name}", {name: [each]}, repeatable=True, number=number
                )
            except (Forbidden, NotFound, Unprocessable):
                continue

    async def update(
        self,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        state: Literal["open", "closed"] | None = None,
        state_reason: Literal["completed", "not_planned", "reopened"] | None = None,
    ) -> Issue:
        """Set what is given and leave the rest. Doing it twice changes nothing more."""
        change = edit(title=title, body=body, state=state, state_reason=state_reason)
        data = await self._channel.patch(ISSUE, change, number=number)
        return Issue.model_validate(data)

    async def close(
        self,
        number: int,
        reason: Literal["completed", "not_planned"] = "completed",
        body: str | None = None,
    ) -> Issue:
        """Close an issue, with a new text where one is given; closed twice it is closed once."""
        return await self.update(number, state="closed", state_reason=reason, body=body)

    async def reopen(self, number: int) -> Issue:
        """Open a closed issue again."""
        return await self.update(number, state="open")

    async def ensure_assignees(self, number: int, logins: Sequence[str]) -> tuple[str, ...]:
        """Assign these people and give who is assigned now.

        GitHub leaves out, silently, whoever has no access; at most 10 can be assigned.
        """
        if not logins:
            return ()
        data = await self._channel.post(
            f"{ISSUE}/assignees", {"assignees": list(logins)}, repeatable=True, number=number
        )
        return tuple(user.login for user in Issue.model_validate(data).assignees)


def stamp(moment: datetime | None) -> str | None:
    """Write a moment as GitHub reads it: UTC, whole seconds, `Z`.

    Raises:
        ValueError: If `moment` has no time zone.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError("A moment without a time zone means nothing to GitHub.")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


COMMENTS_OF_ISSUE = "/repos/{owner}/{repo}/issues/{number}/comments"
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
        async for data in self._channel.items(COMMENTS_OF_ISSUE, query=query, number=number):
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
            data = await self._channel.post(
                COMMENTS_OF_ISSUE, {"body": marked(body, key)}, number=number
            )
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
        wanted = marked(body, key)
        if comment_id is not None:
            try:
                return await self._edit(comment_id, cut(wanted))
            except NotFound:
                # Somebody deleted it: it is written once more.
                pass
        comment = await self.ensure_comment(
            number, key=key, body=body, since=since, look_first=look_first
        )
        return await self.edit(comment, wanted)

    async def edit(self, comment: Comment, body: str) -> Comment:
        """Make one of our comments say `body`, unless it does."""
        body = cut(body)
        if _same(comment.body, body):
            return comment
        return await self._edit(comment.id, body)

    async def _edit(self, comment_id: int, body: str) -> Comment:
        """Send the text; one of the same comment that still waits for room is sent as this one."""
        edits = self._channel.around.edits
        while (earlier := edits.get(comment_id)) is not None:
            earlier.body = body
            if (data := await asyncio.shield(earlier.sent)) is not None:
                return Comment.model_validate(data)
        edit = edits[comment_id] = WaitingEdit(body, asyncio.get_running_loop().create_future())
        try:
            await self._channel.until_room()
            del edits[comment_id]
            data = await self._channel.patch(COMMENT, {"body": edit.body}, comment_id=comment_id)
            edit.sent.set_result(data)
        finally:
            if not edit.sent.done():
                edit.sent.set_result(None)
                if edits.get(comment_id) is edit:
                    del edits[comment_id]
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


def _same(stored: str | None, body: str) -> bool:
    # GitHub may store CRLF line ends and drop white space at the end.
    return (stored or "").replace("\r\n", "\n").rstrip() == body.replace("\r\n", "\n").rstrip()
