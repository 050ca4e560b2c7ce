"""What can go wrong when talking to GitHub, each said so that a person can act on it.

Every error can be pickled: the engine records the error of a failed step and raises it again
after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.faults import Passing


class GitHubError(Exception):
    """Something GitHub did not do. `str(error)` says what happened and what to do.

    `route` is the method and route template, such as `GET /repos/{owner}/{repo}`; `status` the
    HTTP status, or None if there was no answer; `request_id` what GitHub's support asks for;
    `said` GitHub's own words, empty if it had none.
    """

    def __init__(
        self,
        message: str,
        *,
        route: str = "",
        status: int | None = None,
        request_id: str | None = None,
        said: str = "",
    ) -> None:
        """Keep the facts beside the message."""
        super().__init__(message)
        self.route = route
        self.status = status
        self.request_id = request_id
        self.said = said

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by message and attributes, whatever the subclass's constructor asks for."""
        return _rebuild, (type(self), str(self), dict(self.__dict__))


def _rebuild(kind: type[GitHubError], message: str, facts: Mapping[str, Any]) -> GitHubError:
    error = kind.__new__(kind, message)
    error.args = (message,)
    error.__dict__.update(facts)
    return error


class NotFound(GitHubError):
    """It does not exist, or the App may not see it (GitHub answers both with 404)."""


class Forbidden(GitHubError):
    """The App may not do this. `permission` is what is missing, such as `contents=write`."""

    def __init__(self, message: str, *, permission: str | None = None, **facts: Any) -> None:
        """Name the missing permission where GitHub named it."""
        super().__init__(message, **facts)
        self.permission = permission


class NotOffered(Forbidden):
    """The plan does not offer this here: no permission would help."""


class Suspended(Forbidden):
    """The installation is suspended: nothing works until an owner lifts it."""


class BadCredentials(GitHubError):
    """GitHub does not accept the App's id, key or token, even a fresh one."""


class NotInstalled(GitHubError):
    """The App is not installed there (any more)."""


class Conflict(GitHubError):
    """The world moved: the ref, the head or the object is not what the request assumed."""


class BranchExists(Conflict):
    """A branch that was to be made is there already, and is somebody else's."""


class NotMergeable(Conflict):
    """GitHub refuses to merge now (405): a rule, a pending check, a review, a merge conflict."""


class Unprocessable(GitHubError):
    """GitHub understood the request and refuses it. `fields` maps each field to its complaint."""

    def __init__(
        self, message: str, *, fields: Mapping[str, str] | None = None, **facts: Any
    ) -> None:
        """Keep GitHub's complaint per field."""
        super().__init__(message, **facts)
        self.fields = dict(fields or {})

    @property
    def already_exists(self) -> bool:
        """Tell whether GitHub refused because the object is there already."""
        said = f"{self} {' '.join(self.fields.values())}".lower()
        return "already_exists" in said or "already exists" in said


class RateLimited(GitHubError, Passing):
    """The request limit is used up until `until` (UTC); the request was not done."""

    def __init__(self, message: str, *, until: datetime, **facts: Any) -> None:
        """Keep when to come back."""
        super().__init__(message, **facts)
        self.until = until


class Uncertain(GitHubError, Passing):
    """A write got no usable answer: it may or may not have been done. Look before repeating."""


class Unavailable(GitHubError, Passing):
    """GitHub could not be reached or is broken, again and again; nothing was changed."""
