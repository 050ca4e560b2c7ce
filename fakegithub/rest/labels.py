"""Labels of repositories and on issues. https://docs.github.com/rest/issues/labels."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.changes import history
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import issue_shape
from fakegithub.world.model import FakeIssue, FakeLabel, FakeRepository
from fakegithub.world.roles import RoleName
from fakegithub.world.world import World

routes = Routes()

_READ = "issues=read; pull_requests=read"
_WRITE = "issues=write; pull_requests=write"


def find_or_create(world: World, repository: FakeRepository, name: str) -> FakeLabel:
    """The label of that name (letter case aside); naming a new one makes it."""
    known = find(repository, name)
    if known is None:
        known = repository.labels[name] = FakeLabel(world.new_id(), name)
    return known


def find(repository: FakeRepository, name: str) -> FakeLabel | None:
    """The label of that name, letter case aside."""
    wanted = name.lower()
    return next((x for x in repository.labels.values() if x.name.lower() == wanted), None)


def _named(call: Call) -> FakeLabel:
    label = find(call.repository, call.params["name"])
    if label is None:
        raise not_found()
    return label


def _shape(call: Call, label: FakeLabel) -> dict[str, Any]:
    return issue_shape.label(call.world, call.repository, label)


def _names(call: Call) -> list[str]:
    """The names sent: a list, or `{"labels": [names or {"name": …}]}`."""
    given = call.body_list("labels")
    names = [x.get("name", "") if isinstance(x, dict) else x for x in given]
    for name in names:
        if not isinstance(name, str) or not name.strip() or len(name) > 50:
            raise invalid("Label", "name")
    return [str(name) for name in names]


@routes.get("/repos/{owner}/{repo}/labels", app=_READ)
def list_labels(call: Call) -> Answer:
    """Every label of the repository."""
    return call.page([_shape(call, label) for label in call.repository.labels.values()])


@routes.post("/repos/{owner}/{repo}/labels", app=_WRITE, person=RoleName.WRITE)
def create_label(call: Call) -> Answer:
    """A new label; the same name twice is refused with 422 `already_exists`."""
    body = call.body
    name = str(body.get("name", "")).strip()
    if not name:
        raise invalid("Label", "name", code="missing_field")
    if find(call.repository, name) is not None:
        raise RequestRefused(
            422, "Validation Failed",
            errors=[{"resource": "Label", "code": "already_exists", "field": "name"}],
        )  # fmt: skip
    color = str(body.get("color", "ededed")).lower()
    label = FakeLabel(call.world.new_id(), name, color, body.get("description"))
    call.repository.labels[name] = label
    return Answer(201, _shape(call, label))


@routes.get("/repos/{owner}/{repo}/labels/{name}", app=_READ)
def get_label(call: Call) -> Answer:
    """One label."""
    return Answer(200, _shape(call, _named(call)))


@routes.patch("/repos/{owner}/{repo}/labels/{name}", app=_WRITE, person=RoleName.WRITE)
def update_label(call: Call) -> Answer:
    """Rename, recolour, describe."""
    label, body = _named(call), call.body
    call.repository.labels.pop(label.name)
    label.name = str(body.get("new_name", label.name))
    label.color = str(body.get("color", label.color))
    label.description = body.get("description", label.description)
    call.repository.labels[label.name] = label
    return Answer(200, _shape(call, label))


@routes.delete("/repos/{owner}/{repo}/labels/{name}", app=_WRITE, person=RoleName.WRITE)
def delete_label(call: Call) -> Answer:
    """Remove a label from the repository and every issue."""
    label = _named(call)
    call.repository.labels.pop(label.name)
    for issue in call.repository.issues.values():
        issue.labels = [x for x in issue.labels if x is not label]
    return Answer(204)


def _on(call: Call, issue: FakeIssue) -> list[dict[str, Any]]:
    return [_shape(call, label) for label in issue.labels]


@routes.get("/repos/{owner}/{repo}/issues/{number}/labels", app=_READ)
def list_issue_labels(call: Call) -> Answer:
    """Labels of one issue."""
    return call.page(_on(call, call.issue()))


@routes.post("/repos/{owner}/{repo}/issues/{number}/labels", app=_WRITE, person=RoleName.TRIAGE)
def add_labels(call: Call) -> Answer:
    """Put labels on; names not known yet become labels of the repository."""
    issue = call.issue()
    for name in _names(call):
        label = find_or_create(call.world, call.repository, name)
        history.add_label(call.world, call.repository, issue, label, call.user, call.caller.app)
    return Answer(200, _on(call, issue))


@routes.put("/repos/{owner}/{repo}/issues/{number}/labels", app=_WRITE, person=RoleName.TRIAGE)
def set_labels(call: Call) -> Answer:
    """Exactly these labels."""
    set_on(call, call.issue(), _names(call))
    return Answer(200, _on(call, call.issue()))


def set_on(call: Call, issue: FakeIssue, names: list[str]) -> None:
    """Make these the issue's labels, each change an event."""
    world, repository, app = call.world, call.repository, call.caller.app
    wanted = [find_or_create(world, repository, name) for name in names]
    for label in [x for x in issue.labels if x not in wanted]:
        history.remove_label(world, repository, issue, label, call.user, app)
    for label in wanted:
        history.add_label(world, repository, issue, label, call.user, app)


@routes.delete(
    "/repos/{owner}/{repo}/issues/{number}/labels/{name}", app=_WRITE, person=RoleName.TRIAGE
)
def remove_label(call: Call) -> Answer:
    """Take one label off; 404 when it is not on."""
    issue, label = call.issue(), find(call.repository, call.params["name"])
    if label is None or label not in issue.labels:
        raise RequestRefused(404, "Label does not exist")
    history.remove_label(call.world, call.repository, issue, label, call.user, call.caller.app)
    return Answer(200, _on(call, issue))
