"""Steps that tell, tidy or record: tried, noted, passed over. Only the recovery can fail a Run.

Which step is which stands in the table of `bot.playbooks.steps`. A refusal is for good until the
next try; passing faults are waited out inside the step, as everywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from bot.errors import Passing
from bot.github.errors import GitHubError, in_words
from bot.playbooks.run import Effect, Run, StepFailed, Tried
from bot.playbooks.steps import AnyStep, Duty

T = TypeVar("T")
D = TypeVar("D")


class NotAllowed(Exception):
    """GitHub refused it; `str()` says why in few words for people."""


async def attempt(
    run: Run, step: AnyStep, returns: type[T], effect: Effect[T], *, what: str, otherwise: D
) -> T | D:
    """Do a step that the recovery does not depend on; its result, or `otherwise`.

    Args:
        run: the Run; what could not be done is noted in its `untold`.
        step: what is done.
        returns: the type of its result.
        effect: the work, as for `Run.step`.
        what: what it does, in words that go on from "to"; the same at each try.
        otherwise: stands for the result where it could not be done.

    Raises:
        ValueError: the step is part of the recovery.
    """
    if step.duty is Duty.RECOVERY:
        raise ValueError(f"{step.id} is part of the recovery: it may fail the Run")

    async def tried(again: bool) -> T:
        try:
            return await effect(again)
        except GitHubError as error:
            if isinstance(error, Passing):
                raise
            raise NotAllowed(in_words(error)) from error

    try:
        done = await run.step(step, returns, tried)
    except StepFailed as failed:
        run.untold.not_done(what, str(failed), by_hand=step.duty is Duty.TIDYING)
        return otherwise
    run.untold.done(what)
    return done


class Tries:
    """Several things that one step tries, each by itself: a refusal keeps no other from it.

    Attributes:
        tried: what was tried; to be part of the step's result.
    """

    def __init__(self) -> None:
        """Nothing is tried yet."""
        self.tried: list[Tried] = []

    async def go(self, what: str, doing: Awaitable[T]) -> T | None:
        """Try one thing; None where GitHub refuses it for good.

        Raises:
            GitHubError: a fault that passes: the step is tried again as a whole.
        """
        try:
            done = await doing
        except GitHubError as error:
            if isinstance(error, Passing):
                raise
            self.tried.append(Tried(what=what, why=in_words(error)))
            return None
        self.tried.append(Tried(what=what))
        return done
