"""`POST /webhooks/github`: check the signature, understand, store what asks for action, answer.

Nothing is worked on here. GitHub waits ten seconds and never retries by itself, so a delivery is
answered as soon as its Triggers are on disk.
https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import structlog
from aiohttp import web
from gidgethub import BadRequest, ValidationFailure
from gidgethub.routing import Router
from gidgethub.sansio import Event, validate_event
from prometheus_client import CollectorRegistry, Counter
from pydantic_core import from_json, to_json

from bot import tracing
from bot.intake import event_payloads, event_triggers
from bot.intake.event_payloads import CommentPosted, Hint, Meaning, NothingAsked, OurApp
from bot.intake.events import EVENTS, READERS, Delivery, Reader, at_a_glance
from bot.intake.http.bodies import STRANGERS, TooLarge, read_body
from bot.intake.http.problems import RETRY_AFTER_S
from bot.intake.inbox import Inbox
from bot.logs import Few
from bot.metrics import ANSWERED
from bot.records.outages import outage_of
from bot.triggers import Repository, Trigger

log = structlog.get_logger(__name__)

LARGEST_BODY = 25 * 1024 * 1024
"""GitHub's own cap on a payload, in bytes."""

PATIENCE = timedelta(seconds=7)
"""How long a delivery waits for a database that is away; GitHub hangs up after ten seconds."""

_TRY_AGAIN_S = 0.5
_JSON = "application/json"
_TYPES = (_JSON, "application/x-www-form-urlencoded")
_UNREADABLE = "the body is not UTF-8 JSON, or a form with a `payload`"
_EVENT = re.compile(r"[a-z0-9_]{1,60}")
_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")
_TURNED_AWAY = NothingAsked("by somebody without write access, who is answered there")
_NOT_USED = "event not used"
_NO_MATCH = "the signature does not match the webhook secret"
_DELIVERY = re.compile(r"[A-Za-z0-9_-]{1,80}")


class DeliveryRefused(Exception):
    """A delivery that is answered with an error; the message goes to whoever sent it."""

    def __init__(self, status: int, message: str) -> None:
        """Say why, and with which HTTP status."""
        super().__init__(message)
        self.status = status


class Webhooks:
    """Receives GitHub's deliveries."""

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        us: Callable[[], OurApp | None],
        inbox: Inbox,
        wake: Callable[[Hint], Awaitable[None]],
        clock: Callable[[], datetime],
        registry: CollectorRegistry,
        patience: timedelta = PATIENCE,
        turns_away: Callable[[CommentPosted], bool] = lambda _: False,
        at_github: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        """Prepare the handler.

        Args:
            secrets: the webhook secret, and the former one while it is being rotated.
            us: our App, once it is known; what it does itself is never listened to.
            inbox: stores Triggers.
            wake: told of every Hint; quick, and its failure does not fail the delivery.
            clock: tells the time (UTC).
            registry: where deliveries are counted.
            patience: how long a delivery waits for a database that is away.
            turns_away: tells, at once and from memory, which comments need not be read.
            at_github: the time by GitHub's clock, once it is known.

        Raises:
            ValueError: there is no secret, so anybody could forge deliveries.
        """
        self._secrets = [secret for secret in secrets if secret]
        if not self._secrets:
            raise ValueError("GITHUB_WEBHOOK_SECRET is not set: refusing to take unsigned events")
        self._us = us
        self._inbox = inbox
        self._wake = wake
        self._clock = clock
        self._patience = patience
        self._turns_away = turns_away
        self._at_github = at_github
        self._refusals = Few()
        # Bound once: of nearly every delivery there is a line that nobody wants.
        self._log = log.bind()
        self._router = Router()
        for event, reader in READERS:
            self._router.add(partial(_read, reader), event)
        self._deliveries = Counter(
            "playbooks_deliveries",
            "Webhook deliveries received, by event and by what came of them",
            ("event", "outcome"),
            registry=registry,
        )

    def routes(self) -> list[web.RouteDef]:
        """Return the one route; any other method on it is answered 405."""
        return [web.post("/webhooks/github", self.receive)]

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one delivery: 202 if something was asked for, 200 if not, 4xx if refused.

        500 where a handler broke: what the others found is done, and GitHub counts it as failed,
        so it is asked for again.
        """
        began = time.perf_counter()
        try:
            return await self._receive(request)
        finally:
            ANSWERED.observe(time.perf_counter() - began)

    async def _receive(self, request: web.Request) -> web.Response:
        name = request.headers.get("X-GitHub-Event", "")
        counted = name if name in EVENTS else "other"
        try:
            event, body = await self._read(request, name)
        except DeliveryRefused as refused:
            self._deliveries.labels(counted, f"refused {refused.status}").inc()
            self._refusals.info(
                "a delivery was refused",
                # Of what is not signed at all, no more is printed than an id may be long.
                delivery=request.headers.get("X-GitHub-Delivery", "")[:80],
                kind=counted,
                status=refused.status,
                why=str(refused),
                remote=request.remote,
            )
            return web.json_response({"error": str(refused)}, status=refused.status)
        if event is None:
            said = {"pong": True} if name == "ping" else {"nothing": _NOT_USED}
            outcome = "ping" if name == "ping" else f"nothing: {_NOT_USED}"
            self._deliveries.labels(counted, outcome).inc()
            return web.json_response(said)
        understood, is_whole = await self._understood(event, body)
        found = [
            _TURNED_AWAY if isinstance(each, CommentPosted) and self._turns_away(each) else each
            for each in understood
        ]
        if is_whole and all(isinstance(each, NothingAsked) for each in found):
            return self._asks_for_nothing(counted, found)
        with structlog.contextvars.bound_contextvars(delivery=event.delivery_id):
            return await self._take(event, counted, found, is_whole=is_whole)

    def _asks_for_nothing(self, counted: str, found: Sequence[Meaning]) -> web.Response:
        reasons = [meaning.reason for meaning in found if isinstance(meaning, NothingAsked)]
        reason = reasons[0] if reasons else "no command in it"
        self._log.debug("a delivery asks for nothing", kind=counted, why=reason)
        self._deliveries.labels(counted, f"nothing: {reason}").inc()
        return web.Response(body=_nothing(reason), content_type=_JSON)

    async def _take(
        self, event: Event, counted: str, found: Sequence[Meaning], *, is_whole: bool
    ) -> web.Response:
        """Store what is asked for, pass on what is hinted at, and answer."""
        began, given_id = time.time(), event.delivery_id
        triggers = self._triggers(found)
        try:
            if await self._store(triggers, given_id):
                tracing.delivery_taken(given_id, counted, began)
        except Exception as error:
            # GitHub sends nothing again by itself: what failed is asked for by `Missed`.
            log.error("a delivery could not be stored", kind=counted, why=str(error))
            self._deliveries.labels(counted, "not stored").inc()
            return web.json_response(
                {"error": "not stored; deliver it again"},
                status=503,
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )
        hints = [meaning for meaning in found if isinstance(meaning, Hint)]
        for hint in hints:
            await self._pass_on(hint)
        if not is_whole:
            self._deliveries.labels(counted, "not understood").inc()
            return web.json_response({"error": "not understood; it is in the log"}, status=500)
        if triggers or hints:
            self._deliveries.labels(counted, "trigger" if triggers else "hint").inc()
            for trigger, _ in triggers:
                self._log.info(
                    "a delivery asks for something",
                    kind=counted,
                    command=trigger.request.command,
                    trigger=trigger.key,
                    actor=trigger.actor.login,
                    repository=trigger.repository.full_name,
                    repository_id=trigger.repository.id,
                )
            answer = to_json({"triggers": len(triggers), "hints": len(hints)})
            return web.Response(body=answer, content_type=_JSON, status=202)
        return self._asks_for_nothing(counted, found)

    async def _store(self, triggers: Sequence[tuple[Trigger, bool]], delivery: str) -> bool:
        """Store them, and tell whether any is new.

        A database that is away is waited for, as long as GitHub waits for us.
        """
        if not triggers:
            return False
        async with asyncio.timeout(self._patience.total_seconds()):
            while True:
                try:
                    # Put together, they are committed together: all of a comment or nothing of it.
                    puts = [self._inbox.put(each, delivery, is_talk=it) for each, it in triggers]
                    receipts = await asyncio.gather(*puts) if puts[1:] else [await puts[0]]
                except Exception as error:
                    if outage_of(error) is None:
                        raise
                    log.warning("a delivery waits", delivery=delivery, why=str(error))
                    await asyncio.sleep(_TRY_AGAIN_S)
                else:
                    return any(each.is_new for each in receipts)

    def _triggers(self, found: Sequence[Meaning]) -> list[tuple[Trigger, bool]]:
        """What is asked for, each with whether it is a stranger's talk, which can wait."""
        now = self._clock()
        asked = [meaning for meaning in found if not isinstance(meaning, Hint | NothingAsked)]
        return [
            (trigger, isinstance(each, CommentPosted) and each.by_outsider)
            for each in asked
            for trigger in event_triggers.triggers(each, now, at_github=self._at_github())
        ]

    async def _pass_on(self, hint: Hint) -> None:
        try:
            await self._wake(hint)
        except Exception:
            log.exception("a hint was lost; the Run will look again by itself")

    async def _understood(self, event: Event, body: bytes) -> tuple[list[Meaning], bool]:
        """What every handler of an event found, and whether none of them broke."""
        if (nothing := at_a_glance(event.event, event.data)) is not None:
            return [nothing], True
        repository = event_payloads.repository(event.data)
        if repository is None:
            return [NothingAsked("no repository or installation")], True
        if (us := self._us()) is None:
            return [NothingAsked("nobody knows who we are")], False
        delivery = Delivery(event=event.event, payload=event.data, us=us, body=body)
        found: list[Meaning] = []
        is_whole = True
        for handler in self._router.fetch(event):
            try:
                await handler(event, delivery, repository, found)
            except Exception:
                is_whole = False
                log.exception("a handler broke", delivery=event.delivery_id, of=event.event)
        return found, is_whole

    async def _read(self, request: web.Request, name: str) -> tuple[Event | None, bytes]:
        """The event, None where no handler reads it, and what was signed."""
        headers = request.headers
        delivery_id, kind = headers.get("X-GitHub-Delivery", ""), headers.get("Content-Type", "")
        if not _EVENT.fullmatch(name):
            raise DeliveryRefused(400, "header X-GitHub-Event is missing or not an event's name")
        if not _DELIVERY.fullmatch(delivery_id):
            raise DeliveryRefused(400, "header X-GitHub-Delivery is missing or not an id")
        if kind != _JSON and (not kind or request.content_type not in _TYPES):
            raise DeliveryRefused(400, f"header Content-Type must be {' or '.join(_TYPES)}")
        # `X-Hub-Signature` is SHA-1, and never read.
        signature = headers.get("X-Hub-Signature-256", "")
        _check_form(signature)
        try:
            body = await read_body(request, LARGEST_BODY, STRANGERS)
        except TooLarge as error:
            raise DeliveryRefused(413, str(error)) from error
        self._check_signature(body, signature)
        if name not in EVENTS:
            return None, b""
        data = _decoded(kind, body)
        if not isinstance(data, dict):
            raise DeliveryRefused(400, "the payload is not a JSON object")
        if self._us() is None:
            raise DeliveryRefused(503, "GitHub has not said who we are; deliver it again")
        return Event(data, event=name, delivery_id=delivery_id), body

    def _check_signature(self, body: bytes, signature: str) -> None:
        for secret in self._secrets:
            with suppress(ValidationFailure):
                validate_event(body, signature=signature, secret=secret)
                return
        raise DeliveryRefused(401, _NO_MATCH)


def _decoded(kind: str, body: bytes) -> Any:
    """What a body says that came with this Content-Type."""
    if kind == _JSON:
        # As nearly all come. What this does not take, gidgethub may: half a character, say.
        with suppress(ValueError):
            return from_json(body)
    named = {"content-type": kind, "x-github-event": "", "x-github-delivery": ""}
    try:
        read = Event.from_http(named, body).data
        # Of half a character nothing is left that could not be stored or shown.
        return from_json(json.dumps(read, ensure_ascii=False).encode("utf-8", "replace"))
    except (BadRequest, LookupError, RecursionError, ValueError) as error:
        raise DeliveryRefused(400, _UNREADABLE) from error


@lru_cache(100)
def _nothing(reason: str) -> bytes:
    """The answer to what asks for nothing; the reasons are few."""
    return to_json({"nothing": reason})


async def _read(
    reader: Reader, _: Event, delivery: Delivery, repository: Repository, found: list[Meaning]
) -> None:
    """Handle an event by one reader."""
    found.extend(reader(delivery, repository))


def _check_form(signature: str) -> None:
    """Refuse what cannot be a signature before the body is read: none, or SHA-1."""
    if not signature:
        raise DeliveryRefused(401, "header X-Hub-Signature-256 is missing; SHA-1 is not accepted")
    if not _SIGNATURE.fullmatch(signature):
        raise DeliveryRefused(401, _NO_MATCH)
