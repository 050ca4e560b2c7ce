"""Who the Founders of a repository are just now."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from bot.config import Config
from bot.github.client import RepositoryClient
from bot.names import is_among
from bot.triggers import Role


async def founders_of(
    client: RepositoryClient, config: Config, settled: Sequence[str]
) -> tuple[str, ...]:
    """Name the Founders: those configured, else those of the settings, else the admins.

    Whoever cannot write to the repository any more has left, and is no Founder. Nor is an agent
    that `self_work.authors` names, whatever else it is: the held do not decide.

    Args:
        client: the repository.
        config: as it counts.
        settled: `PLAYBOOKS_FOUNDERS` of the process.
    """
    named = config.founder.people or tuple(settled)
    agents = config.self_work.authors
    present = [
        login
        for login in named
        if not is_among(login, agents)
        and (await client.permissions.role_of(login)).at_least(Role.WRITE)
    ]
    if present:
        return tuple(present)
    admins = [user.login for user in await client.permissions.admins()]
    return tuple(login for login in admins if not is_among(login, agents))


def is_founder(login: str, founders: Sequence[str]) -> bool:
    """Tell whether a login is among them; GitHub's logins ignore case."""
    return login.lower() in {each.lower() for each in founders}


class Objection(StrEnum):
    """Why somebody's yes does not count."""

    NO_FOUNDER = "no founder"
    THEIR_OWN = "their own"
    """They asked for it themselves, and there is another Founder."""


def objection_to(login: str, founders: Sequence[str], *, asked_by: str) -> Objection | None:
    """Say why this person's yes to what `asked_by` asks for does not count; None if it does."""
    if not is_founder(login, founders):
        return Objection.NO_FOUNDER
    is_own = login.lower() == asked_by.lower()
    others = [each for each in founders if each.lower() != login.lower()]
    return Objection.THEIR_OWN if is_own and others else None
