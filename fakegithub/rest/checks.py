"""Check-runs over the REST API. https://docs.github.com/rest/checks/runs."""

from __future__ import annotations

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.changes.checks import create, rerequest, update
from fakegithub.rest import check_suites
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes.check_shape import present, present_annotation
from fakegithub.world.model import FakeApp, FakeCheckRun
from fakegithub.world.roles import RoleName

routes = Routes()


routes.list += check_suites.routes.list


def chosen(call: Call, runs: list[FakeCheckRun]) -> Answer:
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


def latest(runs: list[FakeCheckRun]) -> list[FakeCheckRun]:
    """The newest run of each name in each suite."""
    newest = {(run.suite.id, run.name): run for run in sorted(runs, key=lambda run: run.id)}
    return list(newest.values())


# What can be asked


def _run(call: Call) -> FakeCheckRun:
    run = call.repository.check_runs.get(call.number("check_run_id"))
    if run is None:
        raise not_found()
    return run


def _app(call: Call) -> FakeApp:
    if call.caller.app is None:
        raise RequestRefused(403, "You must authenticate via a GitHub App.")
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
        raise RequestRefused(
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
        [present_annotation(call.world, call.repository, run, a) for a in run.annotations]
    )


@routes.post(
    "/repos/{owner}/{repo}/check-runs/{check_run_id}/rerequest",
    app="checks=write",
    person=RoleName.WRITE,
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
