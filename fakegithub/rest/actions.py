"""GitHub Actions over the REST API. https://docs.github.com/rest/actions."""

from __future__ import annotations

from collections.abc import Callable

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.actions import workflow_shape, workflows
from fakegithub.actions.workflow_runs import FakeWorkflowRun, Job, WorkflowCause
from fakegithub.actions.workflows import Workflow, WorkflowError
from fakegithub.rest.calls import Call, Routes
from fakegithub.world.roles import RoleName
from fakegithub.world.world import timestamp

routes = Routes()

_MOST_INPUTS = 25
_FILTERS: dict[str, Callable[[FakeWorkflowRun], str]] = {
    "event": lambda run: run.cause.event,
    "branch": lambda run: run.cause.branch,
    "head_sha": lambda run: run.cause.sha,
    "actor": lambda run: run.cause.actor.login,
    "check_suite_id": lambda run: str(run.suite.id),
}
_ACTIONS = "/repos/{owner}/{repo}/actions"


# Workflows


def _workflows(call: Call) -> dict[str, Workflow]:
    """The workflows on the default branch, by path."""
    repository = call.repository
    head = repository.git.branch(repository.default_branch)
    return call.github.runner.workflows_at(repository, head) if head else {}


def _workflow_id(call: Call) -> tuple[str, int]:
    """Path and id of the workflow that the request names by id or file name."""
    named, runner = call.params["workflow_id"], call.github.runner
    _workflows(call)
    for (repository_id, path), identity in runner.known.items():
        if repository_id == call.repository.id and named in (
            str(identity), path, path.rpartition("/")[2]
        ):  # fmt: skip
            return path, identity
    raise not_found()


@routes.get(f"{_ACTIONS}/workflows", app="actions=read")
def list_workflows(call: Call) -> Answer:
    """The workflow files on the default branch."""
    shown = [
        workflow_shape.present_workflow(
            call.world, call.repository, call.github.runner.id_of(call.repository, path), path,
            workflow.name,
        )
        for path, workflow in _workflows(call).items()
    ]  # fmt: skip
    return call.page(shown, wrap="workflows")


@routes.get(f"{_ACTIONS}/workflows/{{workflow_id}}", app="actions=read")
def get_workflow(call: Call) -> Answer:
    """One workflow by id or file name."""
    path, identity = _workflow_id(call)
    workflow = _workflows(call).get(path)
    name = workflow.name if workflow else path
    shape = workflow_shape.present_workflow(call.world, call.repository, identity, path, name)
    return Answer(200, shape)


@routes.post(
    f"{_ACTIONS}/workflows/{{workflow_id}}/dispatches",
    app="actions=write",
    person=RoleName.WRITE,
)
def dispatch(call: Call) -> Answer:
    """Run a workflow by hand, on a branch or tag and never on a bare SHA.

    GitHub Enterprise Server does not know `return_run_details` up to 3.19, and refuses it.
    https://docs.github.com/enterprise-server@3.19/rest/actions/workflows#create-a-workflow-dispatch-event
    """
    path, identity = _workflow_id(call)
    body, git = call.body, call.repository.git
    if "return_run_details" in body and not call.repository.knows_since(3, 20):
        raise RequestRefused(
            422, 'Invalid request.\n\n"return_run_details" is not a permitted key.'
        )
    ref, given = str(body.get("ref") or ""), body.get("inputs") or {}
    short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    full = next((f for f in (f"refs/heads/{short}", f"refs/tags/{short}") if git.ref(f)), None)
    if not short or full is None:
        raise RequestRefused(422, f"No ref found for: {ref}")
    sha = git.commit_sha(full) or ""
    workflow = call.github.runner.workflows_at(call.repository, sha).get(path)
    if workflow is None:
        raise not_found()
    if "workflow_dispatch" not in workflow.triggers:
        raise RequestRefused(422, "Workflow does not have 'workflow_dispatch' trigger")
    if len(given) > _MOST_INPUTS:
        raise RequestRefused(422, f"you may only define up to {_MOST_INPUTS} `inputs`")
    try:
        inputs = workflows.dispatch_inputs(workflow, given)
    except WorkflowError as error:
        raise RequestRefused(422, str(error)) from None
    cause = WorkflowCause(
        "workflow_dispatch", sha, short, full, sha, call.user, workflow.name, inputs
    )
    run = call.github.runner.begin(call.repository, workflow, identity, cause)
    if not body.get("return_run_details"):
        return Answer(204)
    shape = workflow_shape.present_run(call.world, run)
    details = {"workflow_run_id": run.id, "run_url": shape["url"], "html_url": shape["html_url"]}
    return Answer(200, details)


# Runs


def _chosen(call: Call, runs: list[FakeWorkflowRun]) -> Answer:
    """A page of those `runs` that the query asks for, newest first."""
    query = call.query
    found = [
        run
        for run in sorted(runs, key=lambda run: run.id, reverse=True)
        if all(value(run) == query[name] for name, value in _FILTERS.items() if name in query)
        and query.get("status", run.status) in (run.status, run.conclusion)
        and _created(run, query.get("created", ""))
    ]
    shown = [workflow_shape.present_run(call.world, run) for run in found]
    return call.page(shown, wrap="workflow_runs")


def _created(run: FakeWorkflowRun, wanted: str) -> bool:
    """Decide `created`: `>=TIME`, `>TIME`, `TIME..TIME` or a date, compared as text."""
    moment = timestamp(run.created_at)
    if ".." in wanted:
        first, _, last = wanted.partition("..")
        return (first in ("", "*") or first <= moment) and (last in ("", "*") or moment <= last)
    if wanted.startswith(">="):
        return moment >= wanted[2:]
    if wanted.startswith(">"):
        return moment > wanted[1:]
    return moment.startswith(wanted)


def _of_repository(call: Call) -> list[FakeWorkflowRun]:
    return [r for r in call.github.runner.runs.values() if r.repository is call.repository]


def _run(call: Call) -> FakeWorkflowRun:
    run = call.github.runner.runs.get(call.number("run_id"))
    if run is None or run.repository is not call.repository:
        raise not_found()
    return run


def _job(call: Call) -> tuple[FakeWorkflowRun, Job]:
    job = call.github.runner.jobs.get(call.number("job_id"))
    run = call.github.runner.run_of(job) if job is not None else None
    if job is None or run is None or run.repository is not call.repository:
        raise not_found()
    return run, job


@routes.get(f"{_ACTIONS}/runs", app="actions=read")
def list_runs(call: Call) -> Answer:
    """Every workflow run of the repository."""
    return _chosen(call, _of_repository(call))


@routes.get(f"{_ACTIONS}/workflows/{{workflow_id}}/runs", app="actions=read")
def list_workflow_runs(call: Call) -> Answer:
    """The runs of one workflow."""
    _, identity = _workflow_id(call)
    return _chosen(call, [run for run in _of_repository(call) if run.workflow_id == identity])


@routes.get(f"{_ACTIONS}/runs/{{run_id}}", app="actions=read")
def get_run(call: Call) -> Answer:
    """One run."""
    return Answer(200, workflow_shape.present_run(call.world, _run(call)))


@routes.get(f"{_ACTIONS}/runs/{{run_id}}/jobs", app="actions=read")
def list_jobs(call: Call) -> Answer:
    """The jobs of the latest attempt (`filter=all`: of every attempt)."""
    run = _run(call)
    jobs = list(run.jobs.values())
    if call.query.get("filter") == "all":
        jobs = [j for j in call.github.runner.jobs.values() if j.check.suite is run.suite]
    shown = [workflow_shape.present_job(call.world, run, job) for job in jobs]
    return call.page(shown, wrap="jobs")


@routes.get(f"{_ACTIONS}/jobs/{{job_id}}", app="actions=read")
def get_job(call: Call) -> Answer:
    """One job."""
    run, job = _job(call)
    return Answer(200, workflow_shape.present_job(call.world, run, job))


@routes.get(f"{_ACTIONS}/jobs/{{job_id}}/logs", app="actions=read")
def get_job_log(call: Call) -> Answer:
    """A redirect to the log as plain text."""
    run, job = _job(call)
    page = workflow_shape.job_page(call.world, run, job.id)
    return Answer(302, headers={"Location": f"{page}/log.txt"})


def _rerun(call: Call, run: FakeWorkflowRun, keys: list[str]) -> Answer:
    if run.status != "completed":
        raise RequestRefused(403, "This workflow is already running")
    call.github.runner.rerun(run, keys)
    return Answer(201, {})


@routes.post(f"{_ACTIONS}/jobs/{{job_id}}/rerun", app="actions=write", person=RoleName.WRITE)
def rerun_job(call: Call) -> Answer:
    """Run one job again, and those that need it."""
    run, job = _job(call)
    return _rerun(call, run, [job.spec.key])


@routes.post(f"{_ACTIONS}/runs/{{run_id}}/rerun", app="actions=write", person=RoleName.WRITE)
def rerun_run(call: Call) -> Answer:
    """Run every job again."""
    run = _run(call)
    return _rerun(call, run, list(run.jobs))


@routes.post(
    f"{_ACTIONS}/runs/{{run_id}}/rerun-failed-jobs",
    app="actions=write",
    person=RoleName.WRITE,
)
def rerun_failed_jobs(call: Call) -> Answer:
    """Run again what did not pass."""
    run = _run(call)
    failed = [key for key, job in run.jobs.items() if job.check.conclusion != "success"]
    return _rerun(call, run, failed)


@routes.post(f"{_ACTIONS}/runs/{{run_id}}/cancel", app="actions=write", person=RoleName.WRITE)
def cancel_run(call: Call) -> Answer:
    """Stop a run."""
    run = _run(call)
    if run.status == "completed":
        raise RequestRefused(409, "Cannot cancel a workflow run that is completed.")
    call.github.runner.cancel(run)
    return Answer(202, {})
