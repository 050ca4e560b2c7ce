"""Check suites: all check-runs of one App on one commit.

https://docs.github.com/rest/checks/suites
"""

from __future__ import annotations

from typing import Any

from bot.demo.github import auth
from bot.demo.github.bare import Signature
from bot.demo.github.calls import Answer, Call, Refused, Routes, not_found
from bot.demo.github.model import App, CheckRun, CheckSuite, Repository, User
from bot.demo.github.repositories import api_url, present_minimal
from bot.demo.github.world import World, node_id, timestamp
from bot.triggers import Role

routes = Routes()

# The first of these that any run has is the suite's conclusion.
_WORST_FIRST = (
    "failure", "timed_out", "cancelled", "action_required", "stale", "success", "neutral",
    "skipped",
)  # fmt: skip


def of(world: World, repository: Repository, app: App, sha: str) -> CheckSuite:
    """The App's suite on a commit; made if there is none."""
    for suite in repository.check_suites.values():
        if suite.app is app and suite.head_sha == sha:
            return suite
    return create(world, repository, app, sha)


def create(
    world: World, repository: Repository, app: App, sha: str, branch: str | None = None
) -> CheckSuite:
    """Make a suite; without `branch` it gets the branch whose head the commit is."""
    if branch is None:
        heads = repository.git.refs("refs/heads/")
        branch = next((ref[11:] for ref, head in heads.items() if head == sha), None)
    parents = repository.git.commit(sha).parents
    now = world.now()
    suite = CheckSuite(world.new_id(), app, sha, branch, parents[0] if parents else None, now, now)
    repository.check_suites[suite.id] = suite
    return suite


def settle(world: World, repository: Repository, suite: CheckSuite, sender: User) -> None:
    """Let the suite follow its runs; when the last completes, everyone is told."""
    newest: dict[str, CheckRun] = {}
    for run in repository.check_runs.values():
        if run.suite is suite:
            newest[run.name] = run
    was = suite.status
    suite.updated_at = world.now()
    if any(run.status != "completed" for run in newest.values()):
        waiting = all(run.status == "queued" for run in newest.values())
        suite.status, suite.conclusion = "queued" if waiting else "in_progress", None
        return
    conclusions = {run.conclusion for run in newest.values()}
    suite.status = "completed"
    suite.conclusion = next((c for c in _WORST_FIRST if c in conclusions), None)
    if was != "completed":
        world.emit(
            "check_suite", "completed", {"check_suite": _present_event(world, repository, suite)},
            repository=repository, sender=sender, subjects=(suite,),
        )  # fmt: skip


# What is shown


def pulls_at(world: World, repository: Repository, sha: str) -> list[dict[str, Any]]:
    """Open pull requests whose head is this commit, in their shortest form."""
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
        if issue.pull is not None and issue.pull.head_sha == sha
    ]


def present_commit(repository: Repository, sha: str) -> dict[str, Any]:
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


def present_simple(world: World, repository: Repository, suite: CheckSuite) -> dict[str, Any]:
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
        "app": auth.present_app(world, suite.app),
        "created_at": timestamp(suite.created_at),
        "updated_at": timestamp(suite.updated_at),
    }


def _present_event(world: World, repository: Repository, suite: CheckSuite) -> dict[str, Any]:
    count = sum(run.suite is suite for run in repository.check_runs.values())
    return present_simple(world, repository, suite) | {
        "latest_check_runs_count": count,
        "check_runs_url": f"{api_url(world, repository)}/check-suites/{suite.id}/check-runs",
        "head_commit": present_commit(repository, suite.head_sha),
    }


def present(world: World, repository: Repository, suite: CheckSuite) -> dict[str, Any]:
    """A suite as the REST API shows it."""
    whole = _present_event(world, repository, suite)
    return whole | {"repository": present_minimal(world, repository)}


# What can be asked


def sha_of(call: Call) -> str:
    """The commit that the path's `ref` names.

    Raises:
        Refused: 422, as GitHub answers for an unknown commit.
    """
    sha = call.repository.git.commit_sha(call.params["ref"].removeprefix("heads/"))
    if sha is None:
        raise Refused(422, f"No commit found for SHA: {call.params['ref']}")
    return sha


def named(call: Call) -> CheckSuite:
    """The suite named by the path."""
    suite = call.repository.check_suites.get(call.number("check_suite_id"))
    if suite is None:
        raise not_found()
    return suite


@routes.get("/repos/{owner}/{repo}/commits/{ref:.+}/check-suites", app="checks=read")
def list_for_ref(call: Call) -> Answer:
    """The suites on a commit, of one App with `app_id`."""
    sha, only = sha_of(call), call.query.get("app_id")
    found = [
        present(call.world, call.repository, suite)
        for suite in call.repository.check_suites.values()
        if suite.head_sha == sha and only in (None, str(suite.app.id))
    ]
    return call.page(found, wrap="check_suites")


@routes.get("/repos/{owner}/{repo}/check-suites/{check_suite_id}", app="checks=read")
def get_check_suite(call: Call) -> Answer:
    """One suite."""
    return Answer(200, present(call.world, call.repository, named(call)))


@routes.post(
    "/repos/{owner}/{repo}/check-suites/{check_suite_id}/rerequest",
    app="checks=write",
    person=Role.WRITE,
)
def rerequest(call: Call) -> Answer:
    """Ask the suite's App, and only it, to run everything again."""
    suite, world, repository = named(call), call.world, call.repository
    suite.status, suite.conclusion = "queued", None
    world.emit(
        "check_suite", "rerequested", {"check_suite": _present_event(world, repository, suite)},
        repository=repository, sender=call.user, only_app=suite.app, subjects=(suite,),
    )  # fmt: skip
    return Answer(201, {})
