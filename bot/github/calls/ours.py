"""Recognizing what the App itself wrote: anyone can copy a hidden marker."""

from __future__ import annotations

import asyncio

from bot.github.models import App, User
from bot.github.transport.channel import Channel


class Ourselves:
    """The App as GitHub describes it, read once."""

    def __init__(self, as_app: Channel) -> None:
        """Ask through `as_app`, signed by the App's JWT."""
        self._channel = as_app
        self._app: App | None = None
        self._lock = asyncio.Lock()

    async def app(self) -> App:
        """Give the App's id, slug and name."""
        async with self._lock:
            if self._app is None:
                self._app = App.model_validate(await self._channel.get("/app"))
            return self._app

    async def login(self) -> str:
        """Give the login our comments appear under, such as `playbooks[bot]`."""
        return (await self.app()).bot_login

    async def wrote(self, user: User) -> bool:
        """Tell whether `user` is the App."""
        return user.login == await self.login()
