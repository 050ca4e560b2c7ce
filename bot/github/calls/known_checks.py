"""What CI has said of many commits already, in few requests: 125 commits each.

Source: GraphQL API, `Commit.checkSuites` (every run of one name, reruns too) and `Commit.status`.
GitHub allows 500,000 nodes in one query: 125 commits with ten suites of ten runs each stay far
below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from bot.github.models import Read
from bot.github.transport.channel import Channel

AT_ONCE = 125

HEADS_AT_ONCE = 50
"""A pull request's head is looked for behind each commit: dearer for GitHub."""

_RESULTS = """
  fragment results on Commit {
    checkSuites(first: 10) { nodes {
      app { databaseId slug }
      workflowRun { event }
      checkRuns(first: 10, filterBy: {checkName: $check, checkType: ALL}) {
        nodes { databaseId status conclusion url }
      }
    } }
    status { context(name: $check) { state targetUrl } }
  }
"""
_ON_COMMITS = """
  fragment asked on Commit { oid ...results }
"""
_ON_MERGED_HEADS = """
  fragment asked on Commit {
    oid
    tree { oid }
    associatedPullRequests(first: 3) { nodes {
      mergeCommit { oid }
      commits(last: 1) { nodes { commit { oid tree { oid } ...results } } }
    } }
  }
"""
_COMMIT = """
  c%d: object(oid: "%s") { ...asked }"""
_QUERY = """
  query($owner: String!, $name: String!, $check: String!) {
    repository(owner: $owner, name: $name) {%s}
  }
"""


class KnownCheck(Read):
    """One completed run of a check on one commit.

    `conclusion` is in GitHub's lower-case words; `where` says who ran it and upon which event, so
    that runs with the same `where` on one commit are repeats of each other. `head` is the commit
    it really ran on, where that is the head of the pull request by which `sha` was merged.
    """

    sha: str
    conclusion: str
    where: str
    app_id: int | None = None
    event: str | None = None
    kind: Literal["check_run", "status"] = "check_run"
    url: str | None = None
    head: str | None = None


class KnownChecks:
    """Results that exist."""

    def __init__(self, channel: Channel, owner: str, name: str) -> None:
        """Work through `channel` on the repository `owner`/`name`."""
        self._channel = channel
        self._owner, self._name = owner, name

    async def of(self, commits: Sequence[str], check: str) -> tuple[KnownCheck, ...]:
        """Read every completed result of one check on these commits (full SHAs).

        One request for each 125 commits. Commits GitHub does not know are left out.
        """
        found: list[KnownCheck] = []
        for start in range(0, len(commits), AT_ONCE):
            for commit in await self._ask(_ON_COMMITS, commits[start : start + AT_ONCE], check):
                found += _results(commit)
        return tuple(found)

    async def of_merged_heads(self, commits: Sequence[str], check: str) -> tuple[KnownCheck, ...]:
        """Read the results on the heads of the pull requests that these commits merged.

        Only where head and merged commit have the same tree: then the same thing was tested. One
        request for each 50 commits.
        """
        found: list[KnownCheck] = []
        for start in range(0, len(commits), HEADS_AT_ONCE):
            part = commits[start : start + HEADS_AT_ONCE]
            for merged in await self._ask(_ON_MERGED_HEADS, part, check):
                for head in _same_heads(merged):
                    found += [
                        each.model_copy(update={"sha": merged["oid"], "head": head["oid"]})
                        for each in _results(head)
                    ]
        return tuple(found)

    async def _ask(self, about: str, commits: Sequence[str], check: str) -> list[dict[str, Any]]:
        asked = "".join(_COMMIT % (number, sha) for number, sha in enumerate(commits))
        variables = {"owner": self._owner, "name": self._name, "check": check}
        data = await self._channel.graphql(
            about + _RESULTS + _QUERY % asked, variables, name="knownChecks", repeatable=True
        )
        return [commit for commit in (data.get("repository") or {}).values() if commit]


def _same_heads(merged: dict[str, Any]) -> list[dict[str, Any]]:
    pulls = (merged.get("associatedPullRequests") or {}).get("nodes") or ()
    heads = [
        node["commit"]
        for pull in pulls
        if pull and (pull.get("mergeCommit") or {}).get("oid") == merged["oid"]
        for node in (pull.get("commits") or {}).get("nodes") or ()
    ]
    return [
        head
        for head in heads
        if head["oid"] != merged["oid"] and head["tree"]["oid"] == merged["tree"]["oid"]
    ]


def _results(commit: dict[str, Any]) -> list[KnownCheck]:
    found = []
    for suite in (commit.get("checkSuites") or {}).get("nodes") or ():
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
            )
            for run in (suite.get("checkRuns") or {}).get("nodes") or ()
            if run["status"] == "COMPLETED" and run["conclusion"]
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
