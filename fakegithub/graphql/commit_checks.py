"""The checks of a commit as the GraphQL API shows them: suites with their runs, and statuses."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from fakegithub.actions.runner import WorkflowRunner
from fakegithub.changes import statuses
from fakegithub.graphql.connections import connection
from fakegithub.shapes.repositories import html_url
from fakegithub.world.model import CheckSuite, FakeCheckRun, FakeRepository
from fakegithub.world.world import World, node_id


def of_commit(
    world: World, runner: WorkflowRunner, repository: FakeRepository, sha: str
) -> dict[str, Any]:
    """What a commit has beyond itself."""

    def suites(
        _: object,
        filterBy: Any = None,  # noqa: N803
        first: int | None = None,
        after: str | None = None,
    ) -> Any:
        wanted = filterBy or {}
        named = {
            run.suite.id
            for run in repository.check_runs.values()
            if run.name == wanted.get("checkName")
        }
        found = [
            suite
            for suite in repository.check_suites.values()
            if suite.head_sha == sha
            and wanted.get("appId") in (None, suite.app.id)
            and (wanted.get("checkName") is None or suite.id in named)
        ]
        show = partial(of_suite, world, runner, repository)
        return connection("checkSuites", found, show, first, after)

    def status(_: object) -> Any:
        latest = statuses.latest(repository, sha)
        if not latest:
            return None
        known = {each.context: each for each in latest}

        def context(_: object, name: str) -> Any:
            one = known.get(name)
            return one and {
                "__typename": "StatusContext",
                "id": node_id("StatusContext", one.id),
                "context": one.context,
                "state": one.state.upper(),
                "targetUrl": one.target_url,
                "description": one.description,
            }

        state = statuses.combined(latest).upper()
        return {"id": node_id("Status", sha), "state": state, "context": context}

    def rollup(_: object) -> Any:
        return _rollup(repository, sha)

    return {"checkSuites": suites, "status": status, "statusCheckRollup": rollup}


_BAD = {"failure", "timed_out", "cancelled", "action_required", "startup_failure", "stale"}


def _rollup(repository: FakeRepository, sha: str) -> Any:
    """What the newest runs and statuses of a commit say together; None where there are none."""
    runs = {
        (run.suite.app.id, run.name): run
        for run in repository.check_runs.values()
        if run.suite.head_sha == sha
    }
    said = statuses.latest(repository, sha)
    if not runs and not said:
        return None
    states = Counter(run.conclusion or run.status for run in runs.values())
    contexts: Counter[str] = Counter(status.state for status in said)
    everything = states.keys() | contexts.keys()
    state = "SUCCESS"
    if everything & (_BAD | {"error"}):
        state = "FAILURE"
    elif everything & {"queued", "in_progress", "pending", "waiting", "requested"}:
        state = "PENDING"

    def counts(of: Counter[str]) -> list[dict[str, Any]]:
        return [{"state": name.upper(), "count": number} for name, number in sorted(of.items())]

    shown = {
        "totalCount": len(runs) + len(said),
        "checkRunCount": len(runs),
        "statusContextCount": len(said),
        "checkRunCountsByState": counts(states),
        "statusContextCountsByState": counts(contexts),
    }
    return {
        "__typename": "StatusCheckRollup",
        "id": node_id("StatusCheckRollup", sha),
        "state": state,
        "contexts": lambda *_, **__: shown,
    }


def of_suite(
    world: World, runner: WorkflowRunner, repository: FakeRepository, suite: CheckSuite
) -> Any:
    """The runs of one App on one commit."""

    def runs(
        _: object,
        filterBy: Any = None,  # noqa: N803
        first: int | None = None,
        after: str | None = None,
    ) -> Any:
        wanted = filterBy or {}
        found = [
            run
            for run in repository.check_runs.values()
            if run.suite is suite and wanted.get("checkName") in (None, run.name)
        ]
        if wanted.get("checkType", "LATEST") == "LATEST":
            found = list({run.name: run for run in found}.values())
        return connection("checkRuns", found, partial(_run, world, repository), first, after)

    def workflow_run(_: object) -> Any:
        run = next((each for each in runner.runs.values() if each.suite is suite), None)
        return run and {
            "id": node_id("WorkflowRun", run.id),
            "databaseId": run.id,
            "event": run.cause.event,
        }

    app = suite.app
    return {
        "__typename": "CheckSuite",
        "id": node_id("CheckSuite", suite.id),
        "app": {
            "id": node_id("App", app.id), "databaseId": app.id, "slug": app.slug, "name": app.name,
        },
        "checkRuns": runs,
        "workflowRun": workflow_run,
    }  # fmt: skip


def _run(world: World, repository: FakeRepository, run: FakeCheckRun) -> Any:
    return {
        "__typename": "CheckRun",
        "id": node_id("CheckRun", run.id),
        "databaseId": run.id,
        "name": run.name,
        "status": run.status.upper(),
        "conclusion": run.conclusion.upper() if run.conclusion else None,
        "url": f"{html_url(world, repository)}/runs/{run.id}",
        **{field: run.output.get(field) for field in ("title", "summary", "text")},
    }
