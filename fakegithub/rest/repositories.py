"""Repositories. https://docs.github.com/rest/repos/repos."""

from __future__ import annotations

from fakegithub.access.answers import Answer, RequestRefused, invalid, not_found
from fakegithub.changes import forks
from fakegithub.git.bare import ZERO
from fakegithub.rest.calls import Call, Routes
from fakegithub.shapes import users
from fakegithub.shapes.repositories import present_full
from fakegithub.world.roles import RoleName
from fakegithub.world.world import node_id, timestamp

routes = Routes()


_SETTINGS = (
    "allow_merge_commit",
    "allow_squash_merge",
    "allow_rebase_merge",
    "allow_auto_merge",
    "allow_update_branch",
    "delete_branch_on_merge",
    "archived",
    "description",
    "has_issues",
    "private",
)


@routes.get("/repos/{owner}/{repo}", app="metadata=read")
def get_repository(call: Call) -> Answer:
    """One repository."""
    return Answer(200, present_full(call.world, call.repository, call.role()))


@routes.patch("/repos/{owner}/{repo}", app="administration=write", person=RoleName.ADMIN)
def update_repository(call: Call) -> Answer:
    """Settings; a new `name` renames, and the old name redirects from then on."""
    repository, body = call.repository, call.body
    if "default_branch" in body:
        if repository.git.branch(body["default_branch"]) is None:
            raise invalid("Repository", "default_branch")
        repository.default_branch = body["default_branch"]
        repository.git.run("symbolic-ref", "HEAD", f"refs/heads/{repository.default_branch}")
    for setting in _SETTINGS:
        if setting in body:
            setattr(repository, setting, body[setting])
    if body.get("name", repository.name) != repository.name:
        rename(call, str(body["name"]))
    repository.updated_at = call.world.now()
    return Answer(200, present_full(call.world, repository, call.role()))


@routes.post("/repos/{owner}/{repo}/forks", person=RoleName.READ)
def create_fork(call: Call) -> Answer:
    """The caller's own fork, where they may push; the one they have, if they have one.

    https://docs.github.com/rest/repos/forks#create-a-fork
    """
    if call.repository.owner is call.user:
        raise RequestRefused(403, "A repository cannot be forked into the account it is in.")
    fork = forks.fork(call.world, call.repository, call.user, call.body.get("name"))
    return Answer(202, present_full(call.world, fork, fork.role_of(call.user)))


@routes.get("/repos/{owner}/{repo}/forks", app="metadata=read")
def list_forks(call: Call) -> Answer:
    """Its forks, newest first."""
    found = reversed(call.repository.forks)
    shapes = [present_full(call.world, each, RoleName.READ) for each in found]
    return call.page(shapes)


def rename(call: Call, name: str) -> None:
    """Give the repository another name; the former one keeps leading here."""
    repository, former = call.repository, call.repository.name
    if call.world.repository(repository.owner.login, name) not in (None, repository):
        raise invalid("Repository", "name", "name already exists on this account")
    call.world.renamed[repository.full_name.lower()] = repository.id
    repository.name = name
    call.world.emit(
        "repository", "renamed", {"changes": {"repository": {"name": {"from": former}}}},
        repository=repository, sender=call.user, subjects=(repository,),
    )  # fmt: skip


@routes.get("/repos/{owner}/{repo}/activity", app="contents=read")
def list_activity(call: Call) -> Answer:
    """Who moved which branch, newest first; the query's `ref` narrows it to one.

    GitHub Enterprise Server knows it since 3.11.
    https://docs.github.com/enterprise-server@3.11/rest/repos/repos#list-repository-activities
    """
    if not call.repository.tells_activity or not call.repository.knows_since(3, 11):
        raise not_found()
    wanted, actor = call.query.get("ref"), call.query.get("actor")
    moves = [each for each in call.repository.activity if each.ref.startswith("refs/heads/")]
    if wanted:
        moves = [each for each in moves if wanted in (each.ref, each.ref[len("refs/heads/") :])]
    if actor:
        moves = [each for each in moves if each.actor and each.actor.login.lower() == actor.lower()]
    shapes = [
        {
            "id": each.id,
            "node_id": node_id("Activity", str(each.id)),
            "before": each.before or ZERO,
            "after": each.after or ZERO,
            "ref": each.ref,
            "timestamp": timestamp(each.at),
            "activity_type": each.kind,
            "actor": users.present(call.world, each.actor),
        }
        for each in reversed(moves)
    ]
    return call.page(shapes)


@routes.get("/installation/repositories", app="metadata=read", person=None)
def list_installation_repositories(call: Call) -> Answer:
    """Every repository the calling installation token can see."""
    caller = call.caller
    seen = [
        repository
        for repository in call.world.repositories.values()
        if caller.installation in set(call.world.installations_on(repository))
        and (caller.repositories is None or repository.id in caller.repositories)
    ]
    answer = call.page(seen, wrap="repositories")
    answer.body["repositories"] = [
        present_full(call.world, each, RoleName.NONE) for each in answer.body["repositories"]
    ]
    selection = "all" if caller.installation and caller.installation.repositories is None else None
    answer.body["repository_selection"] = selection or "selected"
    return answer
