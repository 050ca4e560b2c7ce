"""What people, and the App itself, may do here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from bot.github.models import User
from bot.github.transport.channel import Channel
from bot.triggers import Role

PERMISSION = "/repos/{owner}/{repo}/collaborators/{login}/permission"
COLLABORATORS = "/repos/{owner}/{repo}/collaborators"
_PERMISSIONS = {Role.READ: "pull", Role.WRITE: "push"}
"""What the list of collaborators calls two of the roles."""


class Permissions:
    """Rights, read from GitHub each time: never trust what an event said."""

    def __init__(
        self, channel: Channel, granted: Callable[[], Awaitable[Mapping[str, str]]]
    ) -> None:
        """Work through `channel`; `granted` gives the App's own permissions."""
        self._channel = channel
        self._granted = granted

    async def role_of(self, login: str) -> Role:
        """Give a person's role on the repository; unknown people have none.

        A custom role counts as the one it is built upon; what we have not heard of gives no right.
        """
        data = await self._channel.find(PERMISSION, login=login) or {}
        for named in (data.get("role_name"), data.get("permission")):
            try:
                return Role(str(named))
            except ValueError:
                continue
        return Role.NONE

    async def admins(self) -> tuple[User, ...]:
        """Give the people with the admin role: the Founders where none are configured."""
        return await self.people(Role.ADMIN)

    async def people(self, least: Role) -> tuple[User, ...]:
        """Give the people with at least this role.

        https://docs.github.com/rest/collaborators/collaborators#list-repository-collaborators
        """
        permission = _PERMISSIONS.get(least, str(least))
        found = self._channel.items(COLLABORATORS, query={"permission": permission})
        users = [User.model_validate(data) async for data in found]
        return tuple(user for user in users if not user.is_bot)

    async def granted(self) -> Mapping[str, str]:
        """Give what the App was granted, such as `{"contents": "write"}`."""
        return await self._granted()

    async def may(self, permission: str, level: str = "write") -> bool:
        """Tell whether the App was granted `permission` at `level` (read, write, admin)."""
        levels = ("read", "write", "admin")
        held = (await self.granted()).get(permission)
        return held in levels and levels.index(held) >= levels.index(level)
