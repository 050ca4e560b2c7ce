"""Check suites as the REST API and webhooks show them."""

from __future__ import annotations

from typing import Any

from fakegithub.git.bare import Signature
from fakegithub.shapes import apps
from fakegithub.shapes.repositories import api_url, present_minimal
from fakegithub.world.model import CheckSuite, FakeRepository
from fakegithub.world.world import World, node_id, timestamp


def pulls_at(world: World, repository: FakeRepository, sha: str) -> list[dict[str, Any]]:
    """Open pull requests whose head is this commit, in their shortest form.

    Not those from forks: what is said of their commits names none.
    https://docs.github.com/rest/guides/using-the-rest-api-to-interact-with-checks
    """
    api = api_url(world, repository)
    short = {"id": repository.id, "url": api, "name": repository.name}
    return [
        {
            "id": issue.pull.id,
            "number": issue.number,
            "url": f"{api}/pulls/{issue.number}",
            "head": {"ref": issue.pull.head_ref, "sha": sha, "repo": short},
            "base": {"ref": issue.pull.base_ref, "sha": issue.pull.base_sha, "repo": short},
        }
        for issue in world.open_pulls(repository)
        if issue.pull is not None and issue.pull.head_sha == sha and issue.pull.fork is None
    ]


def present_commit(repository: FakeRepository, sha: str) -> dict[str, Any]:
    """A commit in the short form that suites, runs and pushes carry."""
    commit = repository.git.commit(sha)
    return {
        "id": sha,
        "tree_id": commit.tree,
        "message": commit.message.rstrip("\n"),
        "timestamp": timestamp(commit.committer.at),
        "author": _who(commit.author),
        "committer": _who(commit.committer),
    }


def _who(signature: Signature) -> dict[str, str]:
    return {"name": signature.name, "email": signature.email}


def present_simple(world: World, repository: FakeRepository, suite: CheckSuite) -> dict[str, Any]:
    """A suite as it stands inside a check-run."""
    return {
        "id": suite.id,
        "node_id": node_id("CheckSuite", suite.id),
        "head_branch": suite.head_branch,
        "head_sha": suite.head_sha,
        "status": suite.status,
        "conclusion": suite.conclusion,
        "url": f"{api_url(world, repository)}/check-suites/{suite.id}",
        "before": suite.before,
        "after": suite.head_sha,
        "pull_requests": pulls_at(world, repository, suite.head_sha),
        "app": apps.present_app(world, suite.app),
        "created_at": timestamp(suite.created_at),
        "updated_at": timestamp(suite.updated_at),
    }


def present_event(world: World, repository: FakeRepository, suite: CheckSuite) -> dict[str, Any]:
    """A suite as webhooks show it.

    Args:
        world: gives the address that links begin with, and the open pull requests.
        repository: the one that has the commit.
        suite: the one that is shown; its check-runs are counted.
    """
    count = sum(run.suite is suite for run in repository.check_runs.values())
    return present_simple(world, repository, suite) | {
        "latest_check_runs_count": count,
        "check_runs_url": f"{api_url(world, repository)}/check-suites/{suite.id}/check-runs",
        "head_commit": present_commit(repository, suite.head_sha),
    }


def present(world: World, repository: FakeRepository, suite: CheckSuite) -> dict[str, Any]:
    """A suite as the REST API shows it.

    Args:
        world: gives the address that links begin with, and the open pull requests.
        repository: the one that has the commit; it is shown in short.
        suite: the one that is shown; its check-runs are counted.
    """
    whole = present_event(world, repository, suite)
    return whole | {"repository": present_minimal(world, repository)}
