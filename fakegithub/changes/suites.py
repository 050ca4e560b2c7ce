"""Check suites: all check-runs of one App on one commit, made and settled."""

from __future__ import annotations

from fakegithub.shapes.suite_shape import present_event
from fakegithub.world.model import CheckSuite, FakeApp, FakeCheckRun, FakeRepository, FakeUser
from fakegithub.world.world import World

# The first of these that any run has is the suite's conclusion.
_WORST_FIRST = (
    "failure", "timed_out", "cancelled", "action_required", "stale", "success", "neutral",
    "skipped",
)  # fmt: skip


def of(world: World, repository: FakeRepository, app: FakeApp, sha: str) -> CheckSuite:
    """The App's suite on a commit; made if there is none."""
    for suite in repository.check_suites.values():
        if suite.app is app and suite.head_sha == sha:
            return suite
    return create(world, repository, app, sha)


def create(
    world: World, repository: FakeRepository, app: FakeApp, sha: str, branch: str | None = None
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


def settle(world: World, repository: FakeRepository, suite: CheckSuite, sender: FakeUser) -> None:
    """Let the suite follow its runs; when the last completes, everyone is told."""
    newest: dict[str, FakeCheckRun] = {}
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
            "check_suite", "completed", {"check_suite": present_event(world, repository, suite)},
            repository=repository, sender=sender, subjects=(suite,),
        )  # fmt: skip
