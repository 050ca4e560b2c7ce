"""What a push sets in motion: the event, and pull requests that follow their branches."""

from __future__ import annotations

from typing import Any

from fakegithub.changes import history
from fakegithub.git.bare import ZERO
from fakegithub.rules import requirements
from fakegithub.shapes import commit_shape, users
from fakegithub.shapes.repositories import html_url, present
from fakegithub.world.model import Activity, FakeApp, FakeIssue, FakeRepository, FakeUser
from fakegithub.world.world import World, timestamp

_MOST_COMMITS = 2048
_HEADS = "refs/heads/"


def push(
    world: World,
    repository: FakeRepository,
    ref: str,
    sha: str | None,
    pusher: FakeUser,
    app: FakeApp | None = None,
) -> None:
    """Point `ref` at `sha` (None deletes it) and tell everyone."""
    before = repository.git.ref(ref)
    repository.git.update_ref(ref, sha)
    landed(world, repository, ref, before, sha, pusher, app)


def landed(
    world: World,
    repository: FakeRepository,
    ref: str,
    before: str | None,
    after: str | None,
    pusher: FakeUser,
    app: FakeApp | None = None,
) -> None:
    """Tell everyone that `ref` moved; pull requests from and to the branch follow."""
    if before == after:
        return
    repository.pushed_at = repository.updated_at = world.now()
    if after is not None:
        repository.push_log[after] = pusher
    kind = _kind(repository, before, after)
    repository.activity.append(
        Activity(world.new_id(), ref, before, after, pusher, kind, world.now())
    )
    if before is None or after is None:
        _created_or_deleted(world, repository, ref, pusher, deleted=after is None)
    _emit(world, repository, ref, before, after, pusher)
    if not ref.startswith(_HEADS):
        return
    branch = ref.removeprefix(_HEADS)
    parent = repository.parent
    for issue in world.open_pulls(parent) if parent is not None else ():
        if parent is not None and issue.pull is not None and issue.pull.is_of(repository, branch):
            if after is not None:
                parent.push_log[after] = pusher
            _head_moved(world, parent, issue, after, pusher, app)
    for issue in world.open_pulls(repository):
        if issue.pull is not None and issue.pull.is_of(None, branch):
            _head_moved(world, repository, issue, after, pusher, app)
        elif issue.pull is not None and issue.pull.base_ref == branch:
            _base_moved(world, repository, issue, before, after, pusher, app)


def _kind(repository: FakeRepository, before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return "branch_creation" if before is None else "branch_deletion"
    return "push" if repository.git.is_ancestor(before, after) else "force_push"


def _created_or_deleted(
    world: World, repository: FakeRepository, ref: str, pusher: FakeUser, *, deleted: bool
) -> None:
    kind = "tag" if ref.startswith("refs/tags/") else "branch"
    payload: dict[str, Any] = {
        "ref": ref.split("/", 2)[-1], "ref_type": kind, "pusher_type": "user",
    }  # fmt: skip
    if not deleted:
        payload |= {
            "master_branch": repository.default_branch, "description": repository.description,
        }  # fmt: skip
    world.emit("delete" if deleted else "create", None, payload, repository=repository,
               sender=pusher)  # fmt: skip


def _emit(
    world: World,
    repository: FakeRepository,
    ref: str,
    before: str | None,
    after: str | None,
    pusher: FakeUser,
) -> None:
    git = repository.git
    commits: list[dict[str, Any]] = []
    forced = False
    if after is not None:
        known = [before] if before else [
            sha for name, sha in git.refs(_HEADS).items() if name != ref
        ]  # fmt: skip
        limits = [f"^{sha}" for sha in known if sha != after]
        new = git.rev_list("--reverse", "--topo-order", after, *limits)
        commits = [_commit(world, repository, sha) for sha in new[-_MOST_COMMITS:]]
        forced = before is not None and not git.is_ancestor(before, after)
    compare = (
        f"{html_url(world, repository)}/compare/{(before or ZERO)[:12]}...{(after or ZERO)[:12]}"
    )
    payload = {
        "ref": ref,
        "before": before or ZERO,
        "after": after or ZERO,
        "created": before is None,
        "deleted": after is None,
        "forced": forced,
        "base_ref": None,
        "compare": compare,
        "commits": commits,
        "head_commit": _commit(world, repository, after) if after else None,
        "pusher": {"name": pusher.login, "email": pusher.email},
        "repository": _in_push(world, repository),
    }
    world.emit("push", None, payload, repository=repository, sender=pusher, subjects=(ref, after))


def _in_push(world: World, repository: FakeRepository) -> dict[str, Any]:
    """Push payloads alone give these times as Unix seconds, and the owner's name and e-mail."""
    shape = present(world, repository)
    owner = {**users.present(world, repository.owner), "name": repository.owner.login,
             "email": None}  # fmt: skip
    return {
        **shape,
        "owner": owner,
        "created_at": int(repository.created_at.timestamp()),
        "pushed_at": int(repository.pushed_at.timestamp()),
        "master_branch": repository.default_branch,
        "stargazers": 0,
    }


def _commit(world: World, repository: FakeRepository, sha: str) -> dict[str, Any]:
    git, commit = repository.git, repository.git.commit(sha)
    names: dict[str, list[str]] = {"A": [], "D": [], "M": []}
    for path, status in git.name_status(sha).items():
        # Git's bytes need not be UTF-8; what goes out as JSON must be.
        names[status].append(path.encode(errors="surrogateescape").decode(errors="replace"))

    def person(name: str, email: str) -> dict[str, Any]:
        known = commit_shape.account(world, email)
        return {"name": name, "email": email} | ({"username": known.login} if known else {})

    return {
        "id": sha,
        "tree_id": commit.tree,
        "distinct": True,
        "message": commit.message.rstrip("\n"),
        "timestamp": timestamp(commit.committer.at),
        "url": f"{html_url(world, repository)}/commit/{sha}",
        "author": person(commit.author.name, commit.author.email),
        "committer": person(commit.committer.name, commit.committer.email),
        "added": names["A"],
        "removed": names["D"],
        "modified": names["M"],
    }


def _head_moved(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    after: str | None,
    pusher: FakeUser,
    app: FakeApp | None,
) -> None:
    pull = issue.pull
    if pull is None:
        return
    if after is None:
        history.note(world, issue, "head_ref_deleted", pusher, app=app)
        history.close(world, repository, issue, pusher, app=app)
        return
    before, pull.head_sha = pull.head_sha, after
    pull.base_sha = repository.git.branch(pull.base_ref) or pull.base_sha
    repository.git.update_ref(f"refs/pull/{issue.number}/head", after)
    if requirements.of(repository, pull.base_ref).dismiss_stale:
        for review in pull.reviews:
            if review.state == "APPROVED":
                review.state = "DISMISSED"
    issue.updated_at = world.now()
    history.tell(world, repository, issue, "synchronize", pusher, before=before, after=after)


def _base_moved(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    before: str | None,
    after: str | None,
    pusher: FakeUser,
    app: FakeApp | None,
) -> None:
    """A base that now contains the head means: merged elsewhere, with others or by hand.

    A base that is gone was a head that is merged: what it was merged into is the new base. Else
    the pull request is closed.
    https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges#indirect-merges
    https://docs.github.com/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/merging-a-pull-request
    """
    pull = issue.pull
    if pull is None:
        return
    if after is None:
        below = _merged_from(repository, pull.base_ref)
        if below is None:
            history.close(world, repository, issue, pusher, app=app)
        else:
            retarget(world, repository, issue, *below, pusher)
    elif repository.git.is_ancestor(pull.head_sha, after):
        pull.merged_indirectly = True
        sha = _brought_by(repository, pull.head_sha, before, after)
        mark_merged(world, repository, issue, sha, before or after, pusher, app)


def _merged_from(repository: FakeRepository, branch: str) -> tuple[str, str] | None:
    """The base, with its head, into which the last pull request from `branch` was merged."""
    for issue in reversed(repository.issues.values()):
        pull = issue.pull
        if pull is None or pull.merged_at is None:
            continue
        if pull.is_of(None, branch):
            sha = repository.git.branch(pull.base_ref)
            return None if sha is None else (pull.base_ref, sha)
    return None


def _brought_by(repository: FakeRepository, head: str, before: str | None, after: str) -> str:
    """The commit by which a push brought `head`: its own merge, if it has one.

    So a rolled-up pull request names the merge made when it was rolled up, and those of one
    octopus all name that: https://github.com/rust-lang/triagebot/issues/1842
    """
    git, new = repository.git, [after, *([f"^{before}"] if before else [])]
    for commit in git.commits(git.rev_list("--reverse", "--topo-order", "--merges", *new)):
        if head in commit.parents[1:]:
            return commit.sha
    for sha in git.rev_list("--reverse", "--first-parent", *new):
        if git.is_ancestor(head, sha):
            return sha
    return after


def retarget(
    world: World, repository: FakeRepository, issue: FakeIssue, base: str, sha: str, actor: FakeUser
) -> None:
    """Give an open pull request another base, whose head is `sha`, and tell everyone."""
    pull = issue.pull
    if pull is None:
        return
    before = {"ref": {"from": pull.base_ref}, "sha": {"from": pull.base_sha}}
    pull.base_ref, pull.base_sha = base, sha
    history.tell(world, repository, issue, "edited", actor, changes={"base": before})


def mark_merged(
    world: World,
    repository: FakeRepository,
    issue: FakeIssue,
    sha: str,
    onto: str,
    actor: FakeUser,
    app: FakeApp | None,
) -> None:
    """Record a merge as `sha` onto `onto`, then close the pull request."""
    pull = issue.pull
    if pull is None:
        return
    pull.merged_at, pull.merged_by, pull.merge_commit_sha = world.now(), actor, sha
    pull.merged_onto = onto
    pull.auto_merge = None
    history.note(world, issue, "merged", actor, app=app, commit_id=sha)
    history.close(world, repository, issue, actor, app=app)
