"""What CI has said of many commits already, in few requests: 125 commits each.

Lists are filtered by the check's name at the source and followed to their last page: a run that
was not read must never look like a run that there is not.

Source: GraphQL API, `Commit.checkSuites` (every run of one name, reruns too) and `Commit.status`.
GitHub allows 500,000 nodes in one query: 125 commits with ten suites of ten runs each stay far
below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bot.github import reported_metrics
from bot.github.models import KnownCheck
from bot.github.transport.channel import Channel

AT_ONCE = 125

HEADS_AT_ONCE = 50
"""A pull request's head is looked for behind each commit: dearer for GitHub."""

NUMBERS_AT_ONCE = 25
"""Where numbers are asked for: a check-run may say as much as 128 KiB."""

_RUNS_PAGE = """
  fragment runs on CheckRunConnection {
    pageInfo { hasNextPage endCursor }
    nodes {
      databaseId status conclusion url
      text @include(if: $numbers) summary @include(if: $numbers)
    }
  }
"""
_SUITES_PAGE = (
    """
  fragment suites on CheckSuiteConnection {
    pageInfo { hasNextPage endCursor }
    nodes {
      id
      app { databaseId slug }
      workflowRun { event }
      checkRuns(first: 10, filterBy: {checkName: $check, checkType: ALL}) { ...runs }
    }
  }
"""
    + _RUNS_PAGE
)
_RESULTS = (
    """
  fragment results on Commit {
    checkSuites(first: 10, filterBy: {checkName: $check}) { ...suites }
    status { context(name: $check) { state targetUrl } }
  }
"""
    + _SUITES_PAGE
)
_PULLS_PAGE = """
  fragment pulls on PullRequestConnection {
    pageInfo { hasNextPage endCursor }
    nodes {
      mergeCommit { oid }
      commits(last: 1) { nodes { commit { oid tree { oid } ...results } } }
    }
  }
"""
_ON_COMMITS = """
  fragment asked on Commit { oid ...results }
"""
_ON_MERGED_HEADS = (
    """
  fragment asked on Commit {
    oid
    tree { oid }
    associatedPullRequests(first: 3) { ...pulls }
  }
"""
    + _PULLS_PAGE
)
_COMMIT = """
  c%d: object(oid: "%s") { ...asked }"""
_QUERY = """
  query($owner: String!, $name: String!, $check: String!, $numbers: Boolean!) {
    repository(owner: $owner, name: $name) {%s}
  }
"""
MORE_SUITES = (
    """
  query(
    $owner: String!, $name: String!, $check: String!, $numbers: Boolean!,
    $sha: GitObjectID!, $after: String
  ) {
    repository(owner: $owner, name: $name) { object(oid: $sha) { ... on Commit {
      checkSuites(first: 50, after: $after, filterBy: {checkName: $check}) { ...suites }
    } } }
  }
"""
    + _SUITES_PAGE
)
MORE_RUNS = (
    """
  query($suite: ID!, $check: String!, $numbers: Boolean!, $after: String) {
    node(id: $suite) { ... on CheckSuite {
      checkRuns(first: 50, after: $after, filterBy: {checkName: $check, checkType: ALL}) { ...runs }
    } }
  }
"""
    + _RUNS_PAGE
)
MORE_PULLS = (
    """
  query(
    $owner: String!, $name: String!, $check: String!, $numbers: Boolean!,
    $sha: GitObjectID!, $after: String
  ) {
    repository(owner: $owner, name: $name) { object(oid: $sha) { ... on Commit {
      associatedPullRequests(first: 10, after: $after) { ...pulls }
    } } }
  }
"""
    + _PULLS_PAGE
    + _RESULTS
)


class KnownChecks:
    """Results that exist."""

    def __init__(self, channel: Channel, owner: str, name: str) -> None:
        """Work through `channel` on the repository `owner`/`name`."""
        self._channel = channel
        self._owner, self._name = owner, name

    async def of(
        self, commits: Sequence[str], check: str, *, numbers: bool = False
    ) -> tuple[KnownCheck, ...]:
        """Read every completed result of one check on these commits (full SHAs).

        One request for each 125 commits, and one for each further page of a commit with more than
        ten suites that ran it. Commits GitHub does not know are left out.

        Args:
            commits: the commits.
            check: the check's name.
            numbers: whether the numbers are read that check-runs report in their text or summary
                (`KnownCheck.metrics`). Those are large: one request for each 25 commits.
        """
        found: list[KnownCheck] = []
        asked = _About(check, numbers)
        for part in _parts(commits, AT_ONCE, numbers=numbers):
            for commit in await self._ask(_ON_COMMITS, part, asked):
                found += _results(await self._whole(commit, asked))
        return tuple(found)

    async def of_merged_heads(
        self, commits: Sequence[str], check: str, *, numbers: bool = False
    ) -> tuple[KnownCheck, ...]:
        """Read the results on the heads of the pull requests that these commits merged.

        Only where head and merged commit have the same tree: then the same thing was tested. One
        request for each 50 commits.

        Args:
            commits: the commits.
            check: the check's name.
            numbers: the same as for `of`.
        """
        found: list[KnownCheck] = []
        asked = _About(check, numbers)
        for part in _parts(commits, HEADS_AT_ONCE, numbers=numbers):
            for merged in await self._ask(_ON_MERGED_HEADS, part, asked):
                pulls = merged.get("associatedPullRequests")
                await self._follow(pulls, MORE_PULLS, _associated, asked, sha=merged["oid"])
                for head in _same_heads(merged):
                    found += [
                        each.model_copy(update={"sha": merged["oid"], "head": head["oid"]})
                        for each in _results(await self._whole(head, asked))
                    ]
        return tuple(found)

    async def _ask(self, query: str, commits: Sequence[str], about: _About) -> list[dict[str, Any]]:
        asked = "".join(_COMMIT % (number, sha) for number, sha in enumerate(commits))
        variables = {"owner": self._owner, "name": self._name, **about.variables}
        data = await self._channel.graphql(
            query + _RESULTS + _QUERY % asked, variables, name="knownChecks", repeatable=True
        )
        return [commit for commit in (data.get("repository") or {}).values() if commit]

    async def _whole(self, commit: dict[str, Any], about: _About) -> dict[str, Any]:
        """Read what is left of a commit's suites and of their runs; the same commit, complete."""
        suites = commit.get("checkSuites")
        await self._follow(suites, MORE_SUITES, _suites, about, sha=commit["oid"])
        for suite in (suites or {}).get("nodes") or ():
            runs = (suite or {}).get("checkRuns")
            if runs:
                await self._follow(runs, MORE_RUNS, _runs, about, suite=suite["id"])
        return commit

    async def _follow(
        self,
        connection: dict[str, Any] | None,
        query: str,
        where: Callable[[dict[str, Any]], dict[str, Any] | None],
        about: _About,
        **place: str,
    ) -> None:
        """Add every further page to the nodes of a connection, to the last."""
        page = connection
        while page is not None and (page.get("pageInfo") or {}).get("hasNextPage"):
            variables = {
                **({} if "suite" in place else {"owner": self._owner, "name": self._name}),
                **place,
                **about.variables,
                "after": page["pageInfo"]["endCursor"],
            }
            data = await self._channel.graphql(
                query, variables, name="knownChecksPage", repeatable=True
            )
            page = where(data)
            if connection is not None and page is not None:
                connection["nodes"] = [*(connection["nodes"] or ()), *(page["nodes"] or ())]


@dataclass(frozen=True)
class _About:
    """What is asked about a commit."""

    check: str
    numbers: bool

    @property
    def variables(self) -> dict[str, Any]:
        return {"check": self.check, "numbers": self.numbers}


def _parts(commits: Sequence[str], most: int, *, numbers: bool) -> Iterator[Sequence[str]]:
    """So many commits as are asked about at once."""
    count = min(most, NUMBERS_AT_ONCE) if numbers else most
    return (commits[start : start + count] for start in range(0, len(commits), count))


def _suites(data: dict[str, Any]) -> dict[str, Any] | None:
    return ((data.get("repository") or {}).get("object") or {}).get("checkSuites")


def _associated(data: dict[str, Any]) -> dict[str, Any] | None:
    return ((data.get("repository") or {}).get("object") or {}).get("associatedPullRequests")


def _runs(data: dict[str, Any]) -> dict[str, Any] | None:
    return (data.get("node") or {}).get("checkRuns")


def _same_heads(merged: dict[str, Any]) -> list[dict[str, Any]]:
    pulls = (merged.get("associatedPullRequests") or {}).get("nodes") or ()
    heads = [
        node["commit"]
        for pull in pulls
        if pull and (pull.get("mergeCommit") or {}).get("oid") == merged["oid"]
        for node in (pull.get("commits") or {}).get("nodes") or ()
        if node and node.get("commit")
    ]
    return [
        head
        for head in heads
        if head["oid"] != merged["oid"] and _tree(head) == _tree(merged) is not None
    ]


def _tree(commit: dict[str, Any]) -> str | None:
    return (commit.get("tree") or {}).get("oid")


def _results(commit: dict[str, Any]) -> list[KnownCheck]:
    found = []
    for suite in (commit.get("checkSuites") or {}).get("nodes") or ():
        if not suite:
            continue
        app = suite.get("app") or {}
        event = (suite.get("workflowRun") or {}).get("event")
        found += [
            KnownCheck(
                sha=commit["oid"],
                conclusion=run["conclusion"].lower(),
                where=f"{app.get('slug') or 'app'}/{event or 'check'}",
                app_id=app.get("databaseId"),
                event=event,
                url=run.get("url"),
                metrics=reported_metrics.in_output((run.get("text"), run.get("summary"))),
            )
            for run in (suite.get("checkRuns") or {}).get("nodes") or ()
            if run and run["status"] == "COMPLETED" and run["conclusion"]
        ]
    status = (commit.get("status") or {}).get("context")
    if status and status["state"] in ("SUCCESS", "FAILURE", "ERROR"):
        found.append(
            KnownCheck(
                sha=commit["oid"],
                conclusion=status["state"].lower(),
                where="status",
                kind="status",
                url=status.get("targetUrl"),
            )
        )
    return found
