"""Where the App is installed, and which repositories it sees there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from bot.github.calls.ours import Ourselves
from bot.github.models import App, Installation
from bot.github.transport.channel import Channel
from bot.triggers import Repository


class Installations:
    """The App's installations."""

    def __init__(
        self, as_app: Channel, ourselves: Ourselves, as_installation: Callable[[int], Channel]
    ) -> None:
        """Ask through `as_app`; list repositories as each installation."""
        self._channel = as_app
        self._ourselves = ourselves
        self._as_installation = as_installation

    async def app(self) -> App:
        """Give the App itself."""
        return await self._ourselves.app()

    async def list(self) -> AsyncIterator[Installation]:
        """List the installations."""
        async for data in self._channel.items("/app/installations"):
            yield Installation.model_validate(data)

    async def get(self, installation_id: int) -> Installation:
        """Read one installation, with its permissions and events.

        Raises:
            NotFound: If the App was removed.
        """
        route = "/app/installations/{installation_id}"
        return Installation.model_validate(
            await self._channel.get(route, installation_id=installation_id)
        )

    async def repositories(self, installation_id: int) -> AsyncIterator[Repository]:
        """List the repositories one installation sees."""
        channel = self._as_installation(installation_id)
        async for data in channel.items("/installation/repositories", key="repositories"):
            yield Repository(
                id=data["id"],
                owner=data["owner"]["login"],
                name=data["name"],
                installation_id=installation_id,
            )

    async def find_repository(self, owner: str, name: str) -> Repository | None:
        """Find a repository by name; None if the App is not installed on it."""
        data = await self._channel.find(
            "/repos/{owner}/{repo}/installation", owner=owner, repo=name
        )
        if data is None:
            return None
        channel = self._as_installation(data["id"])
        about = await channel.find("/repos/{owner}/{repo}", owner=owner, repo=name)
        if about is None:
            return None
        return Repository(
            id=about["id"],
            owner=about["owner"]["login"],
            name=about["name"],
            installation_id=data["id"],
        )
