"""The primary rate limit and its headers.

https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fakegithub.access.answers import RequestRefused

HOURLY = 5000


_WINDOW = 3600


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

    def count(self, key: str, resource: str = "core") -> None:
        """Note one request."""
        self.window(key, resource).used += 1

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
