"""Requests signed by one identity: retried, counted, paced, and kept by ETag.

`retry.decide` says what to do about each answer; this module does it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import structlog
from cachetools import LRUCache
from gidgethub.abc import GitHubAPI

from bot import tracing
from bot.github.errors import (
    Forbidden,
    GitHubError,
    NotFound,
    RateLimited,
    Unavailable,
    Unprocessable,
    Unreadable,
)
from bot.github.releases import Lacking
from bot.github.transport.auth import AppKey, Clock, Credentials
from bot.github.transport.http import Addresses, exchange
from bot.github.transport.rate_limit import (
    OTHERS,
    OUTSIDERS,
    RECOVERY,
    TELLING,
    HourlyLimit,
    Paced,
    RequestCost,
    RequestCounter,
    Urgency,
)
from bot.github.transport.retry import (
    FollowTo,
    GiveUp,
    HttpAnswer,
    Lost,
    Ok,
    Refresh,
    Retry,
    SentRequest,
    Unchanged,
    decide,
)
from bot.metrics import GITHUB_ANSWERS

log = structlog.get_logger(__name__)

USER_AGENT = "incident-playbooks"
API_VERSION = "2022-11-28"
CACHE_BYTES = 16 * 2**20
"""Room for answers kept by ETag, per identity."""

MAX_REDIRECTS = 3
_READ = ("content-type", "etag", "link")
"""The headers of an answer that say how it is read, kept and gone on with."""

Sleep = Callable[[float], Awaitable[None]]
Params = Mapping[str, str | int]
Query = Mapping[str, str | int | None]

_A_WRITE = RequestCost("core", points=5, creates=False)
_TELLING = frozenset({"triage", "help", "status"})
"""What tells people what happened is never held by our own cap."""
_PARAMETER = re.compile(r"\{(\w+)(\*?)\}")


class Meter(Protocol):
    """Counts requests about one repository against a cap of ours."""

    async def take(self, repository_id: int, *, recovery: bool) -> None:
        """Count one that is about to be sent.

        Raises:
            RateLimited: the cap is reached, and it is no recovery.
        """

    def give_back(self, repository_id: int) -> None:
        """Take one back: GitHub did not charge it."""

    def take_for(self, outsider: str, repository_id: int) -> None:
        """Count one, in a share of their own, that the work of somebody without rights causes.

        Raises:
            RateLimited: theirs is used up.
        """

    def give_back_of(self, outsider: str, repository_id: int) -> None:
        """Take one of those back."""

    def has_room_for(self, outsider: str, repository_id: int) -> bool:
        """Tell whether one more would be let pass."""


@dataclass
class ChannelContext:
    """What every channel shares: the session, the addresses, the clock and the counter.

    `lacking` is what this GitHub's release does not know; `patience` is how long, in seconds, a
    call waits for a limit to pass before it raises `RateLimited`; `jitter` gives a random share
    (0 to 1) by which waits are stretched.
    """

    addresses: Addresses
    session: Callable[[], aiohttp.ClientSession]
    clock: Clock
    sleep: Sleep
    jitter: Callable[[], float]
    counter: RequestCounter
    slots: asyncio.Semaphore
    patience: float
    lacking: Lacking
    meter: Meter | None = None
    unanswered: int = 0
    refused: GitHubError | None = None
    """What GitHub said when it last refused the App's own key; None: it takes it."""
    paces: bool = True
    """Whether GitHub's secondary limits are kept to before it says so."""
    heard: tuple[datetime, float] | None = None
    """The time that GitHub's last answer said, and `time.monotonic()` then."""
    edits: dict[int, WaitingEdit] = field(default_factory=dict)
    """Comments, by their ids, of which a new text waits for room."""


@dataclass
class WaitingEdit:
    """The newest text of a comment, and what sending it was answered; None: it failed."""

    body: str
    sent: asyncio.Future[Any | None]


class KeptAnswers(LRUCache[str, tuple[str | None, str | None, Any, str | None]]):
    """Answers by their address, each with its ETag and the next page's; as gidgethub keeps them.

    `body` is the one that is being kept: it says how much room it takes.
    """

    body = b""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__(CACHE_BYTES, getsizeof=lambda _: len(self.body) + 200)

    def __setitem__(self, url: str, kept: tuple[str | None, str | None, Any, str | None]) -> None:
        """Keep what has an ETag, and is not too large."""
        etag, _, data, more = kept
        if etag and len(self.body) + 200 < CACHE_BYTES // 8:
            super().__setitem__(url, (etag, None, data, more))


@dataclass
class ChannelIdentity:
    """What all channels of one identity share: credentials, budget and kept answers."""

    credentials: Credentials
    budget: HourlyLimit = field(default_factory=HourlyLimit)
    paced: Paced = field(default_factory=Paced)
    kept: KeptAnswers = field(default_factory=KeptAnswers)


class Channel:
    """Calls on behalf of one playbook, signed by one identity.

    `defaults` fill route parameters that every call shares, such as owner and repository.
    """

    def __init__(
        self,
        lane: ChannelIdentity,
        around: ChannelContext,
        *,
        playbook: str,
        recovery: bool = False,
        defaults: Params | None = None,
        metered: int | None = None,
        outsider: str | None = None,
    ) -> None:
        """Bind the lane to a playbook's label; `recovery` may use the reserved requests.

        `metered` is the repository against whose cap the requests count, or in whose share for
        outsiders, where the work of one causes them.
        """
        self._lane = lane
        self._around = around
        self._playbook = playbook
        self._recovery = recovery
        self._defaults = dict(defaults or {})
        self._metered = metered
        self._outsider = outsider

    @property
    def around(self) -> ChannelContext:
        """The clock, the sleep and the addresses."""
        return self._around

    async def get(self, route: str, *, query: Query | None = None, **params: str | int) -> Any:
        """Read one object."""
        call, url = self._call("GET", route, params, query=query)
        return await call.getitem(url, None)

    async def find(self, route: str, *, query: Query | None = None, **params: str | int) -> Any:
        """Read one object, or None if there is none."""
        try:
            return await self.get(route, query=query, **params)
        except NotFound:
            return None

    async def items(
        self,
        route: str,
        *,
        key: str | None = None,
        query: Query | None = None,
        is_sized: bool = True,
        **params: str | int,
    ) -> AsyncIterator[Any]:
        """Read a list to its last page.

        Args:
            route: of the list.
            key: where the list is wrapped, its name there.
            query: parameters beside the size of a page.
            is_sized: whether the route knows `per_page`: then a page has 100 entries.
            params: what stands in the route's braces.

        Raises:
            Unreadable: what GitHub answered is no list.
        """
        size: dict[str, str | int] = {"per_page": 100} if is_sized else {}
        call, url = self._call("GET", route, params, query={**size, **(query or {})})
        try:
            async for item in call.getiter(url, None, iterable_key=key):
                yield item
        except TypeError as error:
            raise Unreadable(f"GitHub's answer to {route} is no list", route=route) from error

    async def post(
        self,
        route: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool = False,
        **params: str | int,
    ) -> Any:
        """Create something; `repeatable` where doing it twice is the same as once."""
        call, url = self._call("POST", route, params, repeatable=repeatable)
        return await call.post(url, None, data=b"" if body is None else body)

    async def patch(self, route: str, body: Mapping[str, Any], **params: str | int) -> Any:
        """Set fields: repeatable, since the same state twice is the same state."""
        call, url = self._call("PATCH", route, params, repeatable=True)
        return await call.patch(url, None, data=body)

    async def put(
        self,
        route: str,
        body: Mapping[str, Any] | None = None,
        *,
        repeatable: bool = True,
        **params: str | int,
    ) -> Any:
        """Set an object as a whole."""
        call, url = self._call("PUT", route, params, repeatable=repeatable)
        return await call.put(url, None, data=b"" if body is None else body)

    async def delete(
        self, route: str, body: Mapping[str, Any] | None = None, **params: str | int
    ) -> None:
        """Remove something; that it is gone already is fine."""
        call, url = self._call("DELETE", route, params, repeatable=True)
        try:
            await call.delete(url, None, data=b"" if body is None else body)
        except NotFound:
            return

    async def graphql(
        self,
        query: str,
        variables: Mapping[str, Any],
        *,
        name: str,
        repeatable: bool,
        partial: bool = False,
    ) -> Any:
        """Run a GraphQL query or mutation and give its `data`; `name` is for the metrics.

        GitHub answers 200 with `errors`: NOT_FOUND and FORBIDDEN become the matching error,
        everything else `Unprocessable`.

        Args:
            query: the document.
            variables: its variables.
            name: what it is called in the metrics.
            repeatable: whether doing it twice is the same as once.
            partial: take what there is where only a part of it was refused.
        """
        call, _ = self._call("POST", f"/graphql#{name}", {}, repeatable=repeatable)
        asked = {"query": query, "variables": dict(variables)}
        data = await call.post(self._around.addresses.graphql, None, data=asked)
        errors = data.get("errors")
        if errors and not (partial and any((data.get("data") or {}).get("nodes") or ())):
            raise _graphql_error(errors[0], f"POST /graphql#{name}")
        return data["data"]

    def _call(
        self,
        method: str,
        route: str,
        params: Params,
        *,
        query: Query | None = None,
        repeatable: bool | None = None,
    ) -> tuple[_Call, str]:
        """What makes the request, and its address."""
        url = self._around.addresses.rest + _path(route, {**self._defaults, **params})
        if query:
            url += "?" + urlencode(
                {name: value for name, value in query.items() if value is not None}
            )
        request = SentRequest(method, route, method == "GET" if repeatable is None else repeatable)
        return _Call(self, request, self._lane.kept), url

    async def carry(
        self, request: SentRequest, url: str, headers: Mapping[str, str], content: bytes
    ) -> HttpAnswer:
        """Send until there is an answer to take or an error to raise.

        Args:
            request: what is asked, for the decision what to do about an answer.
            url: where.
            headers: those of the request, without who asks.
            content: its body.

        Raises:
            GitHubError: GitHub refused it, or it could not be asked.
        """
        if not self._around.addresses.is_ours(url):
            raise Forbidden(f"GitHub's next page is on another host: {url!r}", route=request.route)
        with tracing.call_span(request.name):
            return await self._persist(request, url, headers, content)

    async def _persist(
        self, request: SentRequest, url: str, headers: Mapping[str, str], content: bytes
    ) -> HttpAnswer:
        around, lane = self._around, self._lane
        attempt, waited, refreshed, redirects = 0, 0.0, False, 0
        while True:
            attempt += 1
            authorization = await lane.credentials.header()
            signed = {**headers, "authorization": authorization}
            answer = await self._send(request, url, signed, content)
            now = around.clock()
            decision = decide(request, answer, attempt, now)
            match decision:
                case Ok():
                    assert isinstance(answer, HttpAnswer)  # noqa: S101 - Ok is only said of an Answer
                    self._tell(request, url, content, answer.status)
                    self._key_was_taken(None)
                    return answer
                case Unchanged() if "if-none-match" in headers:
                    assert isinstance(answer, HttpAnswer)  # noqa: S101 - 304 is only said of one
                    around.counter.unchanged(self._playbook, request.name)
                    self._give_back()
                    return answer
                case Unchanged():
                    raise Unavailable(
                        f"{request.name}: GitHub answered 304 unasked.", route=request.name
                    )
                case Retry(after, error):
                    after *= 1 + 0.2 * around.jitter()
                    if isinstance(answer, HttpAnswer) and answer.status in {403, 429}:
                        lane.budget.pause(now + after)
                    if waited + after > around.patience:
                        raise error
                    waited += after
                    await around.sleep(after)
                    log.debug("asking GitHub again", of=request.name, why=str(error), seconds=after)
                case Refresh(error):
                    lane.credentials.discard(authorization)
                    if refreshed:
                        self._key_was_taken(error)
                        raise error
                    refreshed = True
                case FollowTo(location, error):
                    redirects += 1
                    if redirects > MAX_REDIRECTS or not around.addresses.is_ours(location):
                        raise error
                    url = location
                case GiveUp(error):
                    status = answer.status if isinstance(answer, HttpAnswer) else None
                    self._tell(request, url, content, status, why=str(error))
                    raise error

    def _key_was_taken(self, refusal: GitHubError | None) -> None:
        """Keep whether GitHub takes the App's key, where that is what signed."""
        if isinstance(self._lane.credentials, AppKey):
            self._around.refused = refusal

    def _tell(
        self,
        request: SentRequest,
        url: str,
        content: bytes,
        status: int | None,
        **more: str,
    ) -> None:
        """One line for each write, done or refused; what was only read is said at debug."""
        by_graphql = request.route.startswith("/graphql")
        reads = request.method == "GET" or (by_graphql and b"mutation(" not in content)
        where = request.route if by_graphql else urlsplit(url).path
        if (owner := self._defaults.get("owner")) is not None:
            more["repository"] = f"{owner}/{self._defaults['repo']}"
        say = log.debug if reads or self._playbook == "auth" else log.info
        said = "read from GitHub" if reads else "written to GitHub"
        if "why" in more:
            said = "GitHub refused a read" if reads else "GitHub refused a write"
        say(said, method=request.method, path=where, status=status, playbook=self._playbook, **more)

    async def _send(
        self, request: SentRequest, url: str, headers: Mapping[str, str], content: bytes
    ) -> HttpAnswer | Lost:
        around, lane = self._around, self._lane
        await self._hold(request, _costs(request, content))
        async with around.slots:
            around.counter.sent(self._playbook, request.name)
            answer = await exchange(around.session(), request.method, url, headers, content)
        GITHUB_ANSWERS.labels(_kind_of(answer)).inc()
        is_answer = isinstance(answer, HttpAnswer) and answer.status < 500
        around.unanswered = 0 if is_answer else around.unanswered + 1
        if isinstance(answer, HttpAnswer):
            if (date := _date(answer.headers)) is not None:
                around.heard = date, time.monotonic()
            resource = "graphql" if request.route.startswith("/graphql") else "core"
            if resource == "core":
                lane.budget.learn(answer.headers)
        return answer

    async def _hold(self, request: SentRequest, costs: RequestCost) -> None:
        """Wait while GitHub has asked this identity to; keep the reserve for recovery."""
        around, budget = self._around, self._lane.budget
        pause = budget.wait(around.clock())
        if pause > 0:
            budget.refuse_longer_than(around.patience, around.clock(), request.name)
            # Not all at the moment of the reset.
            await around.sleep(pause * (1 + 0.1 * around.jitter()))
        urgency, paced = self._urgency, self._lane.paced
        while around.paces and (pause := paced.wait(costs, around.clock(), urgency)) > 0:
            if pause > around.patience:
                until = datetime.fromtimestamp(around.clock() + pause, UTC)
                raise RateLimited(
                    f"So much was sent to GitHub that {request.name} waits until "
                    f"{until:%H:%M:%S} UTC. It goes on by itself then.",
                    until=until,
                    route=request.name,
                )
            await around.sleep(pause + 0.2 * around.jitter())
        budget.admit(request.name, around.clock(), recovery=self._recovery)
        if around.meter is None or self._metered is None:
            return
        if self._outsider is not None:
            around.meter.take_for(self._outsider, self._metered)
            return
        kept = self._recovery or self._playbook in _TELLING
        await around.meter.take(self._metered, recovery=kept)

    async def until_room(self) -> None:
        """Wait until a write would be sent at once, or until it would rather be refused."""
        around, lane = self._around, self._lane
        while True:
            pause = lane.budget.wait(now := around.clock())
            if around.paces:
                pause = max(pause, lane.paced.until_room(_A_WRITE, now, self._urgency))
            if not 0 < pause <= around.patience:
                return
            await around.sleep(pause + 0.2 * around.jitter())

    @property
    def _urgency(self) -> Urgency:
        if self._outsider is not None:
            return OUTSIDERS
        return TELLING if self._playbook in _TELLING else RECOVERY if self._recovery else OTHERS

    @property
    def has_room(self) -> bool:
        """Whether outsiders have something left, now; always, where none has a part."""
        around = self._around
        if around.meter is None or self._outsider is None or self._metered is None:
            return True
        if around.paces and self._lane.paced.until_room(_A_WRITE, around.clock(), OUTSIDERS) > 0:
            return False
        return around.meter.has_room_for(self._outsider, self._metered)

    def _give_back(self) -> None:
        meter = self._around.meter
        if meter is None or self._metered is None:
            return
        if self._outsider is not None:
            meter.give_back_of(self._outsider, self._metered)
        else:
            meter.give_back(self._metered)


class _Call(GitHubAPI):
    """One call: gidgethub makes its request and reads its answer, and we carry it between."""

    def __init__(self, channel: Channel, request: SentRequest, kept: KeptAnswers) -> None:
        super().__init__(USER_AGENT, cache=kept, base_url=channel.around.addresses.rest)
        self._channel = channel
        self._sent = request
        self._kept = kept

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        del method
        asked = {**headers, "x-github-api-version": API_VERSION}
        answer = await self._channel.carry(self._sent, url, asked, body)
        self._kept.body = answer.body
        # Only what is read: the limits of requests are counted beside this, for all calls.
        told = {name: answer.headers[name] for name in _READ if name in answer.headers}
        return (
            304 if answer.status == 304 else 200,
            {"content-type": "application/json", **told},
            answer.body,
        )

    async def sleep(self, seconds: float) -> None:
        await self._channel.around.sleep(seconds)


_CREATES = re.compile(r"/(?:issues|pulls)(?:/\{\w+\}/(?:comments|reviews))?$")


def _costs(request: SentRequest, content: bytes | None) -> RequestCost:
    """What GitHub counts a request as: reading is one point, anything else five."""
    if request.route.startswith("/graphql"):
        is_mutation = content is not None and b'"mutation' in content.replace(b"\\n", b"")[:40]
        return RequestCost("graphql", 5 if is_mutation else 1, creates=False)
    creates = request.method == "POST" and _CREATES.search(request.route) is not None
    return RequestCost("core", 1 if request.method == "GET" else 5, creates)


def _date(headers: Mapping[str, str]) -> datetime | None:
    """When an answer was given, by the clock of whoever gave it (RFC 9110, 6.6.1)."""
    try:
        given = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    return given if given.tzinfo is not None else None


def _path(route: str, params: Params) -> str:
    """Fill `{name}` with one path segment, `{name*}` with a path.

    Raises:
        ValueError: If a value would change which resource is meant (empty, `.` or `..`).
    """

    def fill(found: re.Match[str]) -> str:
        value = str(params[found.group(1)])
        if any(segment in {"", ".", ".."} for segment in value.split("/")):
            raise ValueError(f"Not usable in an address: {found.group(1)}={value!r}")
        return quote(value, safe="/" if found.group(2) else "")

    return _PARAMETER.sub(fill, route)


def _kind_of(answer: HttpAnswer | Lost) -> str:
    if not isinstance(answer, HttpAnswer):
        return "lost"
    return "304" if answer.status == 304 else f"{answer.status // 100}xx"


def _graphql_error(error: Mapping[str, Any], route: str) -> GitHubError:
    said, kind = str(error.get("message")), error.get("type")
    if kind == "NOT_FOUND":
        return NotFound(f"{said}", route=route)
    if kind in {"FORBIDDEN", "INSUFFICIENT_SCOPES"}:
        return Forbidden(f"GitHub forbids it: {said}", route=route)
    return Unprocessable(f"GitHub refuses it: {said}", route=route)
