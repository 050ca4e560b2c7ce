"""One of many things that are looked after: what goes wrong with it costs no other."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import structlog

from bot.faults import Passing
from bot.github.errors import GitHubError

log = structlog.get_logger(__name__)
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
