"""What people, and the App itself, may do here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from bot.github.models import User
from bot.github.transport.channel import Channel
from bot.triggers import Role

PERMISSION = "/repos/{owner}/{repo}/collaborators/{login}/permission"
COLLABORATORS = "/repos/{owner}/{repo}/collaborators"


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

        A custom role counts as the one it is built upon.
        """
        data = await self._channel.find(PERMISSION, login=login)
        if data is None:
            return Role.NONE
        try:
            return Role(data.get("role_name") or data["permission"])
        except ValueError:
            return Role(data["permission"])

    async def admins(self) -> tuple[User, ...]:
        """Give the people with the admin role: the Founders where none are configured."""
        found = self._channel.items(COLLABORATORS, query={"permission": "admin"})
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
