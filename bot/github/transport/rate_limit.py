"""What is left of GitHub's hourly limit, and what was asked of it."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from gidgethub import sansio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from bot.github.errors import RateLimited


class RequestCounter(Collector):
    """Counts every request sent, by playbook and route template.

    It is a Prometheus collector: `registry.register(counter)`. Fetching tokens counts as the
    playbook `auth`; answers from the ETag cache (304) are counted apart, since GitHub does not
    charge them.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self._sent: Counter[tuple[str, str]] = Counter()
        self._unchanged: Counter[tuple[str, str]] = Counter()

    def sent(self, playbook: str, route: str) -> None:
        """Count one request on its way."""
        self._sent[playbook, route] += 1

    def unchanged(self, playbook: str, route: str) -> None:
        """Count one answer that was 304."""
        self._unchanged[playbook, route] += 1

    def total(self, playbook: str | None = None) -> int:
        """Give the number of requests, of one playbook or of all but `auth`."""
        return sum(
            count
            for (name, _), count in self._sent.items()
            if (name == playbook if playbook is not None else name != "auth")
        )

    def by_route(self, playbook: str | None = None) -> dict[str, int]:
        """Give the number of requests per route template, most frequent first."""
        routes: Counter[str] = Counter()
        for (name, route), count in self._sent.items():
            if name == playbook if playbook is not None else name != "auth":
                routes[route] += count
        return dict(routes.most_common())

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the counts in Prometheus's form."""
        for name, text, counts in (
            ("playbooks_github_requests", "Requests sent to GitHub.", self._sent),
            ("playbooks_github_unchanged", "Answers that were 304.", self._unchanged),
        ):
            family = CounterMetricFamily(name, text, labels=["playbook", "route"])
            for labels, count in sorted(counts.items()):
                family.add_metric(list(labels), count)
            yield family


POINTS_A_MINUTE = {"core": 900, "graphql": 2000}
CREATED_A_MINUTE, CREATED_AN_HOUR = 80, 500
_MINUTE_S = 60.0


class Urgency(NamedTuple):
    """How much of each secondary limit may be used before requests of a class wait.

    What every class used counts, and so is never left out of account what other programs of the
    installation send.

    Attributes:
        minute: the share of what may be sent in a minute.
        hour: the share of what may be created in an hour.
        gives_way: whether room is left for as much recovery again as there was in this minute: one
            revert after another begins at once, whatever else is asked for beside them.
    """

    minute: float
    hour: float
    gives_way: bool = True


RECOVERY = Urgency(minute=0.92, hour=0.95, gives_way=False)
TELLING = Urgency(minute=0.5, hour=0.85)
OTHERS = Urgency(minute=0.45, hour=0.7)
OUTSIDERS = Urgency(minute=0.33, hour=0.35, gives_way=False)
_IN_ALL, _LEFT_TO_OTHERS = 0.98, 0.2
"""The share of a minute that is ever used; and what people's other wishes may have of it
however much is being recovered: what goes on for hours, such as reverts that wait for their checks,
must not silence the bot."""


class _Sent(NamedTuple):
    at: float
    amount: int
    recovery: int


class _SentLately:
    """What was sent within a window, the oldest first, and all of it together.

    A minute may have 900 of them, and each request asks for their sum several times.
    """

    def __init__(self) -> None:
        self.each: deque[_Sent] = deque()
        self.in_all = _Sent(0.0, 0, 0)

    def add(self, sent: _Sent) -> None:
        self.each.append(sent)
        _, amount, recovery = self.in_all
        self.in_all = _Sent(0.0, amount + sent.amount, recovery + sent.recovery)

    def forget(self, until: float) -> None:
        while self.each and self.each[0].at <= until:
            gone, (_, amount, recovery) = self.each.popleft(), self.in_all
            self.in_all = _Sent(0.0, amount - gone.amount, recovery - gone.recovery)


class _Window(NamedTuple):
    name: str
    seconds: float
    most: int
    amount: int


class Paced:
    """The secondary limits of one installation: points a minute, and content created.

    Replicas share them evenly: each keeps to its part. "Rate limits for the REST API", "Rate limits
    and query limits for the GraphQL API".
    """

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self._sent: dict[str, _SentLately] = defaultdict(_SentLately)
        self.part = 1.0
        """This replica's share (0 to 1)."""

    def wait(self, request: RequestCost, now: float, urgency: Urgency) -> float:
        """Give the seconds until a request of a class may be sent; where they are 0 it counts.

        Args:
            request: what it costs.
            now: seconds since 1970.
            urgency: its class.
        """
        longest = self.until_room(request, now, urgency)
        if longest <= 0:
            for each in _windows(request):
                recovery = each.amount if urgency is RECOVERY else 0
                self._sent[each.name].add(_Sent(now, each.amount, recovery))
        return longest

    def until_room(self, request: RequestCost, now: float, urgency: Urgency) -> float:
        """Give the seconds until a request of a class could be sent, as `wait`; none counts."""
        return max(self._wait(each, now, urgency) for each in _windows(request))

    def _wait(self, window: _Window, now: float, urgency: Urgency) -> float:
        """Seconds until enough of what was sent is so long ago that it counts no more."""
        sent = self._sent[window.name]
        sent.forget(now - window.seconds)

        def until(share: float, weigh: Callable[[_Sent], int]) -> float:
            over, longest = window.amount - window.most * share * self.part, 0.0
            over += weigh(sent.in_all)
            for each in sent.each:
                if over <= 0:
                    break
                over -= weigh(each)
                longest = each.at + window.seconds - now
            return longest

        if window.seconds > _MINUTE_S:
            return until(urgency.hour, _amount)
        if not urgency.gives_way:
            return until(urgency.minute, _amount)
        at_last = max(until(_IN_ALL, _amount), until(_LEFT_TO_OTHERS, _others))
        return min(until(urgency.minute, _with_as_much_recovery), at_last)


def _amount(sent: _Sent) -> int:
    return sent.amount


def _with_as_much_recovery(sent: _Sent) -> int:
    return sent.amount + sent.recovery


def _others(sent: _Sent) -> int:
    return sent.amount - sent.recovery


def _windows(request: RequestCost) -> list[_Window]:
    points = POINTS_A_MINUTE[request.resource]
    windows = [_Window(request.resource, _MINUTE_S, points, request.points)]
    if request.creates:
        windows += [
            _Window("created in a minute", _MINUTE_S, CREATED_A_MINUTE, 1),
            _Window("created in an hour", 3600.0, CREATED_AN_HOUR, 1),
        ]
    return windows


@dataclass(frozen=True)
class RequestCost:
    """What a request costs: of which limit, how many points, and whether it creates content."""

    resource: str
    points: int
    creates: bool


class HourlyLimit:
    """One installation's hourly limit as GitHub last told it, and when it may be asked again."""

    def __init__(self, reserve: float = 0.1) -> None:
        """Keep the share `reserve` of the limit (0 to 1) for recovery calls."""
        self._reserve = reserve
        self._told: sansio.RateLimit | None = None
        self._paused_until = 0.0

    @property
    def told(self) -> sansio.RateLimit | None:
        """The limit as GitHub last told it, None before the first answer."""
        return self._told

    @property
    def remaining(self) -> int | None:
        """Requests left in this hour, None before the first answer."""
        return None if self._told is None else self._told.remaining

    def learn(self, headers: Mapping[str, str], *, resource: str = "core") -> None:
        """Take the limit from an answer's headers; answers about another limit say nothing."""
        if headers.get("x-ratelimit-resource", resource) != resource:
            return
        try:
            told = sansio.RateLimit.from_http(headers)
        except (ValueError, OverflowError, OSError):
            return
        self._told = told or self._told

    def pause(self, until: float) -> None:
        """Let nobody ask before `until` (seconds since 1970)."""
        self._paused_until = max(self._paused_until, until)

    def wait(self, now: float) -> float:
        """Give the seconds to wait before the next request."""
        return max(self._paused_until - now, 0.0)

    def refuse_longer_than(self, patience: float, now: float, route: str) -> None:
        """Refuse a request that would have to wait more than `patience` seconds.

        Raises:
            RateLimited: If GitHub asked us to wait longer.
        """
        if self.wait(now) > patience:
            until = datetime.fromtimestamp(self._paused_until, UTC)
            raise RateLimited(
                f"GitHub asked us to wait until {until:%H:%M:%S} UTC. It goes on by itself then.",
                until=until,
                route=route,
            )

    def admit(self, route: str, now: float, *, recovery: bool) -> None:
        """Let a request pass, or keep what is left for recovery.

        Raises:
            RateLimited: If only the reserve is left and this is no recovery call.
        """
        told = self._told
        if recovery or told is None or told.reset_datetime.timestamp() <= now:
            return
        if told.remaining <= told.limit * self._reserve:
            until = told.reset_datetime
            raise RateLimited(
                f"The last {told.remaining} GitHub requests of this hour are kept for recovery; "
                f"other work goes on at {until:%H:%M:%S} UTC.",
                until=until,
                route=route,
            )


class LimitCollector(Collector):
    """What is left of the hourly limit where the least is left: installations are many."""

    def __init__(self, limits: Callable[[], Iterable[HourlyLimit]]) -> None:
        """Look at these whenever it is asked."""
        self._limits = limits

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give it in Prometheus's form; nothing before the first answer."""
        now = datetime.now(UTC)
        told = [each.told for each in self._limits() if each.told is not None]
        # One whose hour is over is whole again.
        left = [(t.limit if t.reset_datetime <= now else t.remaining, t.limit) for t in told]
        least, limit = min(left, default=(None, None), key=lambda each: each[0] / max(each[1], 1))
        for name, text, value in (
            ("playbooks_github_limit_remaining", "Requests left, where the least is left.", least),
            ("playbooks_github_limit", "The hourly limit there.", limit),
        ):
            family = GaugeMetricFamily(name, text)
            if value is not None:
                family.add_metric([], value)
            yield family
