"""Check-runs: created, updated and completed by the App they belong to.

https://docs.github.com/rest/checks/runs
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.demo.github import (
    auth,
    check_suites,
)
from bot.demo.github.calls import Answer, Call, Refused, Routes, invalid, not_found
from bot.demo.github.model import App, CheckRun, CheckSuite, Repository, User
from bot.demo.github.repositories import api_url, html_url
from bot.demo.github.world import World, node_id, timestamp
from bot.triggers import Role

routes = Routes()
routes.list += check_suites.routes.list

CONCLUSIONS = frozenset(
    {"action_required", "cancelled", "failure", "neutral", "skipped", "success", "timed_out"}
)
_STATUSES = frozenset({"queued", "in_progress", "completed"})
_LONGEST_TEXT = 65_535
_MOST_ANNOTATIONS = 50
_MOST_ACTIONS = 3
_ACTION_LENGTHS = {"label": 20, "description": 40, "identifier": 20}
_OUTPUT = ("title", "summary", "text")


# What happens to a check-run


def create(
    world: World,
    repository: Repository,
    app: App,
    name: str,
    head_sha: str,
    body: Mapping[str, Any],
    *,
    sender: User | None = None,
    suite: CheckSuite | None = None,
) -> CheckRun:
    """Begin a check on a commit and tell everyone; `body` is as in the REST API.

    Raises:
        Refused: 422 when there is no such commit or a field is wrong.
    """
    if repository.git.object_type(head_sha) != "commit":
        raise Refused(422, f"No commit found for SHA: {head_sha}")
    _refuse_wrong(body)
    suite = suite or check_suites.of(world, repository, app, head_sha)
    run = CheckRun(world.new_id(), suite, name, head_sha, world.now())
    repository.check_runs[run.id] = run
    _apply(world, run, body)
    who = sender or app.bot
    _emit(world, repository, run, "created", who)
    _told(world, repository, run, who)
    return run


def update(
    world: World,
    repository: Repository,
    run: CheckRun,
    body: Mapping[str, Any],
    *,
    sender: User | None = None,
) -> None:
    """Change a check-run; completing it tells everyone.

    Raises:
        Refused: 422 when a field is wrong.
    """
    _refuse_wrong(body)
    before = (run.status, run.conclusion)
    _apply(world, run, body)
    if (run.status, run.conclusion) != before:
        _told(world, repository, run, sender or run.app.bot)


def rerequest(world: World, repository: Repository, run: CheckRun, sender: User) -> None:
    """Ask the check's App, and only it, to run the check again; nothing else changes yet."""
    run.suite.status, run.suite.conclusion = "queued", None
    _emit(world, repository, run, "rerequested", sender, only_app=run.app)


def press(
    world: World, repository: Repository, run: CheckRun, identifier: str, sender: User
) -> None:
    """Press one of the check's buttons: `requested_action` reaches only the check's App.

    Raises:
        Refused: 404 when the check has no such button.
    """
    if identifier not in {action["identifier"] for action in run.actions}:
        raise not_found()
    extra = {"requested_action": {"identifier": identifier}}
    _emit(world, repository, run, "requested_action", sender, only_app=run.app, extra=extra)


def _told(world: World, repository: Repository, run: CheckRun, sender: User) -> None:
    if run.status == "completed":
        _emit(world, repository, run, "completed", sender)
    check_suites.settle(world, repository, run.suite, sender)


def _emit(
    world: World,
    repository: Repository,
    run: CheckRun,
    action: str,
    sender: User,
    *,
    only_app: App | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    world.emit(
        "check_run", action, {"check_run": present(world, repository, run), **(extra or {})},
        repository=repository, sender=sender, only_app=only_app, subjects=(run,),
    )  # fmt: skip


def _refuse_wrong(body: Mapping[str, Any]) -> None:
    status, conclusion = body.get("status"), body.get("conclusion")
    if status is not None and status not in _STATUSES:
        raise invalid("CheckRun", "status")
    if conclusion is not None and conclusion not in CONCLUSIONS:
        raise invalid("CheckRun", "conclusion")
    if conclusion is None and (status == "completed" or body.get("completed_at")):
        raise invalid("CheckRun", "conclusion", code="missing_field")
    output = body.get("output") or {}
    for field in ("summary", "text"):
        if len(output.get(field) or "") > _LONGEST_TEXT:
            raise invalid("CheckRun", field, f"Only {_LONGEST_TEXT} characters are allowed")
    if output and not (output.get("title") and output.get("summary")):
        raise invalid("CheckRun", "output", "title and summary are required", "missing_field")
    if len(output.get("annotations") or ()) > _MOST_ANNOTATIONS:
        raise invalid("CheckRun", "annotations", f"at most {_MOST_ANNOTATIONS} in one request")
    actions = body.get("actions") or ()
    if len(actions) > _MOST_ACTIONS:
        raise invalid("CheckRun", "actions", f"at most {_MOST_ACTIONS} are allowed")
    for action in actions:
        for field, longest in _ACTION_LENGTHS.items():
            if not 0 < len(action.get(field) or "") <= longest:
                raise invalid("CheckRun", f"actions.{field}", f"1 to {longest} characters")


def _apply(world: World, run: CheckRun, body: Mapping[str, Any]) -> None:
    if "name" in body:
        run.name = body["name"]
    if "external_id" in body:
        run.external_id = body["external_id"]
    if "details_url" in body:
        run.details_url = body["details_url"]
    if "started_at" in body:
        run.started_at = datetime.fromisoformat(body["started_at"])
    if "status" in body:
        run.status = body["status"]
        if run.status != "completed":
            run.conclusion = run.completed_at = None
    if body.get("conclusion"):
        run.status, run.conclusion = "completed", body["conclusion"]
        at = body.get("completed_at")
        run.completed_at = datetime.fromisoformat(at) if at else world.now()
    if "actions" in body:
        run.actions = [{k: action[k] for k in _ACTION_LENGTHS} for action in body["actions"]]
    output = body.get("output")
    if output:
        run.output |= {field: output[field] for field in _OUTPUT if field in output}
        run.annotations += output.get("annotations") or []


# What is shown


def present(world: World, repository: Repository, run: CheckRun) -> dict[str, Any]:
    """A check-run as the REST API and webhooks show it."""
    url = f"{api_url(world, repository)}/check-runs/{run.id}"
    page = f"{html_url(world, repository)}/runs/{run.id}"
    return {
        "id": run.id,
        "name": run.name,
        "node_id": node_id("CheckRun", run.id),
        "head_sha": run.head_sha,
        "external_id": run.external_id,
        "url": url,
        "html_url": page,
        "details_url": run.details_url or page,
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": timestamp(run.started_at),
        "completed_at": timestamp(run.completed_at) if run.completed_at else None,
        "output": {
            **{field: run.output.get(field) for field in _OUTPUT},
            "annotations_count": len(run.annotations),
            "annotations_url": f"{url}/annotations",
        },
        "check_suite": check_suites.present_simple(world, repository, run.suite),
        "app": auth.present_app(world, run.app),
        "pull_requests": check_suites.pulls_at(world, repository, run.head_sha),
    }


def _present_annotation(
    world: World, repository: Repository, run: CheckRun, annotation: Mapping[str, Any]
) -> dict[str, Any]:
    path = str(annotation["path"])
    optional = ("start_column", "end_column", "title", "raw_details")
    return {
        "path": path,
        "blob_href": f"{html_url(world, repository)}/blob/{run.head_sha}/{path}",
        "start_line": annotation["start_line"],
        "end_line": annotation["end_line"],
        "annotation_level": annotation["annotation_level"],
        "message": annotation["message"],
        **{field: annotation.get(field) for field in optional},
    }


def chosen(call: Call, runs: list[CheckRun]) -> Answer:
    """A page of those `runs` that the query asks for: check_name, status, app_id, filter."""
    query = call.query
    if query.get("filter", "latest") == "latest":
        runs = latest(runs)
    if "check_name" in query:
        runs = [run for run in runs if run.name == query["check_name"]]
    if "status" in query:
        runs = [run for run in runs if run.status == query["status"]]
    if "app_id" in query:
        runs = [run for run in runs if str(run.app.id) == query["app_id"]]
    newest_first = sorted(runs, key=lambda run: run.id, reverse=True)
    shown = [present(call.world, call.repository, run) for run in newest_first]
    return call.page(shown, wrap="check_runs")


def latest(runs: list[CheckRun]) -> list[CheckRun]:
    """The newest run of each name in each suite."""
    newest = {(run.suite.id, run.name): run for run in sorted(runs, key=lambda run: run.id)}
    return list(newest.values())


# What can be asked


def _run(call: Call) -> CheckRun:
    run = call.repository.check_runs.get(call.number("check_run_id"))
    if run is None:
        raise not_found()
    return run


def _app(call: Call) -> App:
    if call.caller.app is None:
        raise Refused(403, "You must authenticate via a GitHub App.")
    return call.caller.app


@routes.post("/repos/{owner}/{repo}/check-runs", app="checks=write")
def create_check_run(call: Call) -> Answer:
    """Only Apps write checks."""
    app, body = _app(call), call.body
    for field in ("name", "head_sha"):
        if not body.get(field):
            raise invalid("CheckRun", field, code="missing_field")
    run = create(call.world, call.repository, app, body["name"], body["head_sha"], body)
    return Answer(201, present(call.world, call.repository, run))


@routes.get("/repos/{owner}/{repo}/check-runs/{check_run_id}", app="checks=read")
def get_check_run(call: Call) -> Answer:
    """One check-run."""
    return Answer(200, present(call.world, call.repository, _run(call)))


@routes.patch("/repos/{owner}/{repo}/check-runs/{check_run_id}", app="checks=write")
def update_check_run(call: Call) -> Answer:
    """Only the App that created a check-run may change it."""
    run, app = _run(call), _app(call)
    if run.app is not app:
        raise Refused(
            403,
            f"Invalid app_id `{app.id}` - check run can only be modified by the GitHub App "
            "that created it.",
        )
    update(call.world, call.repository, run, call.body)
    return Answer(200, present(call.world, call.repository, run))


@routes.get("/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations", app="checks=read")
def list_annotations(call: Call) -> Answer:
    """What a check says about single lines."""
    run = _run(call)
    return call.page(
        [_present_annotation(call.world, call.repository, run, a) for a in run.annotations]
    )


@routes.post(
    "/repos/{owner}/{repo}/check-runs/{check_run_id}/rerequest",
    app="checks=write",
    person=Role.WRITE,
)
def rerequest_check_run(call: Call) -> Answer:
    """Have the check's App asked to run it again."""
    rerequest(call.world, call.repository, _run(call), call.user)
    return Answer(201, {})


@routes.get("/repos/{owner}/{repo}/commits/{ref:.+}/check-runs", app="checks=read")
def list_for_ref(call: Call) -> Answer:
    """The check-runs on a commit, branch or tag."""
    sha = check_suites.sha_of(call)
    runs = [run for run in call.repository.check_runs.values() if run.head_sha == sha]
    return chosen(call, runs)


@routes.get("/repos/{owner}/{repo}/check-suites/{check_suite_id}/check-runs", app="checks=read")
def list_in_suite(call: Call) -> Answer:
    """The check-runs of one suite."""
    suite = check_suites.named(call)
    return chosen(call, [run for run in call.repository.check_runs.values() if run.suite is suite])
