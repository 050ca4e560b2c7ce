"""Merging over the REST API: pull requests, their updates, and branches into branches.

https://docs.github.com/rest/pulls/pulls#merge-a-pull-request
"""

from __future__ import annotations

from fakegithub.access.answers import Answer, RequestRefused, not_found
from fakegithub.changes import pushes
from fakegithub.changes.merges import merge
from fakegithub.rest import push_checks
from fakegithub.rest.calls import Call, Routes
from fakegithub.rest.reviews import pull
from fakegithub.shapes import commit_shape
from fakegithub.world.model import MergeMethod
from fakegithub.world.roles import RoleName

routes = Routes()


_PULL = "/repos/{owner}/{repo}/pulls/{number}"


_METHODS: tuple[MergeMethod, ...] = ("merge", "squash", "rebase")


@routes.get(f"{_PULL}/merge", app="contents=read; pull_requests=read")
def is_merged(call: Call) -> Answer:
    """204 when merged, else 404."""
    _, record = pull(call)
    if record.merged_at is None:
        raise not_found()
    return Answer(204)


@routes.put(f"{_PULL}/merge", app="contents=write", person=RoleName.WRITE)
def merge_pull(call: Call) -> Answer:
    """Merge; 409 when `sha` is not the head, 405 when rules or conflicts forbid it."""
    issue, record = pull(call)
    body = call.body
    method = body.get("merge_method", "merge")
    if method not in _METHODS:
        raise RequestRefused(422, "Validation Failed")
    expected = body.get("sha")
    if expected and expected != record.head_sha:
        raise RequestRefused(409, "Head branch was modified. Review and try the merge again.")
    push_checks.require_workflows_permission(call, record.head_sha)
    sha = merge(
        call.world, call.repository, issue, method, push_checks.who(call),
        body.get("commit_title"), body.get("commit_message"),
    )  # fmt: skip
    done = {"sha": sha, "merged": True, "message": "Pull Request successfully merged"}
    return Answer(200, done)


@routes.put(f"{_PULL}/update-branch", app="pull_requests=write", person=RoleName.WRITE)
def update_branch(call: Call) -> Answer:
    """Merge the base into the head branch."""
    _, record = pull(call)
    git, expected = call.repository.git, call.body.get("expected_head_sha")
    if expected and expected != record.head_sha:
        raise RequestRefused(
            422, f"expected head sha didn't match current head ref. {record.head_sha}"
        )
    if record.fork is not None:
        # A maintainer's push to somebody's fork is not played here.
        raise RequestRefused(403, "Resource not accessible by integration")
    base = git.branch(record.base_ref)
    if base is None or git.is_ancestor(base, record.head_sha):
        raise RequestRefused(422, "There are no new commits on the base branch.")
    message = f"Merge branch '{record.base_ref}' into {record.head_ref}"
    sha = _merge_commit(call, record.head_sha, base, message)
    if sha is None:
        raise RequestRefused(422, "merge conflict between base and head")
    ref = f"refs/heads/{record.head_ref}"
    pushes.push(call.world, call.repository, ref, sha, call.user, call.caller.app)
    return Answer(202, {"message": "Updating pull request branch.", "url": str(call.url)})


def _merge_commit(call: Call, ours: str, theirs: str, message: str) -> str | None:
    git = call.repository.git
    tree = git.merge_trees(ours, theirs)
    if tree is None:
        return None
    author = commit_shape.signature_of(call.world, call.user)
    committer = commit_shape.web_flow(call.world)
    sha = git.write_commit(tree, (ours, theirs), message, author, committer, sign=True)
    call.repository.signed.add(sha)
    return sha


@routes.post("/repos/{owner}/{repo}/merges", app="contents=write", person=RoleName.WRITE)
def merge_branch(call: Call) -> Answer:
    """Merge `head` into `base`: 201, 204 when there is nothing to do, 409 on conflict."""
    git, base = call.repository.git, str(call.body.get("base", ""))
    ours, theirs = git.branch(base), git.commit_sha(str(call.body.get("head", "")))
    if ours is None:
        raise RequestRefused(404, "Base does not exist")
    if theirs is None:
        raise RequestRefused(404, "Head does not exist")
    if git.is_ancestor(theirs, ours):
        return Answer(204)
    message = call.body.get("commit_message") or f"Merge {call.body['head']} into {base}"
    sha = _merge_commit(call, ours, theirs, message)
    if sha is None:
        raise RequestRefused(409, "Merge conflict")
    ref = f"refs/heads/{base}"
    push_checks.require(call, ref, sha)
    pushes.push(call.world, call.repository, ref, sha, call.user, call.caller.app)
    shape = commit_shape.commit(call.world, call.repository, git.commit(sha))
    return Answer(201, shape)
