"""One look at a hundred repositories: has anything moved in any of them?

Sources: GraphQL API, `Query.nodes` (at most 100 ids in one query), "Rate limits and query limits
for the GraphQL API" (a query costs the requests that its connections stand for, by a hundred).
What is asked for is what a lost delivery would leave behind: a push, an issue or pull request that
something happened to, a check that ended, another configuration, a branch of ours that was moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.github.transport.channel import Channel

AT_ONCE = 100
OPEN_SEEN = 30
"""Open pull requests whose heads are seen, the last changed first."""

_QUERY = """
  query($ids: [ID!]!) {
    rateLimit { cost limit remaining }
    nodes(ids: $ids) { ... on Repository {
      databaseId
      pushedAt
      defaultBranchRef { target { oid ... on Commit { statusCheckRollup {
        state
        contexts {
          checkRunCountsByState { state count }
          statusContextCountsByState { state count }
        }
      } } } }
      issues(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) { nodes { updatedAt } }
      newest: pullRequests(first: 1, orderBy: {field: UPDATED_AT, direction: DESC}) {
        nodes { updatedAt }
      }
      open: pullRequests(
        first: %d, states: OPEN, orderBy: {field: UPDATED_AT, direction: DESC}
      ) { totalCount nodes { headRefOid } }
      config: object(expression: "HEAD:%s") { oid }
      records: ref(qualifiedName: "refs/heads/%s") { target { oid } }
      groups: refs(refPrefix: "refs/heads/gh-readonly-queue/", first: 10) {
        nodes { name target { oid } }
      }
    } }
  }
"""


@dataclass(frozen=True)
class RepositoryActivity:
    """How one repository stands. Two that are equal say that nothing was seen to move.

    Attributes:
        pushed_at: when anything was last pushed, in GitHub's words.
        head: the default branch's head; None where it is empty.
        checks: what the checks of that head say together, and how many say so.
        issues_at: when an issue or pull request last changed; None where there is none.
        pulls_at: when a pull request last changed.
        open: how many pull requests are open.
        heads: the heads of those that changed last.
        config: the blob of the configuration on the default branch.
        records: the head of the records branch.
        groups: what the merge queues test: each full ref and its commit.
    """

    pushed_at: str | None
    head: str | None
    checks: tuple[str, ...]
    issues_at: datetime | None
    pulls_at: datetime | None
    open: int
    heads: frozenset[str]
    config: str | None
    records: str | None
    groups: tuple[tuple[str, str], ...]

    @property
    def is_red(self) -> bool:
        """Whether a check of the default branch's head may have failed."""
        return bool(self.checks) and self.checks[0] in ("FAILURE", "ERROR")


@dataclass(frozen=True)
class ActivitySeen:
    """What one look saw, and what it cost: points of the hour's limit."""

    of: Mapping[int, RepositoryActivity]
    cost: int
    limit: int


async def read_activity(
    channel: Channel, node_ids: Sequence[str], *, config_path: str, records_branch: str
) -> ActivitySeen:
    """Look at repositories of one installation, at most AT_ONCE: one request.

    What cannot be seen is left out: one that was deleted a moment ago hides no other.

    Args:
        channel: signed by the installation.
        node_ids: GraphQL's ids of the repositories.
        config_path: where a configuration is.
        records_branch: the branch that the bot keeps.

    Raises:
        GitHubError: GitHub could not be read, or refuses all of it.
    """
    query = _QUERY % (OPEN_SEEN, config_path, records_branch)
    data = await channel.graphql(
        query, {"ids": list(node_ids)}, name="activity", repeatable=True, partial=True
    )
    limit = data.get("rateLimit") or {}
    nodes = [node for node in data.get("nodes") or () if node and node.get("databaseId")]
    found = {int(node["databaseId"]): _activity(node) for node in nodes}
    return ActivitySeen(found, int(limit.get("cost") or 1), int(limit.get("limit") or 5000))


def _activity(node: Mapping[str, Any]) -> RepositoryActivity:
    head = _at(node, "defaultBranchRef", "target") or {}
    opened = node.get("open") or {}
    pulls = _newest(node, "newest")
    return RepositoryActivity(
        pushed_at=node.get("pushedAt"),
        head=head.get("oid"),
        checks=_checks(head.get("statusCheckRollup")),
        issues_at=max(filter(None, (pulls, _newest(node, "issues"))), default=None),
        pulls_at=pulls,
        open=int(opened.get("totalCount") or 0),
        heads=frozenset(pull["headRefOid"] for pull in opened.get("nodes") or () if pull),
        config=_at(node, "config", "oid"),
        records=_at(node, "records", "target", "oid"),
        groups=tuple(
            (f"refs/heads/gh-readonly-queue/{ref['name']}", ref["target"]["oid"])
            for ref in _at(node, "groups", "nodes") or ()
            if ref and ref.get("target")
        ),
    )


def _checks(rollup: Mapping[str, Any] | None) -> tuple[str, ...]:
    if not rollup:
        return ()
    contexts = rollup.get("contexts") or {}
    counts = sorted(
        f"{each['state']} {each['count']}"
        for name in ("checkRunCountsByState", "statusContextCountsByState")
        for each in contexts.get(name) or ()
    )
    return (str(rollup.get("state")), *counts)


def _newest(node: Mapping[str, Any], name: str) -> datetime | None:
    found = [each for each in _at(node, name, "nodes") or () if each]
    return datetime.fromisoformat(found[0]["updatedAt"]) if found else None


def _at(node: Mapping[str, Any], *path: str) -> Any:
    value: Any = node
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
