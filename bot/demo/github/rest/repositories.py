"""Repositories. https://docs.github.com/rest/repos/repos."""

from __future__ import annotations

from bot.demo.github.access.answers import Answer, invalid
from bot.demo.github.rest.calls import Call, Routes
from bot.demo.github.shapes.repositories import present_full
from bot.triggers import Role

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
    "private",
)


@routes.get("/repos/{owner}/{repo}", app="metadata=read")
def get_repository(call: Call) -> Answer:
    """One repository."""
    return Answer(200, present_full(call.world, call.repository, call.role()))


@routes.patch("/repos/{owner}/{repo}", app="administration=write", person=Role.ADMIN)
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


@routes.get("/installation/repositories", app="metadata=read", person=None)
def list_installation_repositories(call: Call) -> Answer:
    """Every repository the calling installation token can see."""
    caller = call.caller
    seen = [
        present_full(call.world, repository, Role.NONE)
        for repository in call.world.repositories.values()
        if caller.installation in set(call.world.installations_on(repository))
        and (caller.repositories is None or repository.id in caller.repositories)
    ]
    answer = call.page(seen, wrap="repositories")
    selection = "all" if caller.installation and caller.installation.repositories is None else None
    answer.body["repository_selection"] = selection or "selected"
    return answer
