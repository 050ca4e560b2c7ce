"""Every resource of the REST API, in the order in which their routes are matched."""

from __future__ import annotations

from fakegithub.rest import (
    actions,
    apps,
    checks,
    collaborators,
    comments,
    commits,
    contents,
    deliveries,
    deployments,
    git_data,
    issues,
    labels,
    merges,
    pulls,
    rate_limit,
    reactions,
    repositories,
    reviews,
    rulesets,
    statuses,
    users,
)
from fakegithub.rest.calls import Route

_RESOURCES = (
    apps, users, rate_limit, repositories, collaborators, labels, reactions, comments, issues,
    checks, statuses, deployments, git_data, contents, rulesets, reviews, merges, pulls,
    commits, actions, deliveries,
)  # fmt: skip


def every_route() -> list[Route]:
    """All routes; an earlier match wins."""
    return [route for resource in _RESOURCES for route in resource.routes.list]
