"""Which of the kinds of things that a repository can refuse a REST request is."""

from __future__ import annotations

from collections.abc import Iterator

from fakegithub.access.answers import RequestRefused
from fakegithub.rest.calls import Call, Route
from fakegithub.world.refusals import Kind

_REPOSITORY = "/repos/{owner}/{repo}"
_ISSUE = "/issues/{number}"
_PULL = "/pulls/{number}"
_RUNS = "/actions/runs/{run_id}"
# For each route its kind, and the parameter that says what it is about ("": the body does).
_KINDS: dict[tuple[str, str], tuple[Kind, str]] = {
    ("GET", "/issues"): ("issue_list", ""),
    ("POST", "/issues"): ("issue", ""),
    ("POST", f"{_ISSUE}/comments"): ("comment", "number"),
    ("PATCH", "/issues/comments/{comment_id}"): ("comment_edit", "comment_id"),
    ("DELETE", "/issues/comments/{comment_id}"): ("comment_deletion", "comment_id"),
    ("POST", f"{_ISSUE}/labels"): ("label", "number"),
    ("PUT", f"{_ISSUE}/labels"): ("label", "number"),
    ("DELETE", f"{_ISSUE}/labels/{{name}}"): ("label", "number"),
    ("POST", "/labels"): ("label", ""),
    ("POST", f"{_ISSUE}/assignees"): ("assignee", "number"),
    ("DELETE", f"{_ISSUE}/assignees"): ("assignee", "number"),
    ("POST", "/check-runs"): ("check_run", ""),
    ("PATCH", "/check-runs/{check_run_id}"): ("check_run_update", "check_run_id"),
    ("POST", "/check-runs/{check_run_id}/rerequest"): ("rerun", "check_run_id"),
    ("POST", "/check-suites/{check_suite_id}/rerequest"): ("rerun", "check_suite_id"),
    ("POST", "/actions/jobs/{job_id}/rerun"): ("rerun", "job_id"),
    ("POST", f"{_RUNS}/rerun"): ("rerun", "run_id"),
    ("POST", f"{_RUNS}/rerun-failed-jobs"): ("rerun", "run_id"),
    ("POST", "/actions/workflows/{workflow_id}/dispatches"): ("dispatch", "workflow_id"),
    ("POST", "/statuses/{sha}"): ("status", "sha"),
    ("POST", "/deployments"): ("deployment", ""),
    ("POST", "/git/refs"): ("branch", ""),
    ("PATCH", "/git/refs/{ref:.+}"): ("branch_update", "ref"),
    ("DELETE", "/git/refs/{ref:.+}"): ("branch_deletion", "ref"),
    ("POST", "/git/trees"): ("tree", ""),
    ("POST", "/git/commits"): ("commit", ""),
    ("PUT", "/contents/{path:.*}"): ("file", "path"),
    ("DELETE", "/contents/{path:.*}"): ("file", "path"),
    ("POST", "/pulls"): ("pull_request", ""),
    ("POST", f"{_PULL}/reviews"): ("review", "number"),
    ("POST", f"{_PULL}/comments"): ("review", "number"),
    ("POST", f"{_PULL}/comments/{{comment_id}}/replies"): ("review", "number"),
    ("POST", f"{_PULL}/requested_reviewers"): ("reviewer", "number"),
    ("PUT", f"{_PULL}/merge"): ("merge", "number"),
    ("PUT", f"{_PULL}/update-branch"): ("update_branch", "number"),
}
# What the body of a request that starts something is about.
_NAMED_BY: dict[Kind, str] = {
    "issue": "title", "label": "name", "check_run": "name", "branch": "ref",
    "pull_request": "head", "deployment": "environment",
}  # fmt: skip
# An issue or pull request is changed by one request, whatever is changed.
_CHANGED: tuple[tuple[str, Kind], ...] = (
    ("title", "description"), ("body", "description"), ("state", "state"), ("labels", "label"),
    ("assignees", "assignee"), ("base", "base"),
)  # fmt: skip


def check(call: Call, route: Route) -> None:
    """Refuse what the repository was told to refuse.

    Raises:
        RequestRefused: with the status and words asked for.
    """
    if call.found is None or not call.found.refusals.standing:
        return
    for kind, about in _kinds(call, route):
        require(call, kind, about)


def require(call: Call, kind: Kind, about: str) -> None:
    """Refuse this kind of thing, if the repository was told to.

    Raises:
        RequestRefused: with the status and words asked for.
    """
    by_app = call.caller.kind == "installation"
    met = call.repository.refusals.meet(kind, about, by_app=by_app)
    if met is not None:
        raise RequestRefused(met.status, met.message, docs=met.docs)


def _kinds(call: Call, route: Route) -> Iterator[tuple[Kind, str]]:
    path = route.path.removeprefix(_REPOSITORY)
    if "/reactions" in path and route.method in ("POST", "DELETE"):
        kind: Kind = "reaction" if route.method == "POST" else "reaction_removal"
        yield kind, call.params.get("number") or call.params["comment_id"]
        return
    if route.method == "PATCH" and path in (_ISSUE, _PULL):
        for field, changed in _CHANGED:
            if field in call.body:
                yield changed, call.params["number"]
        return
    found = _KINDS.get((route.method, path))
    if found is not None:
        kind, parameter = found
        about = call.params[parameter] if parameter else ""
        if not parameter and kind in _NAMED_BY:
            about = str(call.body.get(_NAMED_BY[kind], ""))
        yield kind, about.removeprefix("refs/").removeprefix("heads/")
