"""Which repositories a caller may know of."""

from __future__ import annotations

from fakegithub.access.callers import Caller
from fakegithub.world.model import FakeRepository
from fakegithub.world.roles import RoleName
from fakegithub.world.world import covers


def sees(caller: Caller, repository: FakeRepository) -> bool:
    """Tell whether the caller may know that `repository` exists."""
    if caller.installation is not None:
        narrowed = caller.repositories is None or repository.id in caller.repositories
        return covers(caller.installation, repository) and narrowed
    if caller.kind == "person" and caller.user is not None:
        return repository.role_of(caller.user).at_least(RoleName.READ)
    return not repository.private
