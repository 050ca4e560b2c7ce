"""Founder and team notifications: what lies in the outbox goes out, to each address once.

Addresses are Apprise's (https://github.com/caronc/apprise), one of some 170 services each, and
secrets: they hold tokens. They never reach a log, a record or an error.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot import LazyModule
from bot.metrics import NOTIFICATIONS
from bot.records import incidents, notifications
from bot.records.notifications import FOUNDER, TEAM, Notification

if TYPE_CHECKING:
    import apprise
else:
    apprise = LazyModule("apprise")

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=5)
"""How long a message is one sender's."""
PAUSES = tuple(timedelta(minutes=m) for m in (1, 2, 5, 15, 30, 60, 120, 240, 480))
"""Time between the tries of a message that does not go out; after the last it is dead."""

MOST_APART = 3
"""So many messages that are due at once are sent one by one; more are one message."""
MOST_SHOWN = 10
"""Of those one message shows so many."""


class InvalidAddress(Exception):
    """An address cannot be used. The message names its place and never the address."""


@dataclass(frozen=True)
class Address:
    """Where messages go. `digest` tells it apart without giving it away."""

    audience: str
    url: str
    digest: str
    scheme: str

    def __repr__(self) -> str:
        """Show nothing that could be secret."""
        return f"Address({self.audience}, {self.scheme}, {self.digest})"


def read_addresses(entries: Sequence[str]) -> tuple[Address, ...]:
    """Read NOTIFY_URLS: Apprise addresses, for the Founder unless `team=` stands before them.

    Raises:
        InvalidAddress: one is none; says which, and never repeats it.
    """
    return tuple(_read(place, entry) for place, entry in enumerate(entries, start=1))


def _read(place: int, entry: str) -> Address:
    audience, separator, url = entry.partition("=")
    if not separator or audience not in (FOUNDER, TEAM):
        audience, url = FOUNDER, entry
    scheme = url.partition("://")[0]
    with _quiet():
        usable = apprise.Apprise.instantiate(url, suppress_exceptions=True) is not None
    if not usable:
        raise InvalidAddress(
            f"NOTIFY_URLS, address {place} is none that Apprise knows: write SERVICE://…, "
            "with founder= or team= before it"
        )
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Address(audience=audience, url=url, digest=digest, scheme=scheme)


def try_out(address: Address) -> bool:
    """Send a message that says it is a test; whether the service took it. Blocks."""
    words = "If you can read this, Incident Playbooks reaches you here. Nothing has happened."
    return _send(address.url, "A test", words)


class Courier:
    """Sends what is in the outbox. One per process; several share the work."""

    def __init__(
        self,
        records: AsyncEngine,
        addresses: Sequence[Address],
        *,
        clock: Callable[[], datetime],
        web_url: str,
        cockpit_url: str | None = None,
        every: timedelta = timedelta(seconds=5),
        longest: timedelta = timedelta(minutes=1),
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            records: where the outbox is.
            addresses: where messages go.
            clock: tells the time (UTC).
            web_url: GitHub's web address, for links.
            cockpit_url: where people reach the cockpit, where that is known.
            every: time between two looks.
            longest: how long a service has for its answer.
        """
        self._records = records
        self._addresses = tuple(addresses)
        self._clock = clock
        self._web = web_url.rstrip("/")
        self._cockpit = cockpit_url
        self._every = every
        self._longest = longest
        self._unanswered: dict[str, asyncio.Task[bool]] = {}

    async def run(self) -> None:
        """Work until cancelled. A database that is away for a while only delays the work."""
        while True:
            try:
                while await self.deliver_some():
                    pass
            except Exception:
                log.exception("notifications could not be looked after; trying again")
            await asyncio.sleep(self._every.total_seconds())

    async def deliver_some(self) -> int:
        """Send some of what is due; how many messages were taken up."""
        now = self._clock()
        async with self._records.begin() as conn:
            claimed = await notifications.claim(conn, at=now, until=now + LEASE)
        for audience in dict.fromkeys(each.audience for each in claimed):
            due = [each for each in claimed if each.audience == audience]
            # A thousand alerts at once are no thousand calls.
            for some in [due] if len(due) > MOST_APART else [[each] for each in due]:
                await self._deliver(audience, some)
        return len(claimed)

    async def _deliver(self, audience: str, messages: Sequence[Notification]) -> None:
        """Send messages to an audience, several of them as one."""
        addresses = [each for each in self._addresses if each.audience == audience]
        if not addresses:
            reason = f"NOTIFY_URLS names no address for the {audience}"
            async with self._records.begin() as conn:
                for each in messages:
                    await notifications.suppressed(conn, each.id, at=self._clock(), reason=reason)
            return
        reached = {each.id: list(each.delivered) for each in messages}
        failed: dict[str, list[str]] = {each.id: [] for each in messages}
        for address in addresses:
            left = [each for each in messages if address.digest not in reached[each.id]]
            if not left:
                continue
            is_taken = await self._send(address, *await self._text(left))
            for each in left:
                (reached[each.id].append(address.digest) if is_taken
                 else failed[each.id].append(address.scheme))  # fmt: skip
            async with self._records.begin() as conn:
                for each in left if is_taken else ():
                    await notifications.delivered(conn, each.id, tuple(reached[each.id]))
        for each in messages:
            await self._settle(each, failed[each.id])

    async def _send(self, address: Address, title: str, body: str) -> bool:
        """Send to one address; False where it did not take it, or not in time.

        An answer that never ends holds up no other address, and is waited for once.
        """
        if address.digest in self._unanswered:
            return False
        sending = asyncio.create_task(asyncio.to_thread(_send, address.url, title, body))
        if (await asyncio.wait([sending], timeout=self._longest.total_seconds()))[0]:
            return sending.result()
        self._unanswered[address.digest] = sending
        sending.add_done_callback(lambda _: self._unanswered.pop(address.digest))
        return False

    async def _text(self, messages: Sequence[Notification]) -> tuple[str, str]:
        """The title and body of one message, or of several at once."""
        bodies = [await self._body(each) for each in messages[:MOST_SHOWN]]
        if len(messages) == 1:
            return messages[0].title, bodies[0]
        shown = [f"{m.title}: {body}" for m, body in zip(messages, bodies, strict=False)]
        if more := len(messages) - len(shown):
            shown.append(f"And {more} more{f': {self._cockpit}/ui/' if self._cockpit else '.'}")
        return f"{len(messages)} incidents at once", "\n\n".join(shown)

    async def _settle(self, message: Notification, failed: Sequence[str]) -> None:
        now = self._clock()
        async with self._records.begin() as conn:
            if not failed:
                await notifications.sent(conn, message.id, at=now)
                NOTIFICATIONS.labels("sent").inc()
                return
            tries = message.attempts
            again = now + PAUSES[tries - 1] if tries <= len(PAUSES) else None
            services = ", ".join(sorted(set(failed)))
            await notifications.failed(
                conn,
                message.id,
                at=now,
                reason=f"not accepted by {services} (attempt {tries})",
                again_at=again,
            )
        NOTIFICATIONS.labels("given up" if again is None else "failed").inc()
        log.warning("a notification did not go out", services=services, again=str(again))

    async def _body(self, message: Notification) -> str:
        """The message with links to the incident's page and its issue, where they are by now."""
        # Titles are anybody's words: in most chats `@everyone` would call everyone.
        said = message.body.replace("@", "@\u200b")
        if message.incident_id is None:
            return said
        links = []
        if self._cockpit is not None:
            links.append(f"{self._cockpit}/ui/incidents/{message.incident_id}")
        async with self._records.connect() as conn:
            incident = await incidents.find(conn, message.incident_id)
        if incident is not None and incident.issue is not None:
            links.append(f"{self._web}/{incident.repository}/issues/{incident.issue}")
        parts = [said]
        if incident is not None and not incident.is_open:
            parts.append(f"It is over by now: {incident.status}.")
        return "\n\n".join([*parts, *(["\n".join(links)] if links else [])])


def _send(url: str, title: str, body: str) -> bool:
    """Send one message; whether the service took it. Blocks."""
    with _quiet():
        # What follows a redirect is asked for without the message, and may well answer 200.
        asset = apprise.AppriseAsset(http_redirects=False)
        service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if service is None:
            return False
        try:
            return bool(service.notify(body=body, title=title, body_format="text"))
        except Exception:
            # Whatever a service's code raises may hold its address.
            return False


class _quiet:  # noqa: N801  reads as what it does
    """Nothing of Apprise and its HTTP library is logged: their messages hold parts of addresses."""

    def __enter__(self) -> None:
        for name in ("apprise", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
            logging.getLogger(f"{name}.connectionpool").setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        """Leave it quiet: other threads may be sending."""
