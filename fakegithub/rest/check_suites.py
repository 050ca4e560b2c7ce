"""Check suites over the REST API. https://docs.github.com/rest/checks/suites."""

from __future__ import annotations

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes.suite_shape import present, present_event
from fakegithub.world.model import CheckSuite
from fakegithub.world.roles import RoleName

routes = Routes()


def sha_of(call: Call) -> str:
    """The commit that the path's `ref` names.

    Raises:
        RequestRefused: 422, as GitHub answers for an unknown commit.
    """
    sha = call.repository.git.commit_sha(call.params["ref"].removeprefix("heads/"))
    if sha is None:
        raise RequestRefused(422, f"No commit found for SHA: {call.params['ref']}")
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
    person=RoleName.WRITE,
)
def rerequest(call: Call) -> Answer:
    """Ask the suite's App, and only it, to run everything again."""
    suite, world, repository = named(call), call.world, call.repository
    suite.status, suite.conclusion = "queued", None
    world.emit(
        "check_suite", "rerequested", {"check_suite": present_event(world, repository, suite)},
        repository=repository, sender=call.user, only_app=suite.app, subjects=(suite,),
    )  # fmt: skip
    return Answer(201, {})
