"""Faults on request: what a network and a busy GitHub do to honest programs.

    github.faults.add(FailAfter(502), method="POST", path=r"/repos/.+/pulls$")
    github.faults.add(Slow(3), probability=0.1, times=None)
    github.faults.on_delivery(Lose(recorded=False), event="issue_comment")
    github.faults.after_write(3, lambda write: bot.kill())

A rule fires `times` times (None: for ever), each time with `probability`. Rules stand in front of
everything else: what they do is not held to GitHub's description.
"""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from fakegithub.deliveries.delivery_faults import DeliveryFault, DeliveryRule
from fakegithub.faults.lag import Lag
from fakegithub.faults.request_faults import Fault, FaultyRequest
from fakegithub.faults.writes import Write, is_write
from fakegithub.world.model import FakeApp
from fakegithub.world.world import Event, World

Callback = Callable[[Write], Awaitable[None] | None]
Like = Callable[[Write], bool]
_PREFIX = "/api/v3"


@dataclass(eq=False)
class FaultRule:
    """When a fault happens: for which requests, how often, how likely."""

    fault: Fault
    method: str
    path: re.Pattern[str]
    times: int | None
    probability: float
    fired: int = 0

    def wants(self, request: web.Request, rng: random.Random) -> bool:
        """Decide about one request, and count it if so."""
        if self.times is not None and self.fired >= self.times:
            return False
        if self.method not in ("*", request.method):
            return False
        if not self.path.search(api_path(request)) or rng.random() >= self.probability:
            return False
        self.fired += 1
        return True


@dataclass(eq=False)
class _Hook:
    number: int
    callback: Callback
    app: FakeApp | None
    like: Like | None = None
    seen: int = 0

    def counts(self, write: Write) -> bool:
        if self.app is not None and write.app is not self.app:
            return False
        if self.like is not None and not self.like(write):
            return False
        self.seen += 1
        return self.seen == self.number


@dataclass(eq=False)
class Faults:
    """What shall go wrong, and when; and what was written so far."""

    world: World
    rng: random.Random = field(init=False)
    rules: list[FaultRule] = field(default_factory=list)
    delivery_rules: list[DeliveryRule] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    middleware: Middleware = field(init=False)

    def __post_init__(self) -> None:
        """Start with nothing wrong."""
        self.rng = random.Random(self.world.rng.getrandbits(64))  # noqa: S311 - not a secret
        self.lag = Lag(self.world)
        self._before: list[_Hook] = []
        self._after: list[_Hook] = []
        self.middleware = self._make_middleware()

    # Asking for faults

    def add(
        self,
        fault: Fault,
        *,
        method: str = "*",
        path: str = "",
        times: int | None = 1,
        probability: float = 1.0,
    ) -> FaultRule:
        """Have `fault` happen to requests whose path matches the pattern `path` anywhere.

        REST paths are seen without `/api/v3`; GraphQL is `/api/graphql`.
        """
        rule = FaultRule(fault, method, re.compile(path), times, probability)
        self.rules.append(rule)
        return rule

    def remove(self, rule: FaultRule) -> None:
        """Let that fault happen no more."""
        self.rules = [each for each in self.rules if each is not rule]

    def on_delivery(
        self,
        fault: DeliveryFault,
        *,
        event: str = "",
        times: int | None = 1,
        probability: float = 1.0,
    ) -> DeliveryRule:
        """Have `fault` happen to deliveries; `event` is a pattern for `name` or `name.action`."""
        rule = DeliveryRule(fault, re.compile(event), times, probability)
        self.delivery_rules.append(rule)
        return rule

    def before_write(
        self, number: int, callback: Callback, app: FakeApp | None = None, like: Like | None = None
    ) -> None:
        """Call back before the `number`th write from now on is carried out.

        Only writes by `app`, and those that are `like` it, are counted.
        """
        self._before.append(_Hook(number, callback, app, like))

    def after_write(
        self, number: int, callback: Callback, app: FakeApp | None = None, like: Like | None = None
    ) -> None:
        """Call back after the `number`th write from now on was done, before it is answered."""
        self._after.append(_Hook(number, callback, app, like))

    def never_mind(self, app: FakeApp) -> None:
        """Call back for no write of this App any more."""
        for hooks in (self._before, self._after):
            hooks[:] = [hook for hook in hooks if hook.app is not app]

    def clear(self) -> None:
        """Let everything go well again, and forget the writes seen."""
        self.rules.clear()
        self.delivery_rules.clear()
        self.writes.clear()
        self._before.clear()
        self._after.clear()
        self.lag.seconds = 0.0

    # Letting them happen

    def delivery(self, event: Event) -> DeliveryFault | None:
        """The fault that shall happen to one delivery of `event`, if any."""
        return next((r.fault for r in self.delivery_rules if r.wants(event, self.rng)), None)

    def _make_middleware(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            write = await is_write(self.world, request, len(self.writes) + 1)
            if write is not None:
                self.writes.append(write)
                await _call_back(self._before, write)
            rule = next((rule for rule in self.rules if rule.wants(request, self.rng)), None)

            async def carry_out() -> web.StreamResponse:
                response = await handler(request)
                if write is not None:
                    await _call_back(self._after, write)
                return self.lag.apply(request, response)

            if rule is None:
                return await carry_out()
            return await rule.fault.happen(FaultyRequest(self.world, request, carry_out))

        return middleware


async def _call_back(hooks: list[_Hook], write: Write) -> None:
    due = [hook for hook in hooks if hook.counts(write)]
    for hook in due:
        hooks.remove(hook)
        result = hook.callback(write)
        if inspect.isawaitable(result):
            await result


def api_path(request: web.Request) -> str:
    """The request's path as rules see it."""
    return request.rel_url.raw_path.removeprefix(_PREFIX)
