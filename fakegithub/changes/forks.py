"""Forks: repositories of others that began as copies, and share their objects with the first.

https://docs.github.com/pull-requests/collaborating-with-pull-requests/working-with-forks/about-forks
"""

from __future__ import annotations

from fakegithub.shapes.repositories import present
from fakegithub.world.model import FakeRepository, FakeUser
from fakegithub.world.world import World


def fork(
    world: World, parent: FakeRepository, owner: FakeUser, name: str | None = None
) -> FakeRepository:
    """Make an account's fork, or give the one it has."""
    for known in parent.forks:
        if known.owner is owner:
            return known
    identity, now = world.new_id(), world.now()
    git = parent.git.fork(world.root / f"{identity}.git")
    made = FakeRepository(
        identity, owner, name or parent.name, git, now, now, now, parent.default_branch,
        private=parent.private, plan=parent.plan, has_issues=False, parent=parent,
    )  # fmt: skip
    world.repositories[identity] = made
    world.emit(
        "fork", None, {"forkee": present(world, made)},
        repository=parent, sender=owner, subjects=(made,),
    )  # fmt: skip
    return made
