"""Deliveries by hand: replayed from a file, asked for again, and taken without a public address."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from bot.errors import Passing
from bot.github.calls.app import KEPT_BY_GITHUB
from bot.github.client import GitHub
from bot.github.transport.http import new_session
from bot.settings import Settings
from bot.wiring.readings import github_of

_HEADERS = ("x-github-event", "x-github-delivery", "x-hub-signature-256", "content-type")
_LONGEST_LINE = 32 * 1024 * 1024
_NOBODY = 599


async def deliver(
    settings: Settings, event: str, payload: bytes, url: str | None
) -> tuple[int, str]:
    """Sign a payload as GitHub would and post it to the bot; its status and answer.

    Args:
        settings: with the webhook secret that signs it, and the bot's own address.
        event: what GitHub calls it, such as `issue_comment`.
        payload: the JSON that is posted, byte for byte.
        url: where the bot listens, without a path; None takes the address of the settings.

    Returns:
        The HTTP status and the text of the answer; 599 and why where nobody answers.
    """
    secret = settings.github_webhook_secret[0].get_secret_value().encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": "sha256=" + hmac.new(secret, payload, hashlib.sha256).hexdigest(),
    }
    return await _post(url or settings.public_url, headers, payload)


async def _post(bot: str, headers: dict[str, str], payload: bytes) -> tuple[int, str]:
    target = f"{bot.rstrip('/')}/webhooks/github"
    try:
        async with (
            new_session(30.0) as session,
            session.post(target, data=payload, headers=headers) as answer,
        ):
            return answer.status, await answer.text()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return _NOBODY, f"No bot answers at {target}: {str(error) or 'it does not answer in time'}"


async def redeliver_failed(settings: Settings) -> list[str]:
    """Have GitHub send again what failed in the last three days; one line for each."""
    async with github_of(settings) as github:
        failed = await github.deliveries.failed(datetime.now(UTC) - KEPT_BY_GITHUB)
        for delivery in failed:
            await github.deliveries.redeliver(delivery)
        return [f"{each.delivered_at:%Y-%m-%d %H:%M} {each.event} {each.guid}" for each in failed]


class Listener:
    """Takes deliveries that GitHub cannot hand over, and hands them to the bot that runs here.

    A delivery that the bot has not taken is handed over again; one that it had already, it takes
    once.
    """

    def __init__(self, settings: Settings, bot: str, say: Callable[[str], None]) -> None:
        """Hand over to the bot at `bot`; `say` tells the terminal."""
        self._settings, self._bot, self._say = settings, bot, say
        self._taken: set[str] = set()

    async def ask_github(self, every: float) -> None:
        """Look for deliveries that failed, until cancelled; `every` is in seconds.

        GitHub lists what it could not hand over, with what it would have sent:
        https://docs.github.com/rest/apps/webhooks#get-a-delivery-for-an-app-webhook
        """
        since = datetime.now(UTC) - timedelta(minutes=5)
        async with github_of(self._settings) as github:
            while True:
                try:
                    for each in await github.deliveries.failed(since):
                        if each.guid not in self._taken:
                            await self._hand_over(github, each.id)
                except Passing as away:
                    self._say(f"GitHub does not answer, trying again: {away}")
                await asyncio.sleep(every)

    async def _hand_over(self, github: GitHub, delivery: int) -> None:
        sent = await github.deliveries.sent(delivery)
        payload = _body_of(sent["payload"])
        secret = self._settings.github_webhook_secret[0].get_secret_value().encode()
        # What GitHub lists is what it meant, not the bytes that it signed.
        signature = "sha256=" + hmac.new(secret, payload, hashlib.sha256).hexdigest()
        given = {name.lower(): str(value) for name, value in sent["headers"].items()}
        given |= {"x-hub-signature-256": signature, "content-type": "application/json"}
        await self._pass_on(given, payload)

    async def read_relay(self, relay: str) -> None:
        """Read a smee-compatible relay, until cancelled; it reconnects when it is cut off.

        Such a relay sends server-sent events whose data is the delivery's headers in lower case,
        its `body`, and perhaps `rawBody` (https://github.com/probot/smee-client). Nothing of it is
        trusted: the bot checks GitHub's own signature.
        """
        pause = 1.0
        while True:
            try:
                async with (
                    new_session(120.0, read_bufsize=2**20) as session,
                    session.get(
                        relay,
                        headers={"Accept": "text/event-stream"},
                        timeout=aiohttp.ClientTimeout(total=None, sock_read=120),
                    ) as answer,
                ):
                    answer.raise_for_status()
                    self._say(f"reading {relay}")
                    pause = 1.0
                    async for data in _events(answer.content):
                        await self._relayed(data)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self._say(f"{relay} is away, trying again: {error}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30.0)

    async def _relayed(self, data: str) -> None:
        try:
            sent = json.loads(data)
        except ValueError:
            return
        if not isinstance(sent, dict) or "x-github-event" not in sent:
            return
        raw, body = sent.get("rawBody"), sent.get("body")
        payload = raw.encode() if isinstance(raw, str) else _body_of(body)
        headers = {name: str(sent[name]) for name in _HEADERS if name in sent}
        await self._pass_on(headers | {"content-type": "application/json"}, payload)

    async def _pass_on(self, headers: dict[str, str], payload: bytes) -> None:
        named = {name: value for name, value in headers.items() if name in _HEADERS}
        event, guid = named.get("x-github-event", ""), named.get("x-github-delivery", "")
        status, answer = await _post(self._bot, named, payload)
        self._say(f"{event} {guid}: {status} {answer.strip()[:200]}")
        if status < 500:
            self._taken.add(guid)


def _body_of(sent: Any) -> bytes:
    """The body as GitHub writes it."""
    return json.dumps(sent, separators=(",", ":"), ensure_ascii=False).encode()


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[str]:
    """The data of each server-sent event (https://html.spec.whatwg.org/#server-sent-events)."""
    lines: list[str] = []
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise ValueError("a line of the relay is longer than any delivery")
        for line in (each.rstrip(b"\r").decode("utf-8", "replace") for each in whole):
            if line.startswith("data:"):
                lines.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and lines:
                yield "\n".join(lines)
                lines = []


async def listen(
    settings: Settings, *, relay: str | None, bot: str, every: float, say: Callable[[str], None]
) -> None:
    """Take deliveries without a public address, until cancelled.

    Args:
        settings: with the App's key and the webhook secret.
        relay: the address of a smee-compatible relay; None asks GitHub.
        bot: where the bot listens.
        every: seconds between two looks at GitHub.
        say: tells the terminal, a line each.
    """
    listener = Listener(settings, bot, say)
    if relay is not None:
        await listener.read_relay(relay)
    say(f"asking GitHub every {every:g} s for what it could not deliver, for the bot at {bot}")
    await listener.ask_github(every)
