"""What the App itself is, where it is installed, and what was delivered to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cachetools import LRUCache

from bot.github.calls.activity import ActivitySeen, read_activity
from bot.github.models import App, DeliveryAttempt, Installation, User
from bot.github.transport.channel import Channel
from bot.triggers import Repository

KEPT_BY_GITHUB = timedelta(days=3)
"""How long a delivery can be looked at, and asked for again."""


class Ourselves:
    """The App as GitHub describes it, read once."""

    def __init__(self, as_app: Channel) -> None:
        """Ask through `as_app`, signed by the App's JWT."""
        self._channel = as_app
        self._app: App | None = None
        self._lock = asyncio.Lock()

    def remember(self, app: App) -> None:
        """Take this for the App until GitHub says otherwise."""
        self._app = self._app or app

    async def app(self, *, ask: bool = False) -> App:
        """Give the App's id, slug and name; `ask` where what is remembered does not do."""
        async with self._lock:
            if self._app is None or ask:
                self._app = App.model_validate(await self._channel.get("/app"))
            return self._app

    async def login(self) -> str:
        """Give the login our comments appear under, such as `playbooks[bot]`."""
        return (await self.app()).bot_login

    async def wrote(self, user: User) -> bool:
        """Tell whether `user` is the App."""
        return user.login == await self.login()


DELIVERIES = "/app/hook/deliveries"


class Deliveries:
    """The App's webhook deliveries of the last three days."""

    def __init__(self, as_app: Channel) -> None:
        """Ask through `as_app`, signed by the App's JWT."""
        self._channel = as_app

    async def failed(self, since: datetime) -> tuple[DeliveryAttempt, ...]:
        """Give the events since then of which no attempt was taken, oldest first.

        GitHub keeps deliveries for three days. Each event is given once: its latest attempt.
        Where nothing failed, this is one request.
        """
        failed: dict[str, DeliveryAttempt] = {}
        for delivery in await self._since(since, status="failure"):
            failed.setdefault(delivery.guid, delivery)
        if failed:
            first = min(delivery.delivered_at for delivery in failed.values())
            for delivery in await self._since(first, status="success"):
                failed.pop(delivery.guid, None)
        return tuple(
            sorted(failed.values(), key=lambda delivery: (delivery.delivered_at, delivery.id))
        )

    async def _since(self, since: datetime, *, status: str) -> list[DeliveryAttempt]:
        """List attempts, newest first; what each one says is checked against GitHub's filter.

        An older release does not know the filter (`releases.DELIVERY_STATUS`).
        """
        found = []
        async for data in self._channel.items(DELIVERIES, query={"status": status}):
            delivery = DeliveryAttempt.model_validate(data)
            if delivery.delivered_at < since:
                break
            if delivery.is_ok == (status == "success") and delivery.status != "pending":
                found.append(delivery)
        return found

    async def address(self) -> str:
        """Tell where GitHub sends them; empty where the App's webhook has no address."""
        return str((await self._channel.get("/app/hook/config")).get("url") or "")

    async def latest(self, most: int) -> DeliveryAttempt | None:
        """Give the newest one that was answered or lost, among the newest `most`."""
        data = await self._channel.get(DELIVERIES, query={"per_page": most})
        found = (DeliveryAttempt.model_validate(each) for each in data)
        return next((each for each in found if each.status != "pending"), None)

    async def sent(self, delivery_id: int) -> Mapping[str, Any]:
        """Give the `headers` and the `payload` of one attempt."""
        found = await self._channel.get(f"{DELIVERIES}/{{delivery_id}}", delivery_id=delivery_id)
        request: Mapping[str, Any] = found["request"]
        return request

    async def redeliver(self, delivery: DeliveryAttempt) -> None:
        """Have GitHub send it again; the new attempt keeps the event's delivery id."""
        # Sent twice it only arrives twice, and the inbox takes each delivery id once.
        await self._channel.post(
            f"{DELIVERIES}/{{delivery_id}}/attempts", repeatable=True, delivery_id=delivery.id
        )


class Installations:
    """The App's installations."""

    def __init__(
        self, as_app: Channel, ourselves: Ourselves, as_installation: Callable[..., Channel]
    ) -> None:
        """Ask through `as_app`; list repositories as each installation."""
        self._channel = as_app
        self._ourselves = ourselves
        self._as_installation = as_installation
        self.node_ids: LRUCache[int, str] = LRUCache(100_000)
        """GraphQL's ids of the repositories that were listed."""

    async def activity(
        self, repositories: Sequence[Repository], *, config_path: str, records_branch: str
    ) -> ActivitySeen:
        """Look at repositories of one installation, at most a hundred, in one request.

        Those that no list has named yet, and those that cannot be seen, are left out.
        """
        ids = [self.node_ids[each.id] for each in repositories if each.id in self.node_ids]
        if not ids:
            return ActivitySeen({}, 0, 5000)
        channel = self._as_installation(
            repositories[0].installation_id, playbook="missed deliveries"
        )
        return await read_activity(
            channel, ids, config_path=config_path, records_branch=records_branch
        )

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
            self.node_ids[data["id"]] = data["node_id"]
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
