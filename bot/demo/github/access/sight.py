"""Which repositories a caller may know of."""

from __future__ import annotations

from bot.demo.github.access.callers import Caller
from bot.demo.github.world.model import Repository
from bot.demo.github.world.world import covers
from bot.triggers import Role


def sees(caller: Caller, repository: Repository) -> bool:
    """Tell whether the caller may know that `repository` exists."""
    if caller.installation is not None:
        narrowed = caller.repositories is None or repository.id in caller.repositories
        return covers(caller.installation, repository) and narrowed
    if caller.kind == "person" and caller.user is not None:
        return repository.role_of(caller.user).at_least(Role.READ)
    return not repository.private
