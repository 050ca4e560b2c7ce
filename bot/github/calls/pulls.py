"""Pull requests, and merging them.

Auto-merge is not used: it would merge later, at a commit and under rules nobody looked at.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bot.github.calls.ensure import commit_from_rest, ensure, once_seen
from bot.github.calls.issues import ISSUE
from bot.github.errors import Conflict, NotMergeable, Uncertain, Unprocessable
from bot.github.markers import cut, cut_title, edit
from bot.github.models import ChangedFile, Commit, MergeMethod, PullRequest, QueueEntry, Review
from bot.github.transport.channel import Channel

PULLS = "/repos/{owner}/{repo}/pulls"
PULL = "/repos/{owner}/{repo}/pulls/{number}"
OF_COMMIT = "/repos/{owner}/{repo}/commits/{sha}/pulls"

COMMITS_AT_ONCE = 100
"""Commits whose pull requests are asked for in one request."""
_WITH_COMMITS = """
  query($owner: String!, $name: String!) {
    repository(owner: $owner, name: $name) {%s}
  }
"""
_ASSOCIATED = "pageInfo { hasNextPage endCursor } nodes { number merged }"
_WITH_COMMIT = f"""
  c%d: object(oid: "%s") {{ ... on Commit {{
    associatedPullRequests(first: 10) {{ {_ASSOCIATED} }} }} }}"""
MORE_WITH_COMMIT = f"""
  query($owner: String!, $name: String!, $sha: GitObjectID!, $after: String) {{
    repository(owner: $owner, name: $name) {{ object(oid: $sha) {{ ... on Commit {{
      associatedPullRequests(first: 100, after: $after) {{ {_ASSOCIATED} }} }} }} }}
  }}
"""


class Pulls:
    """The repository's pull requests."""

    def __init__(self, channel: Channel, owner: str, name: str) -> None:
        """Work through `channel` on `owner`/`name`; the branches we propose from are its own."""
        self._channel = channel
        self._owner, self._name = owner, name

    async def get(self, number: int) -> PullRequest:
        """Read one pull request with all its fields.

        Raises:
            NotFound: If there is none with this number (an issue's number is none either).
        """
        data = await self._channel.get(PULL, number=number)
        return await self._with_landing(PullRequest.model_validate(data))

    async def find(self, number: int) -> PullRequest | None:
        """Read one pull request, or None if there is none."""
        data = await self._channel.find(PULL, number=number)
        return None if data is None else await self._with_landing(PullRequest.model_validate(data))

    async def _with_landing(self, pull: PullRequest) -> PullRequest:
        """Read the commit that it was merged with from its history, where it is left out.

        Source: REST API, `merge_commit_sha` may be null; "Issue event types", `merged`.
        """
        if not pull.is_merged or pull.merge_commit_sha is not None:
            return pull
        landed = None
        async for event in self._channel.items(f"{ISSUE}/events", number=pull.number):
            if event.get("event") == "merged":
                landed = event.get("commit_id")
        return pull.model_copy(update={"merge_commit_sha": landed})

    async def list(
        self,
        *,
        state: Literal["open", "closed", "all"] = "open",
        base: str | None = None,
        head: str | None = None,
    ) -> AsyncIterator[PullRequest]:
        """List pull requests, newest first; `head` is a branch of this repository."""
        query = {
            "state": state,
            "base": base,
            "head": None if head is None else f"{self._owner}:{head}",
        }
        async for data in self._channel.items(PULLS, query=query):
            yield PullRequest.model_validate(data)

    async def closed_since(self, moment: datetime) -> tuple[PullRequest, ...]:
        """Give those that were closed or merged since a moment, the latest change first."""
        query = {"state": "closed", "sort": "updated", "direction": "desc"}
        found = []
        async for data in self._channel.items(PULLS, query=query):
            pull = PullRequest.model_validate(data)
            if pull.updated_at is not None and pull.updated_at < moment:
                break
            if pull.closed_at is None or pull.closed_at >= moment:
                found.append(pull)
        return tuple(found)

    async def of_commit(self, sha: str) -> tuple[PullRequest, ...]:
        """Give the pull requests GitHub associates with a commit.

        It may also name ones that only contain the commit: decide by patch-ids
        (docs/decisions/0019).
        """
        found = self._channel.items(OF_COMMIT, sha=sha)
        return tuple([PullRequest.model_validate(data) async for data in found])

    async def merged_with(self, commits: Sequence[str]) -> tuple[int, ...]:
        """Name the merged pull requests that GitHub associates with any of these commits.

        One request for each 100 commits (full SHAs). Source: GraphQL API,
        `Commit.associatedPullRequests`. It may leave some out: look into the history too.
        """
        found: set[int] = set()
        for start in range(0, len(commits), COMMITS_AT_ONCE):
            part = commits[start : start + COMMITS_AT_ONCE]
            asked = "".join(_WITH_COMMIT % each for each in enumerate(part))
            variables = {"owner": self._owner, "name": self._name}
            data = await self._channel.graphql(
                _WITH_COMMITS % asked, variables, name="mergedWith", repeatable=True
            )
            known = data.get("repository") or {}
            for place, sha in enumerate(part):
                commit: dict[str, Any] | None = known.get(f"c{place}")
                while associated := (commit or {}).get("associatedPullRequests"):
                    nodes = associated.get("nodes") or ()
                    found |= {pull["number"] for pull in nodes if pull and pull["merged"]}
                    page = associated.get("pageInfo") or {}
                    if not page.get("hasNextPage"):
                        break
                    more = await self._channel.graphql(
                        MORE_WITH_COMMIT,
                        {**variables, "sha": sha, "after": page["endCursor"]},
                        name="mergedWith",
                        repeatable=True,
                    )
                    commit = (more.get("repository") or {}).get("object")
        return tuple(sorted(found))

    async def commits(self, number: int) -> tuple[Commit, ...]:
        """Give its commits, oldest first; GitHub lists at most 250."""
        found = self._channel.items(f"{PULL}/commits", number=number)
        return tuple([commit_from_rest(data) async for data in found])

    async def files(self, number: int) -> AsyncIterator[ChangedFile]:
        """List the files it changes; GitHub lists at most 3,000."""
        async for data in self._channel.items(f"{PULL}/files", number=number):
            yield ChangedFile.model_validate(data)

    async def reviews(self, number: int) -> tuple[Review, ...]:
        """Give its reviews, oldest first."""
        found = self._channel.items(f"{PULL}/reviews", number=number)
        return tuple([Review.model_validate(data) async for data in found])

    async def ensure_pull_request(
        self,
        *,
        head: str,
        base: str,
        title: str,
        body: str,
        draft: bool = False,
        title_without_draft: str | None = None,
        commit: str | None = None,
        look_first: bool,
    ) -> PullRequest:
        """Open the pull request from branch `head` to `base`, unless there is one.

        A closed or merged one that brought `commit` from this branch is found too, and is not
        opened a second time.

        Args:
            head: A branch of this repository.
            base: The branch to merge into.
            title: Cut to 256 characters.
            body: Cut to 65,536 characters.
            draft: Where the repository has no drafts, it is opened as a normal one.
            title_without_draft: Its title in that case; None: the same.
            commit: What it brings; by default any closed one from this branch is taken for it.
            look_first: Whether this step may already have run.
        """

        async def look() -> PullRequest | None:
            found = [pull async for pull in self.list(state="all", base=base, head=head)]
            # An open one first, else the newest.
            known = sorted(
                (pull for pull in found if pull.head.ref == head),
                key=lambda pull: (pull.state == "open", pull.number),
                reverse=True,
            )
            for pull in known:
                if commit is None or pull.state == "open" or await self._brought(pull, commit):
                    return pull
            return None

        async def create(draft: bool = draft, title: str = title) -> PullRequest:
            request = {
                "head": head,
                "base": base,
                "title": cut_title(title),
                "body": cut(body),
                "draft": draft,
                "maintainer_can_modify": False,
            }
            try:
                made = await once_seen(
                    lambda: self._channel.post(PULLS, request), self._channel.around.sleep
                )
                return PullRequest.model_validate(made)
            except Unprocessable as refusal:
                if draft and "draft" in str(refusal).lower():
                    return await create(draft=False, title=title_without_draft or title)
                raise

        return await ensure(
            look=look, create=create, look_first=look_first, sleep=self._channel.around.sleep
        )

    async def _brought(self, pull: PullRequest, commit: str) -> bool:
        if pull.head.sha == commit:
            return True
        return any(each.sha == commit for each in await self.commits(pull.number))

    async def update(
        self,
        number: int,
        *,
        title: str | None = None,
        body: str | None = None,
        state: Literal["open", "closed"] | None = None,
        base: str | None = None,
    ) -> PullRequest:
        """Set what is given and leave the rest. Doing it twice changes nothing more."""
        change = edit(title=title, body=body, state=state, base=base)
        data = await self._channel.patch(PULL, change, number=number)
        return PullRequest.model_validate(data)

    async def close(self, number: int) -> PullRequest:
        """Close it without merging; closing a closed one changes nothing."""
        return await self.update(number, state="closed")

    async def mark_ready(self, pull: PullRequest) -> None:
        """End its being a draft; one that is none stays as it is.

        Source: GraphQL API, `markPullRequestReadyForReview`.
        """
        await self._channel.graphql(
            READY, {"id": pull.node_id}, name="markPullRequestReadyForReview", repeatable=True
        )


READY = """
mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) {
  pullRequest { isDraft } } }
"""
QUEUE_FIELDS = "id state position enqueuedAt estimatedTimeToMerge headCommit { oid }"
ENQUEUE = f"""
mutation($id: ID!, $head: GitObjectID!) {{
  enqueuePullRequest(input: {{pullRequestId: $id, expectedHeadOid: $head}}) {{
    mergeQueueEntry {{ {QUEUE_FIELDS} }} }} }}
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

    `passing`: for a moment only. It works out again whether it merges, since the base was pushed to
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
        if isinstance(last, Conflict):
            # The head is the one that was verified, and GitHub has not taken notice of it yet.
            return NotYet(str(last), passing=True)
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
        said = (data.get("enqueuePullRequest") or {}).get("mergeQueueEntry")
        if said is not None:
            return QueueEntry.model_validate(said)
        # It was taken, and its place may be left out of the answer.
        return await self.queue_entry(pull) or NotYet("GitHub names no place yet", passing=True)

    async def queue_entry(self, pull: PullRequest) -> QueueEntry | None:
        """Read its place in the merge queue; None if it is not in it (any more)."""
        data = await self._channel.graphql(
            ENTRY, {"id": pull.node_id}, name="mergeQueueEntry", repeatable=True
        )
        entry = (data["node"] or {}).get("mergeQueueEntry")
        return None if entry is None else QueueEntry.model_validate(entry)


def _merged(pull: PullRequest) -> Merged:
    return Merged(pull.merge_commit_sha or pull.head.sha)
