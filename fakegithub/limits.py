"""The rate limits: the hour's, and the secondary ones by points and by content created.

The hour's limit always holds. The secondary ones are counted always, and refused where `enforces`
says so: what many tests do at once at one GitHub would be too much for them.

https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
https://docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from fakegithub.access.answers import RequestRefused

HOURLY = 5000


_WINDOW = 3600
POINTS_A_MINUTE = {"core": 900, "graphql": 2000}
CREATED = {60: 80, _WINDOW: 500}
"""How much content may be created within so many seconds."""
_CREATES = re.compile(
    r"/repos/[^/]+/[^/]+/(issues|pulls|(issues|pulls)/\d+/(comments|reviews)|commits/[^/]+/comments)$"
)
_SECONDARY = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)


def points_of(method: str) -> int:
    """What a REST request costs: one point for reading, five for anything else."""
    return 1 if method in ("GET", "HEAD", "OPTIONS") else 5


def creates_content(method: str, path: str) -> bool:
    """Tell whether a request makes a comment, an issue, a pull request or a review."""
    return method == "POST" and _CREATES.search(path) is not None


@dataclass
class Sliding:
    """What was used within the last so many seconds, and the most that ever was."""

    seconds: int
    used: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0
    most: int = 0

    def add(self, now: float, amount: int) -> int:
        """Use some; what was used within the window by now."""
        while self.used and self.used[0][0] <= now - self.seconds:
            self.total -= self.used.popleft()[1]
        self.used.append((now, amount))
        self.total += amount
        self.most = max(self.most, self.total)
        return self.total


@dataclass
class HourUsed:
    """How much one caller has used of the current hour."""

    resets_at: int
    used: int = 0


@dataclass
class RateLimits:
    """Counts requests per caller; `now` gives Unix seconds."""

    now: Callable[[], float]
    limit: int = HOURLY
    windows: dict[tuple[str, str], HourUsed] = field(default_factory=dict)
    enforces: bool = False
    """Whether the secondary limits refuse."""
    points: dict[tuple[str, str], Sliding] = field(default_factory=dict)
    created: dict[tuple[str, int], Sliding] = field(default_factory=dict)
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """All requests, 304s too, by caller and resource."""
    refused: Counter[str] = field(default_factory=Counter)
    """What a secondary limit refused, by caller: nobody should come that far."""

    def window(self, key: str, resource: str = "core") -> HourUsed:
        """The caller's current window, a fresh one when the last has passed."""
        now = int(self.now())
        window = self.windows.get((key, resource))
        if window is None or window.resets_at <= now:
            window = self.windows[key, resource] = HourUsed(now + _WINDOW)
        return window

    def check(self, key: str, resource: str = "core") -> None:
        """Refuse a caller who has nothing left.

        Raises:
            RequestRefused: 403 with the reset time in the headers.
        """
        if self.window(key, resource).used >= self.limit:
            who = key.partition(":")[2]
            raise RequestRefused(
                403, f"API rate limit exceeded for {who}.", headers=self.headers(key)
            )

    def count(self, key: str, resource: str = "core", cost: int = 1) -> None:
        """Note one request, or a query of this cost."""
        self.window(key, resource).used += cost

    def take(self, key: str, resource: str, points: int, *, creates: bool = False) -> None:
        """Note a request in the secondary limits.

        Raises:
            RequestRefused: 403 where one is exceeded, and they are enforced.
        """
        now = self.now()
        self.requests[key, resource] += 1
        used = self.points.setdefault((key, resource), Sliding(60)).add(now, points)
        over = used > POINTS_A_MINUTE.get(resource, used)
        if creates:
            for seconds, most in CREATED.items():
                window = self.created.setdefault((key, seconds), Sliding(seconds))
                over |= window.add(now, 1) > most
        if over and self.enforces:
            self.refused[key] += 1
            raise RequestRefused(403, _SECONDARY, headers={"Retry-After": "60"})

    def totals(self) -> str:
        """Say what each caller used, a line for each: for whoever plays on it."""
        return "\n".join(
            f"{key} {resource}: {count} requests, at most {self.points[key, resource].most} points "
            f"a minute, {self.window(key, resource).used} of {self.limit} of this hour"
            for (key, resource), count in sorted(self.requests.items())
        )

    def exhaust(self, key: str, seconds: int, resource: str = "core") -> None:
        """Pretend that the caller used everything; it resets in `seconds`."""
        self.windows[key, resource] = HourUsed(int(self.now()) + seconds, self.limit)

    def headers(self, key: str, resource: str = "core") -> dict[str, str]:
        """The `X-RateLimit-*` headers of an answer to this caller."""
        window = self.window(key, resource)
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(self.limit - window.used, 0)),
            "X-RateLimit-Used": str(window.used),
            "X-RateLimit-Reset": str(window.resets_at),
            "X-RateLimit-Resource": resource,
        }
