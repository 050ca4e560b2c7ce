"""Merging a pull request at exactly the commit that was verified (Decisions, 6).

Auto-merge is not used: it would merge later, at a commit and under rules nobody looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.github.calls.pulls import PULL, Pulls
from bot.github.errors import Conflict, NotMergeable, Uncertain, Unprocessable
from bot.github.models import MergeMethod, PullRequest, QueueEntry
from bot.github.text import cut, cut_title
from bot.github.transport.channel import Channel

QUEUE_FIELDS = "id state position enqueuedAt estimatedTimeToMerge headCommit { oid }"
ENQUEUE = f"""
mutation($id: ID!, $head: GitObjectID!) {{
  enqueuePullRequest(input: {{pullRequestId: $id, expectedHeadOid: $head}}) {{
    mergeQueueEntry {{ {QUEUE_FIELDS} }} }} }}
"""
DEQUEUE = """
mutation($id: ID!) { dequeuePullRequest(input: {id: $id}) { mergeQueueEntry { id } } }
"""
ENTRY = f"""
query($id: ID!) {{ node(id: $id) {{
  ... on PullRequest {{ mergeQueueEntry {{ {QUEUE_FIELDS} }} }} }} }}
"""


_IN_PASSING = re.compile(r"base branch was modified|merge already in progress", re.IGNORECASE)
"""In GitHub's refusal (405): https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request

GraphQL says it in the same words.
"""


@dataclass(frozen=True)
class Merged:
    """It is merged; `sha` is the commit on the base branch."""

    sha: str


@dataclass(frozen=True)
class NotYet:
    """GitHub refuses to merge now, and says why: a pending check, a review, a conflict.

    `passing`: for a moment only. It works out anew whether it merges, since the base was pushed to
    or another merge is under way: the same request may be granted seconds later.
    """

    reason: str
    passing: bool = False


@dataclass(frozen=True)
class HeadMoved:
    """The pull request's head is no longer the commit that was verified."""

    head_sha: str


MergeOutcome = Merged | NotYet | HeadMoved


class Merging:
    """Merging, directly or through the merge queue."""

    def __init__(self, channel: Channel, pulls: Pulls) -> None:
        """Work through `channel`; look at the outcome through `pulls`."""
        self._channel = channel
        self._pulls = pulls

    async def merge(
        self,
        number: int,
        *,
        head_sha: str,
        method: MergeMethod,
        title: str | None = None,
        message: str | None = None,
        look_first: bool = False,
    ) -> MergeOutcome:
        """Merge if the head is still `head_sha` and GitHub's rules allow it.

        Whatever GitHub answers, the pull request is read again before anything but success is
        said: a lost answer, or a refusal because it is merged already, is a success.

        Args:
            number: The pull request.
            head_sha: The commit that was verified.
            method: One the base branch allows.
            title: The merge commit's first line (GitHub's own if left out; not for rebase).
            message: The rest of its message.
            look_first: Whether this step may already have run.
        """
        if look_first:
            pull = await self._pulls.get(number)
            if pull.is_merged:
                return _merged(pull)
        for _ in range(2):
            try:
                return await self._merge_once(number, head_sha, method, title, message)
            except (Uncertain, Conflict) as error:
                pull = await self._pulls.get(number)
                if pull.is_merged:
                    return _merged(pull)
                if pull.head.sha != head_sha:
                    return HeadMoved(pull.head.sha)
                if isinstance(error, NotMergeable):
                    computing = pull.mergeable is None or pull.mergeable_state == "unknown"
                    return NotYet(str(error), computing or bool(_IN_PASSING.search(str(error))))
                last = error
        raise last

    async def _merge_once(
        self,
        number: int,
        head_sha: str,
        method: MergeMethod,
        title: str | None,
        message: str | None,
    ) -> Merged:
        body = {"sha": head_sha, "merge_method": method.value}
        if title is not None and method is not MergeMethod.REBASE:
            body["commit_title"] = cut_title(title)
        if message is not None and method is not MergeMethod.REBASE:
            body["commit_message"] = cut(message)
        data = await self._channel.put(f"{PULL}/merge", body, repeatable=False, number=number)
        return Merged(data["sha"])

    async def enqueue(self, pull: PullRequest, *, head_sha: str) -> QueueEntry | NotYet:
        """Put it into the merge queue at `head_sha`, unless it is there.

        Returns:
            Its place; or that GitHub refuses for a moment only.

        Raises:
            Unprocessable: If GitHub refuses: a rule is not met, the head moved, or there is no
                merge queue.
        """
        try:
            data = await self._channel.graphql(
                ENQUEUE,
                {"id": pull.node_id, "head": head_sha},
                name="enqueuePullRequest",
                repeatable=False,
            )
        except (Uncertain, Unprocessable) as error:
            # It may be in the queue already: put there a moment ago, unanswered, or by a person.
            entry = await self.queue_entry(pull)
            if entry is not None:
                return entry
            if isinstance(error, Unprocessable) and _IN_PASSING.search(str(error)):
                return NotYet(str(error), passing=True)
            raise
        return QueueEntry.model_validate(data["enqueuePullRequest"]["mergeQueueEntry"])

    async def queue_entry(self, pull: PullRequest) -> QueueEntry | None:
        """Read its place in the merge queue; None if it is not in it (any more)."""
        data = await self._channel.graphql(
            ENTRY, {"id": pull.node_id}, name="mergeQueueEntry", repeatable=True
        )
        entry = (data["node"] or {}).get("mergeQueueEntry")
        return None if entry is None else QueueEntry.model_validate(entry)

    async def dequeue(self, pull: PullRequest) -> None:
        """Take it out of the merge queue; that it is not in it is fine.

        Raises:
            Unprocessable: GitHub refuses, and it is still in the queue.
        """
        if await self.queue_entry(pull) is None:
            return
        try:
            await self._channel.graphql(
                DEQUEUE, {"id": pull.node_id}, name="dequeuePullRequest", repeatable=True
            )
        except Unprocessable:
            # It may be out all the same: the first try went unanswered, or GitHub says that it
            # failed to remove what it has removed (vanillagreencom/kendex#1289).
            if await self.queue_entry(pull) is not None:
                raise


def _merged(pull: PullRequest) -> Merged:
    return Merged(pull.merge_commit_sha or pull.head.sha)
