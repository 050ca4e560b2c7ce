"""Pull requests. https://docs.github.com/rest/pulls/pulls."""

from __future__ import annotations

import asyncio

from fakegithub.access.answers import Answer, RequestRefused, invalid
from fakegithub.changes import history, pushes
from fakegithub.rest import issues
from fakegithub.rest.calls import Call, Routes
from fakegithub.rest.reviews import pull
from fakegithub.rules import requirements
from fakegithub.shapes import commit_shape, pull_shape
from fakegithub.world.model import FakeIssue, FakePullRequest, FakeRepository
from fakegithub.world.roles import RoleName
from fakegithub.world.world import timestamp

routes = Routes()

_READ, _WRITE = "pull_requests=read", "pull_requests=write"
_PULLS = "/repos/{owner}/{repo}/pulls"
_PULL = f"{_PULLS}/{{number}}"
_MOST_FILES = 3000
_MOST_COMMITS = 250
NO_DRAFTS = "Draft pull requests are not supported in this repository."


@routes.get(_PULLS, app=_READ)
def list_pulls(call: Call) -> Answer:
    """Pull requests, newest first; filters state, head (`owner:branch`), base."""
    query = call.query
    state, head, base = query.get("state", "open"), query.get("head"), query.get("base")
    found = [issue for issue in call.repository.issues.values() if issue.pull]
    if state != "all":
        found = [issue for issue in found if issue.state == state]
    if head and ":" in head:
        owner, _, branch = head.partition(":")
        found = [
            i
            for i in found
            if i.pull
            and i.pull.head_ref == branch
            and _head_owner(call.repository, i.pull) == owner.lower()
        ]
    if base:
        found = [i for i in found if i.pull and i.pull.base_ref == base]
    by_update = query.get("sort") == "updated"
    found.sort(key=lambda i: (timestamp(i.updated_at) if by_update else "", i.number))
    if query.get("direction", "asc" if by_update else "desc") == "desc":
        found.reverse()
    return call.page([pull_shape.simple(call.world, call.repository, i) for i in found])


def _head_owner(repository: FakeRepository, record: FakePullRequest) -> str:
    return pull_shape.head_repository(repository, record).owner.login.lower()


def _fork_named(call: Call, head: str) -> tuple[FakeRepository | None, str]:
    """The fork that `owner:branch` is about (None: this repository itself), and the branch."""
    owner, colon, branch = head.partition(":")
    if not colon or owner.lower() == call.repository.owner.login.lower():
        return None, branch if colon else head
    for each in call.world.repositories.values():
        if each.parent is call.repository and each.owner.login.lower() == owner.lower():
            return each, branch
    raise invalid("PullRequest", "head")


@routes.post(_PULLS, app=_WRITE, person=RoleName.READ)
def create_pull(call: Call) -> Answer:
    """A new pull request; 422 for a second one of the same branches, or without commits.

    Drafts need a public repository, or GitHub Team at the least: else 422.
    https://docs.github.com/rest/pulls/pulls#create-a-pull-request
    """
    body, world, repository = call.body, call.world, call.repository
    issues.check_text("PullRequest", body, title_needed=True)
    base = str(body.get("base") or "")
    fork, head = _fork_named(call, str(body.get("head") or ""))
    source = fork or repository
    head_sha = source.git.branch(head) if head else None
    base_sha = repository.git.branch(base) if base else None
    if head_sha is None:
        raise invalid("PullRequest", "head")
    if base_sha is None:
        raise invalid("PullRequest", "base")
    for other in world.open_pulls(repository):
        if other.pull and other.pull.is_of(fork, head) and other.pull.base_ref == base:
            _refuse(f"A pull request already exists for {source.owner.login}:{head}.")
    if repository.git.is_ancestor(head_sha, base_sha):
        _refuse(f"No commits between {base} and {head}")
    if body.get("draft") and not repository.has_drafts:
        docs = "https://docs.github.com/rest/pulls/pulls#create-a-pull-request"
        raise RequestRefused(422, NO_DRAFTS, docs=docs)
    now = world.now()
    issue = FakeIssue(
        world.new_id(), repository.next_number(), call.user, str(body["title"]),
        body.get("body"), now, now, call.caller.app,
    )  # fmt: skip
    issue.pull = FakePullRequest(
        world.new_id(), head, head_sha, base, base_sha, draft=bool(body.get("draft")),
        maintainer_can_modify=bool(body.get("maintainer_can_modify", False)), fork=fork,
    )  # fmt: skip
    repository.issues[issue.number] = issue
    repository.git.update_ref(f"refs/pull/{issue.number}/head", head_sha)
    history.tell(world, repository, issue, "opened", call.user)
    shape = pull_shape.whole(world, repository, issue)
    return Answer(201, shape, {"Location": shape["url"]})


def _refuse(message: str) -> None:
    error = {"resource": "PullRequest", "code": "custom", "message": message}
    raise RequestRefused(422, "Validation Failed", errors=[error])


@routes.get(_PULL, app=_READ)
def get_pull(call: Call) -> Answer:
    """One pull request; asking starts computing `mergeable`, a later answer has it."""
    issue, record = pull(call)
    answer = Answer(200, pull_shape.whole(call.world, call.repository, issue))
    if issue.state == "open" and requirements.known_mergeable(call.repository, issue) is None:
        asyncio.get_running_loop().call_soon(
            requirements.compute_mergeable, call.repository, record
        )
    return answer


@routes.patch(_PULL, app=_WRITE, person=RoleName.READ)
def update_pull(call: Call) -> Answer:
    """Edit, change the base, close, reopen; the author may, and whoever may write."""
    issue, record = pull(call)
    body = call.body
    by_role = call.caller.kind == "installation" or call.role().at_least(RoleName.WRITE)
    if not by_role and issue.user is not call.user:
        raise RequestRefused(403, "Must have admin rights to Repository.")
    issues.check_text("PullRequest", body)
    issues.edit_text(call, issue, body)
    if body.get("base") and body["base"] != record.base_ref:
        _change_base(call, issue, str(body["base"]))
    if body.get("state") == "closed":
        history.close(call.world, call.repository, issue, call.user, app=call.caller.app)
    elif body.get("state") == "open" and issue.state == "closed":
        _reopen(call, issue, record)
    return Answer(200, pull_shape.whole(call.world, call.repository, issue))


def _change_base(call: Call, issue: FakeIssue, base: str) -> None:
    sha = call.repository.git.branch(base)
    if sha is None or issue.state != "open":
        raise invalid("PullRequest", "base")
    pushes.retarget(call.world, call.repository, issue, base, sha, call.user)


def _reopen(call: Call, issue: FakeIssue, record: FakePullRequest) -> None:
    head = pull_shape.head_repository(call.repository, record).git.branch(record.head_ref)
    if record.merged_at is not None or head is None:
        why = "merged" if record.merged_at else f"the {record.head_ref} branch has been deleted"
        _refuse(f"state cannot be changed. The pull request cannot be reopened: {why}.")
    record.head_sha = head or record.head_sha
    history.reopen(call.world, call.repository, issue, call.user, call.caller.app)


@routes.get(f"{_PULL}/commits", app=_READ)
def list_commits(call: Call) -> Answer:
    """At most 250 commits, oldest first."""
    _, record = pull(call)
    shas = pull_shape.commit_shas(call.repository, record)[:_MOST_COMMITS]
    return call.page(commit_shape.commits(call.world, call.repository, shas))


@routes.get(f"{_PULL}/files", app=_READ)
def list_files(call: Call) -> Answer:
    """At most 3,000 changed files."""
    _, record = pull(call)
    base = pull_shape.merge_base(call.repository, record)
    changes = call.repository.git.changes(base, record.head_sha)[:_MOST_FILES]
    return call.page(
        [commit_shape.file(call.world, call.repository, record.head_sha, x) for x in changes]
    )
