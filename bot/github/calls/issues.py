"""Issues, and what pull requests share with them: labels, assignees, title and body."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from bot.github.calls.ensure import ensure
from bot.github.calls.ours import Ourselves
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.github.models import Issue
from bot.github.text import cut_title, edit, is_marked, marked
from bot.github.transport.channel import Channel

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
        self, number: int, reason: Literal["completed", "not_planned"] = "completed"
    ) -> Issue:
        """Close an issue; closing a closed one changes nothing."""
        return await self.update(number, state="closed", state_reason=reason)

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
