"""Pull requests: reading them, opening one exactly once, changing its state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal

from bot.github.calls.ensure import ensure
from bot.github.calls.reading import commit_from_rest
from bot.github.errors import Unprocessable
from bot.github.models import ChangedFile, Commit, PullRequest, Review
from bot.github.text import cut, cut_title, edit
from bot.github.transport.channel import Channel

PULLS = "/repos/{owner}/{repo}/pulls"
PULL = "/repos/{owner}/{repo}/pulls/{number}"
OF_COMMIT = "/repos/{owner}/{repo}/commits/{sha}/pulls"

READY = """
mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) {
  pullRequest { id isDraft } } }
"""
DRAFT = """
mutation($id: ID!) { convertPullRequestToDraft(input: {pullRequestId: $id}) {
  pullRequest { id isDraft } } }
"""

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
        return PullRequest.model_validate(await self._channel.get(PULL, number=number))

    async def find(self, number: int) -> PullRequest | None:
        """Read one pull request, or None if there is none."""
        data = await self._channel.find(PULL, number=number)
        return None if data is None else PullRequest.model_validate(data)

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

        It may also name ones that only contain the commit: decide by patch-ids (Decisions, 19).
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
                return PullRequest.model_validate(await self._channel.post(PULLS, request))
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

    async def request_reviewers(
        self, number: int, people: Sequence[str] = (), teams: Sequence[str] = ()
    ) -> PullRequest:
        """Ask people (logins) and teams (slugs) for a review."""
        body = {"reviewers": list(people), "team_reviewers": list(teams)}
        data = await self._channel.post(
            f"{PULL}/requested_reviewers", body, repeatable=True, number=number
        )
        return PullRequest.model_validate(data)

    async def mark_ready(self, pull: PullRequest) -> None:
        """Turn a draft into a normal pull request (GraphQL only)."""
        if pull.draft:
            await self._channel.graphql(
                READY, {"id": pull.node_id}, name="markPullRequestReadyForReview", repeatable=True
            )

    async def mark_draft(self, pull: PullRequest) -> None:
        """Turn a pull request into a draft (GraphQL only)."""
        if not pull.draft:
            await self._channel.graphql(
                DRAFT, {"id": pull.node_id}, name="convertPullRequestToDraft", repeatable=True
            )
