"""Who the Founders of a repository are just now."""

from __future__ import annotations

from collections.abc import Sequence

from bot.config import Config
from bot.github.client import RepositoryClient
from bot.triggers import Role


async def founders_of(
    client: RepositoryClient, config: Config, settled: Sequence[str]
) -> tuple[str, ...]:
    """Name the Founders: those configured, else those of the settings, else the admins.

    Whoever cannot write to the repository any more has left, and is no Founder.

    Args:
        client: the repository.
        config: as it counts.
        settled: `PLAYBOOKS_FOUNDERS` of the process.
    """
    named = config.founder.people or tuple(settled)
    present = [
        login for login in named if (await client.permissions.role_of(login)).at_least(Role.WRITE)
    ]
    return tuple(present) or tuple(user.login for user in await client.permissions.admins())


def is_founder(login: str, founders: Sequence[str]) -> bool:
    """Tell whether a login is among them; GitHub's logins ignore case."""
    return login.lower() in {each.lower() for each in founders}
