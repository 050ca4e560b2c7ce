"""What every webhook payload carries beside what happened: where it happened, and who did it."""

from __future__ import annotations

from typing import Any

from fakegithub.shapes import repositories, users
from fakegithub.world.model import FakeRepository, FakeUser
from fakegithub.world.world import World


def envelope(world: World, repository: FakeRepository | None, sender: FakeUser) -> dict[str, Any]:
    """`repository`, `organization` and `sender` as GitHub adds them to a payload.

    Args:
        world: gives the address that links begin with.
        repository: where it happened; None leaves it and its organization out.
        sender: who did it.
    """
    whole: dict[str, Any] = {}
    if repository is not None:
        whole["repository"] = repositories.present(world, repository)
        if repository.owner.type == "Organization":
            whole["organization"] = users.present_organization(world, repository.owner)
    whole["sender"] = users.present(world, sender)
    return whole
