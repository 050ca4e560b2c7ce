"""Makes something once, and reads commits and checks as all calls do.

A step may run twice: the process died after GitHub did the work, or the answer was lost. So
whoever creates looks first when the step may already have run, and looks again whenever a write
got no answer, before it repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bot.github.errors import Uncertain, Unprocessable
from bot.github.models import CheckKind, CheckResult, CheckRun, Commit, CommitStatus
from bot.github.transport.channel import Sleep


def commit_from_rest(data: dict[str, Any]) -> Commit:
    """Read a commit of the commits API, which nests the git commit."""
    inner = data["commit"]
    author, committer = inner.get("author") or {}, inner.get("committer") or {}
    return Commit(
        sha=data["sha"],
        message=inner["message"],
        tree=inner["tree"]["sha"],
        parents=tuple(parent["sha"] for parent in data.get("parents", ())),
        html_url=data.get("html_url") or "",
        author_name=author.get("name"),
        author_email=author.get("email"),
        login=(data.get("author") or {}).get("login"),
        committer=(data.get("committer") or {}).get("login"),
        committed_at=committer.get("date"),
        verified=bool((inner.get("verification") or {}).get("verified")),
    )


def commit_from_git(data: dict[str, Any]) -> Commit:
    """Read a commit of the git database API, which is flat."""
    author, committer = data.get("author") or {}, data.get("committer") or {}
    return Commit(
        sha=data["sha"],
        message=data["message"],
        tree=data["tree"]["sha"],
        parents=tuple(parent["sha"] for parent in data["parents"]),
        html_url=data.get("html_url") or "",
        author_name=author.get("name"),
        author_email=author.get("email"),
        committed_at=committer.get("date"),
        verified=bool((data.get("verification") or {}).get("verified")),
    )


def result_of_run(run: CheckRun) -> CheckResult:
    """See a check-run as a result."""
    return CheckResult(
        name=run.name,
        kind=CheckKind.CHECK_RUN,
        id=run.id,
        app_id=run.app.id if run.app else None,
        app_slug=run.app.slug if run.app else None,
        status=run.status,
        conclusion=run.conclusion,
        url=run.details_url or run.html_url,
        started_at=run.started_at,
        completed_at=run.completed_at,
        external_id=run.external_id or None,
        title=run.output.title,
        summary=run.output.summary,
        annotations=run.output.annotations_count,
    )


def result_of_status(status: CommitStatus) -> CheckResult:
    """See a commit status as a result: error counts as a failure, pending as in progress.

    So does a word we have not heard of: it is not known to have passed, nor to have failed.
    """
    done = status.state not in ("pending", "other")
    return CheckResult(
        name=status.context,
        kind=CheckKind.STATUS,
        id=status.id,
        status="completed" if done else "in_progress",
        conclusion={"success": "success"}.get(status.state, "failure") if done else None,
        url=status.target_url,
        started_at=status.created_at,
        completed_at=status.updated_at if done else None,
        summary=status.description,
    )


T = TypeVar("T")

LOOKS = (0.0, 1.0, 3.0)
"""Seconds before each look: GitHub's lists may lag behind its writes."""

ONE_LOOK = (0.0,)
"""Where it cannot have been written just now, but perhaps by somebody else."""

TRIES = 3


_UNSEEN = re.compile(
    r"\b(?:tree sha|parent sha|object) does not exist|\bno commits between\b|\bhead: invalid\b",
    re.IGNORECASE,
)
"""What GitHub says of a commit, tree or branch that it took a moment ago and does not see yet:
https://github.com/octokit/octokit.rb/issues/622."""


async def once_seen(make: Callable[[], Awaitable[T]], sleep: Sleep) -> T:
    """Make what builds on something made just before, as soon as GitHub sees that everywhere.

    Args:
        make: the request; GitHub refused it as a whole where it is made again.
        sleep: waits.

    Raises:
        Unprocessable: it is refused for another reason, or four times.
    """
    for pause in (1.0, 2.0, 4.0):
        try:
            return await make()
        except Unprocessable as refusal:
            if not _UNSEEN.search(str(refusal)):
                raise
        await sleep(pause)
    return await make()


async def ensure(
    *,
    look: Callable[[], Awaitable[T | None]],
    create: Callable[[], Awaitable[T]],
    look_first: bool,
    sleep: Sleep,
    looks: tuple[float, ...] = LOOKS,
) -> T:
    """Give what `look` finds, else what `create` makes; never make it twice.

    `look` must find exactly what `create` would make. `looks` are the waits before each look.

    Raises:
        Uncertain: If the write got no answer three times and nothing is to be seen.
    """
    if look_first:
        found = await _look(look, sleep, looks)
        if found is not None:
            return found
    for attempt in range(1, TRIES + 1):
        try:
            return await create()
        except Uncertain:
            found = await _look(look, sleep, looks)
            if found is not None:
                return found
            if attempt == TRIES:
                raise
        except Unprocessable as refusal:
            if not refusal.already_exists:
                raise
            found = await _look(look, sleep, looks)
            if found is None:
                raise
            return found
    raise AssertionError("unreachable: the last try returns or raises")


async def _look(
    look: Callable[[], Awaitable[T | None]], sleep: Sleep, looks: tuple[float, ...]
) -> T | None:
    for pause in looks:
        if pause:
            await sleep(pause)
        found = await look()
        if found is not None:
            return found
    return None
