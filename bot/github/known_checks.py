"""What CI has said of many commits already, in few requests: 125 commits each.

Source: GraphQL API, `Commit.checkSuites` (every run of one name, reruns too) and `Commit.status`.
GitHub allows 500,000 nodes in one query: 125 commits with ten suites of ten runs each stay far
below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from bot.github.channel import Channel
from bot.github.models import Read

AT_ONCE = 125

_COMMIT = """
  c%d: object(oid: "%s") { ... on Commit {
    oid
    checkSuites(first: 10) { nodes {
      app { databaseId slug }
      workflowRun { event }
      checkRuns(first: 10, filterBy: {checkName: $check, checkType: ALL}) {
        nodes { databaseId status conclusion url }
      }
    } }
    status { context(name: $check) { state targetUrl } }
  } }
"""
_QUERY = "query($owner: String!, $name: String!, $check: String!) { repository(owner: $owner, name: $name) {%s} }"  # noqa: E501


class KnownCheck(Read):
    """One completed run of a check on one commit.

    `conclusion` is in GitHub's lower-case words; `where` says who ran it and upon which event, so
    that runs with the same `where` on one commit are repeats of each other.
    """

    sha: str
    conclusion: str
    where: str
    app_id: int | None = None
    event: str | None = None
    kind: Literal["check_run", "status"] = "check_run"
    url: str | None = None


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
            part = commits[start : start + AT_ONCE]
            asked = "".join(_COMMIT % (number, sha) for number, sha in enumerate(part))
            variables = {"owner": self._owner, "name": self._name, "check": check}
            data = await self._channel.graphql(
                _QUERY % asked, variables, name="knownChecks", repeatable=True
            )
            for commit in (data.get("repository") or {}).values():
                if commit:
                    found += _results(commit)
        return tuple(found)


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
