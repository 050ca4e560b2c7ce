"""GitHub's refusals and faults, what they mean, and how one of many things costs no other.

Every error can be pickled: the engine records the error of a failed step and raises it again
after a restart.

Sources: "Troubleshooting the REST API"; "About protected branches" and "About rulesets" (both need
a paid plan in private repositories). What older releases do not know: `bot/github/releases.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from bot.errors import Passing

log = structlog.get_logger(__name__)


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


class StillRunning(Forbidden):
    """A job cannot be run again while another one of its workflow run is under way."""


class Suspended(Forbidden, Passing):
    """The installation is suspended: nothing works until an owner lifts it.

    Nobody can be told there meanwhile and nothing be undone, so what is under way waits for it.
    """


class BadCredentials(GitHubError, Passing):
    """GitHub does not accept the App's id, key or token, even a fresh one.

    The key was taken away there, or the clock here is wrong: it passes once somebody sees to it.
    """


class NotInstalled(GitHubError):
    """The App is not installed there (any more)."""


class Conflict(GitHubError):
    """The world moved: the ref, the head or the object is not what the request assumed."""


class BranchExists(Conflict):
    """A branch that was to be made is there already, and is somebody else's."""


class BranchMoved(Conflict):
    """A branch that was to be moved forward is elsewhere by now, or gone."""


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


class Unreadable(GitHubError):
    """GitHub answered, and what a call cannot do without is not there, or not what it should be."""

    @classmethod
    def of(cls, model: str, error: ValidationError) -> Unreadable:
        """Name the fields, and nothing of what was in them."""
        fields = (".".join(str(part) for part in each["loc"]) for each in error.errors())
        named = ", ".join(dict.fromkeys(fields))
        return cls(
            f"GitHub's answer cannot be read: {named} of {model} is missing or no such value"
        )


_LONGEST = 200
OUR_BRANCHES = ("hotfix/**", "fix/**", "playbooks/**")
"""The branches that the App makes, moves and deletes, as patterns of a ruleset."""
_BYPASS = (
    f"add the App to the bypass list of the ruleset that covers {', '.join(OUR_BRANCHES)} "
    "(Settings, Rules, Rulesets)"
)


def is_absent(error: GitHubError) -> bool:
    """Tell whether what was asked for does not exist in this place at all.

    The plan does not offer it (403 "Upgrade to GitHub Pro …"), this release of GitHub does not
    know it (404), or it is switched off (410). A missing permission is none of these.
    """
    return isinstance(error, NotFound | NotOffered)


def is_by_ruleset(error: GitHubError) -> bool:
    """Tell whether a ruleset forbids making, moving or deleting a branch, or may be what does.

    GitHub says "Repository rule violations found" with the rule, or only "Reference update
    failed", as it does for a name that is in the way.
    """
    said = error.said.lower()
    return "rule violations" in said or "reference update failed" in said


def in_words(error: GitHubError) -> str:
    """Say in few plain words why GitHub refuses something for good."""
    said = " ".join(error.said.split())
    lower = said.lower()
    match error:
        case _ if "is locked" in lower:
            return "the conversation is locked"
        case _ if "ip allow list" in lower:
            return "an IP allow list keeps this server out: its owner can add the address to it"
        case _ if "rule violations" in lower:
            return f"a ruleset forbids it: {_BYPASS}"
        case _ if "reference update failed" in lower:
            return f"GitHub does not say why; if a ruleset forbids it, {_BYPASS}"
        case Suspended():
            return "the App is suspended"
        case NotOffered():
            return "this GitHub plan does not offer it here"
        case Forbidden(permission=str(permission)):
            return f"the App lacks {permission}"
        case Forbidden() if "not accessible" in lower:
            return "the App may not"
        case NotFound(status=410) if "issue" in lower:
            return "issues are switched off in this repository"
        case NotFound():
            return "it does not exist, or the App may not see it"
        case Unprocessable(fields=fields) if lower in ("", "validation failed"):
            return "; ".join(fields.values())[:_LONGEST] or "GitHub does not accept it"
        case _:
            return (said or str(error))[:_LONGEST]


T = TypeVar("T")


async def by_itself(work: Awaitable[T], what: str, **about: object) -> T | None:
    """Do it; what goes wrong is logged, with what it was about, and done at the next look.

    Raises:
        Passing: what all of them need is away, such as the database.
    """
    try:
        return await work
    except GitHubError as error:
        log.warning(what, why=str(error), **about)
    except Passing:
        raise
    except Exception:
        log.exception(what, **about)
    return None
