"""Issues and assignees. https://docs.github.com/rest/issues/issues."""

from __future__ import annotations

from typing import Any

from fakegithub.access.answers import Answer, RequestRefused, invalid
from fakegithub.changes import history
from fakegithub.rest import labels
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import issue_shape, users
from fakegithub.world.model import FakeIssue, FakeUser
from fakegithub.world.roles import RoleName
from fakegithub.world.world import timestamp

routes = Routes()

_READ = "issues=read; pull_requests=read"
_WRITE = "issues=write; pull_requests=write"
LONGEST_BODY = 65_536
LONGEST_TITLE = 256


def check_text(resource: str, body: dict[str, Any], *, title_needed: bool = False) -> None:
    """Refuse a blank or overlong title and an overlong body, as GitHub does."""
    title, text = body.get("title"), body.get("body")
    if title_needed and title is None:
        raise invalid(resource, "title", code="missing_field")
    if title is not None and not str(title).strip():
        raise invalid(resource, "title", "title can't be blank")
    if title is not None and len(str(title)) > LONGEST_TITLE:
        raise invalid(resource, "title", "title is too long (maximum is 256 characters)")
    if text is not None and len(str(text)) > LONGEST_BODY:
        raise invalid(resource, "body", "body is too long (maximum is 65536 characters)")


def may_triage(call: Call) -> bool:
    """Tell whether the caller may label and assign."""
    return call.caller.kind == "installation" or call.role().at_least(RoleName.TRIAGE)


def assignable(call: Call, login: str) -> FakeUser | None:
    """The user, if issues here can be assigned to them."""
    user = call.world.users.get(login.lower())
    if user is None or user.type == "Organization":
        return None
    invited = user is call.repository.owner or user.login.lower() in call.repository.roles
    return user if invited and call.repository.role_of(user).at_least(RoleName.READ) else None


def _shape(call: Call, issue: FakeIssue) -> dict[str, Any]:
    return issue_shape.issue(call.world, call.repository, issue)


@routes.get("/repos/{owner}/{repo}/issues", app=_READ)
def list_issues(call: Call) -> Answer:
    """Issues and pull requests, newest first; filters state, labels, creator, assignee, since.

    Where issues are switched off the pull requests remain: no 410 is described here.
    https://docs.github.com/rest/issues/issues#list-repository-issues
    """
    query, found = call.query, list(call.repository.issues.values())
    if not call.repository.has_issues:
        found = [issue for issue in found if issue.pull is not None]
    state = query.get("state", "open")
    wanted = {name.lower() for name in query.get("labels", "").split(",") if name}
    creator, assignee, since = query.get("creator"), query.get("assignee"), query.get("since")
    if state != "all":
        found = [i for i in found if i.state == state]
    found = [i for i in found if wanted <= {x.name.lower() for x in i.labels}]
    if creator:
        found = [i for i in found if i.user.login.lower() == creator.lower()]
    if assignee:
        found = [i for i in found if assignee.lower() in {u.login.lower() for u in i.assignees}]
    if since:
        found = [i for i in found if timestamp(i.updated_at) >= since]
    if query.get("sort") == "updated":
        found.sort(key=lambda i: i.updated_at)
    if query.get("direction", "desc") == "desc":
        found.reverse()
    return call.page([_shape(call, issue) for issue in found])


@routes.post("/repos/{owner}/{repo}/issues", app="issues=write", person=RoleName.READ)
def create_issue(call: Call) -> Answer:
    """A new issue; labels and assignees are dropped silently for callers who may not set them.

    For those who may, an assignee who cannot be one is a mistake: 422, and there is no issue.
    https://docs.github.com/rest/issues/issues#create-an-issue
    """
    call.require_issues()
    body, world, repository = call.body, call.world, call.repository
    check_text("Issue", body, title_needed=True)
    people = _require_assignable(call, _logins(body)) if may_triage(call) else []
    now = world.now()
    issue = FakeIssue(
        world.new_id(), repository.next_number(), call.user, str(body["title"]),
        body.get("body"), now, now, call.caller.app,
    )  # fmt: skip
    repository.issues[issue.number] = issue
    if may_triage(call):
        for given in body.get("labels") or []:
            name = given.get("name") if isinstance(given, dict) else given
            issue.labels.append(labels.find_or_create(world, repository, str(name)))
        issue.assignees = people
    history.tell(world, repository, issue, "opened", call.user)
    for label in issue.labels:
        history.note(world, issue, "labeled", call.user, label=label)
        history.tell(
            world, repository, issue, "labeled", call.user,
            label=issue_shape.label(world, repository, label),
        )  # fmt: skip
    return Answer(201, _shape(call, issue))


def _require_assignable(call: Call, logins: list[Any]) -> list[FakeUser]:
    """The users named; 422 when issues here cannot be assigned to one of them.

    Raises:
        RequestRefused: 422 that names the first who cannot.
    """
    found: list[FakeUser] = []
    for login in logins:
        user = assignable(call, str(login))
        if user is None:
            raise RequestRefused(422, "Validation Failed", errors=[
                {"value": str(login), "resource": "Issue", "field": "assignees", "code": "invalid"}
            ])  # fmt: skip
        found.append(user)
    return found


def _logins(body: dict[str, Any]) -> list[Any]:
    return list(body.get("assignees") or ([body["assignee"]] if body.get("assignee") else []))


@routes.get("/repos/{owner}/{repo}/issues/{number}", app=_READ)
def get_issue(call: Call) -> Answer:
    """One issue or pull request."""
    return Answer(200, _shape(call, call.issue()))


@routes.patch("/repos/{owner}/{repo}/issues/{number}", app=_WRITE, person=RoleName.READ)
def update_issue(call: Call) -> Answer:
    """Edit, close, reopen; the author may, and whoever may triage."""
    issue, body = call.issue(), call.body
    if not may_triage(call) and issue.user is not call.user:
        raise RequestRefused(403, "Must have admin rights to Repository.")
    check_text("Issue", body)
    people = _require_assignable(call, list(body.get("assignees") or []))
    edit_text(call, issue, body)
    if body.get("labels") is not None:
        labels.set_on(call, issue, [
            str(x["name"] if isinstance(x, dict) else x) for x in body["labels"]
        ])  # fmt: skip
    if body.get("assignees") is not None:
        _set_assignees(call, issue, people)
    if body.get("state") == "closed":
        reason = body.get("state_reason") or "completed"
        history.close(
            call.world, call.repository, issue, call.user, app=call.caller.app, reason=reason
        )
    elif body.get("state") == "open":
        history.reopen(call.world, call.repository, issue, call.user, call.caller.app)
    return Answer(200, _shape(call, issue))


def edit_text(call: Call, issue: FakeIssue, body: dict[str, Any]) -> None:
    """Change title and body, telling what they were."""
    changes = {}
    if "title" in body and body["title"] != issue.title:
        changes["title"] = {"from": issue.title}
        issue.title = str(body["title"])
    if "body" in body and body["body"] != issue.body:
        changes["body"] = {"from": issue.body or ""}
        issue.body = body["body"]
    if changes:
        issue.updated_at = call.world.now()
        history.tell(call.world, call.repository, issue, "edited", call.user, changes=changes)


def _set_assignees(call: Call, issue: FakeIssue, wanted: list[FakeUser]) -> None:
    world, repository, app = call.world, call.repository, call.caller.app
    for user in [x for x in issue.assignees if x not in wanted]:
        history.unassign(world, repository, issue, user, call.user, app)
    for user in wanted:
        history.assign(world, repository, issue, user, call.user, app)


@routes.post("/repos/{owner}/{repo}/issues/{number}/assignees", app=_WRITE, person=RoleName.TRIAGE)
def add_assignees(call: Call) -> Answer:
    """Assign people; those without access are ignored, as GitHub does.

    https://docs.github.com/rest/issues/assignees#add-assignees-to-an-issue
    """
    issue = call.issue()
    for login in call.body.get("assignees") or []:
        user = assignable(call, str(login))
        if user is not None:
            history.assign(call.world, call.repository, issue, user, call.user, call.caller.app)
    return Answer(201, _shape(call, issue))


@routes.delete(
    "/repos/{owner}/{repo}/issues/{number}/assignees", app=_WRITE, person=RoleName.TRIAGE
)
def remove_assignees(call: Call) -> Answer:
    """Take assignments back."""
    issue = call.issue()
    gone = {str(login).lower() for login in call.body.get("assignees") or []}
    for user in [x for x in issue.assignees if x.login.lower() in gone]:
        history.unassign(call.world, call.repository, issue, user, call.user, call.caller.app)
    return Answer(200, _shape(call, issue))


@routes.get("/repos/{owner}/{repo}/assignees", app="issues=read; pull_requests=read")
def list_assignees(call: Call) -> Answer:
    """Who can be assigned."""
    known = (assignable(call, login) for login in call.world.users)
    return call.page([users.present(call.world, user) for user in known if user])


@routes.get("/repos/{owner}/{repo}/issues/{number}/events", app=_READ)
def list_events(call: Call) -> Answer:
    """The history of one issue, oldest first."""
    return call.page(
        [issue_shape.event(call.world, call.repository, x) for x in call.issue().events]
    )


@routes.put("/repos/{owner}/{repo}/issues/{number}/lock", app=_WRITE, person=RoleName.WRITE)
def lock(call: Call) -> Answer:
    """Only those with write access may comment from now on.

    https://docs.github.com/rest/issues/issues#lock-an-issue
    """
    call.issue().locked = True
    return Answer(204)


@routes.delete("/repos/{owner}/{repo}/issues/{number}/lock", app=_WRITE, person=RoleName.WRITE)
def unlock(call: Call) -> Answer:
    """Everyone may comment again."""
    call.issue().locked = False
    return Answer(204)
