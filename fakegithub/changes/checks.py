"""Check-runs: created, updated and completed by the App they belong to.

https://docs.github.com/rest/checks/runs
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fakegithub.access.answers import RequestRefused, invalid, not_found
from fakegithub.changes import suites
from fakegithub.shapes.check_shape import present
from fakegithub.world.model import CheckSuite, FakeApp, FakeCheckRun, FakeRepository, FakeUser
from fakegithub.world.world import World

CONCLUSIONS = frozenset(
    {"action_required", "cancelled", "failure", "neutral", "skipped", "success", "timed_out"}
)


_STATUSES = frozenset({"queued", "in_progress", "completed"})


_LONGEST_TEXT = 65_535


_MOST_ANNOTATIONS = 50


_MOST_ACTIONS = 3


_ACTION_LENGTHS = {"label": 20, "description": 40, "identifier": 20}


_OUTPUT = ("title", "summary", "text")


def create(
    world: World,
    repository: FakeRepository,
    app: FakeApp,
    name: str,
    head_sha: str,
    body: Mapping[str, Any],
    *,
    sender: FakeUser | None = None,
    suite: CheckSuite | None = None,
) -> FakeCheckRun:
    """Begin a check on a commit and tell everyone.

    Args:
        world: gives the id and the time, and tells everyone.
        repository: the one that has the commit.
        app: the App that reports the check.
        name: what people see, unless `body` has another.
        head_sha: full SHA of the commit.
        body: the other fields, as in the REST API.
        sender: who the webhooks say did it; None: the App's bot.
        suite: what the check belongs to; None: the App's suite on this commit, made if missing.

    Raises:
        RequestRefused: 422 when there is no such commit or a field is wrong.
    """
    if repository.git.object_type(head_sha) != "commit":
        raise RequestRefused(422, f"No commit found for SHA: {head_sha}")
    _refuse_wrong(body)
    suite = suite or suites.of(world, repository, app, head_sha)
    run = FakeCheckRun(world.new_id(), suite, name, head_sha, world.now())
    repository.check_runs[run.id] = run
    _apply(world, run, body)
    who = sender or app.bot
    _emit(world, repository, run, "created", who)
    _told(world, repository, run, who)
    return run


def update(
    world: World,
    repository: FakeRepository,
    run: FakeCheckRun,
    body: Mapping[str, Any],
    *,
    sender: FakeUser | None = None,
) -> None:
    """Change a check-run; completing it tells everyone.

    Args:
        world: gives the time, and tells everyone.
        repository: the one that has the commit.
        run: the check-run; it is changed in place.
        body: the fields that change, as in the REST API; what is left out stays.
        sender: who the webhooks say did it; None: the App's bot.

    Raises:
        RequestRefused: 422 when a field is wrong.
    """
    _refuse_wrong(body)
    before = (run.status, run.conclusion)
    _apply(world, run, body)
    if (run.status, run.conclusion) != before:
        _told(world, repository, run, sender or run.app.bot)


def rerequest(
    world: World, repository: FakeRepository, run: FakeCheckRun, sender: FakeUser
) -> None:
    """Ask the check's App, and only it, to run the check again; nothing else changes yet.

    Args:
        world: tells the App.
        repository: the one that has the commit.
        run: the check-run; its suite is queued again.
        sender: who asks for it.
    """
    run.suite.status, run.suite.conclusion = "queued", None
    _emit(world, repository, run, "rerequested", sender, only_app=run.app)


def press(
    world: World, repository: FakeRepository, run: FakeCheckRun, identifier: str, sender: FakeUser
) -> None:
    """Press one of the check's buttons: `requested_action` reaches only the check's App.

    Raises:
        RequestRefused: 404 when the check has no such button.
    """
    if identifier not in {action["identifier"] for action in run.actions}:
        raise not_found()
    extra = {"requested_action": {"identifier": identifier}}
    _emit(world, repository, run, "requested_action", sender, only_app=run.app, extra=extra)


def _told(world: World, repository: FakeRepository, run: FakeCheckRun, sender: FakeUser) -> None:
    if run.status == "completed":
        _emit(world, repository, run, "completed", sender)
    suites.settle(world, repository, run.suite, sender)


def _emit(
    world: World,
    repository: FakeRepository,
    run: FakeCheckRun,
    action: str,
    sender: FakeUser,
    *,
    only_app: FakeApp | None = None,
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


def _apply(world: World, run: FakeCheckRun, body: Mapping[str, Any]) -> None:
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
