"""What a playbook runs on: its Run, and the signals it hears.

What it acts through stands in the `ports.py` of its room.

A playbook is an ordinary async function. Whatever it reads from or does to the world goes through
a step; after a crash the function runs again from the top, and steps that already finished hand
back what they recorded. Code between steps must therefore be a pure function of step results.

Steps that tell, tidy or record: tried, noted, passed over. Only the recovery can fail a Run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.errors import Passing, without_paths
from bot.github.errors import GitHubError, in_words
from bot.playbooks.steps import AnyStep, Duty, Patch, WaitPoint
from bot.triggers import Actor, Value

T = TypeVar("T")

Effect = Callable[[bool], Awaitable[T]]
"""A step's work. Its argument says whether the step may have run before: then look first."""


class StepFailed(Exception):
    """A step could not be done and will not be tried again by itself. `str()` says why."""

    def __init__(self, step: AnyStep, why: str) -> None:
        """Name the step, and say why in words for people."""
        super().__init__(without_paths(why))
        self.step = step
        self.aftermath: tuple[str, ...] = ()
        """What was undone since, in words for people; empty where nothing was."""


class SignalKind(StrEnum):
    """Why a waiting Run was woken."""

    HINT = "hint"
    CANCEL = "cancel"
    RETRY = "retry"
    APPROVE = "approve"
    REJECT = "reject"
    SKIP = "skip"
    GOOD = "good"
    BAD = "bad"


class Signal(Value):
    """A message to a Run. A hint only says "look again"; the others carry a person's wish.

    `commit` is the one a person's word (skip, good, bad) is about. `joins` says that `actor` asked
    for what the Run does already, and by which sort of request; a release that does not know of
    this takes the message for the hint that it also is.
    """

    kind: SignalKind
    actor: Actor | None = None
    reason: str | None = None
    commit: str | None = None
    joins: Literal["person", "program"] | None = None

    @property
    def is_bare_hint(self) -> bool:
        """Whether it says no more than "look again"."""
        return self.kind is SignalKind.HINT and self.joins is None


class Run(Protocol):
    """One durable execution of a playbook."""

    @property
    def id(self) -> str:
        """The Run's id, the same after every restart."""

    @property
    def untold(self) -> Untold:
        """What it tried beside the recovery and could not do, by now."""

    async def step(self, step: AnyStep, returns: type[T], effect: Effect[T]) -> T:
        """Do something outside the database once, and record what came back.

        The effect runs at least once: it must be an *ensure*. Passing faults (GitHub is down, a
        rate limit) are waited out inside the step.

        Args:
            step: what is done; its id is what a replay knows it by.
            returns: the type of the result, used to store it as JSON and read it back.
            effect: the work; called with True where an earlier attempt may have got through.

        Raises:
            StepFailed: the effect raised, or faults did not pass in time. It is recorded too: a
                replay raises it again.
        """

    async def write(
        self, step: AnyStep, returns: type[T], change: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        """Change the records in one transaction, exactly once, and record what came back.

        Raises:
            StepFailed: the change raised; nothing was changed.
        """

    async def wait(self, seconds: float, at: WaitPoint) -> Signal | None:
        """Sleep until a Signal arrives or `seconds` have passed (None). Survives restarts.

        None may come early, where a Signal was taken just before: it asks for a look, and only
        `now` says how late it is.

        Args:
            seconds: how long at most; 0 only looks whether one is there.
            at: which wait this is.
        """

    def patched(self, change: Patch) -> bool:
        """Whether this Run follows a changed playbook; False: it began before, and keeps its way.

        The same answer as long as the Run lives, whatever code it was begun and continued under.
        """

    async def now(self) -> datetime:
        """Tell the time: that at which the last step or wait ended, none passes in between.

        It is recorded with what came of that, so a replay sees the same time.
        """


class Wait(Value):
    """A decision: nothing to do yet. `missing` names what is still awaited, a sentence each."""

    action: Literal["wait"] = "wait"
    missing: tuple[str, ...]


class Ask(Value):
    """A decision: only a person can say how to go on. `reasons`: why, a sentence each."""

    action: Literal["ask"] = "ask"
    reasons: tuple[str, ...] = ()


class Ending(Value):
    """How a Run ended, for whoever asked. `reason` and `remedy` are Markdown.

    A playbook that has told people itself (by its final word) leaves `reason` empty. `incident`
    is the one that it joined. `is_done`: declined, as what was asked for is so already.
    """

    outcome: Literal["succeeded", "declined", "joined", "stopped", "failed"]
    reason: str = ""
    remedy: str = ""
    incident: str = ""
    is_done: bool = False


async def heard(run: Run, seconds: float, at: WaitPoint) -> list[Signal]:
    """Wait up to `seconds` for a Signal, then take all that have come: one look answers many.

    Args:
        run: the Run that waits.
        seconds: how long at most, until the first; 0 only takes those that are there.
        at: which wait this is.

    Returns:
        The Signals in the order in which they came; empty where the time passed without one.
    """
    signals: list[Signal] = []
    signal = await run.wait(seconds, at)
    while signal is not None:
        signals.append(signal)
        signal = await run.wait(0, at)
    return signals


def first(signals: Sequence[Signal], *kinds: SignalKind) -> Signal | None:
    """The first Signal of one of these kinds."""
    return next((signal for signal in signals if signal.kind in kinds), None)


@dataclass(frozen=True)
class Patience:
    """How long to wait: for a look without a delivery, and for a person, before giving up.

    `look_later` is for a look at what only people elsewhere can change, `other_bots` for another
    bot that may answer to the same `/help`. `reruns_begin` is how long a check that was asked to
    run again may take to begin: its App may take the request and do nothing. `outages` is how long
    at most until a commit known to be good is tried again, where it may be an outage that fails it.
    """

    look_again: timedelta = timedelta(minutes=2)
    look_later: timedelta = timedelta(minutes=10)
    give_up: timedelta = timedelta(days=14)
    reruns_begin: timedelta = timedelta(minutes=5)
    other_bots: timedelta = timedelta(seconds=10)
    outages: timedelta = timedelta(minutes=3)


class NotDone(Value):
    """Something that tells, tidies or records, and that was refused.

    Attributes:
        what: in words that go on from "to", such as "comment on #4"; Markdown.
        why: in plain words.
        by_hand: whether a person may want to do it instead.
    """

    what: str
    why: str
    by_hand: bool = False


class Tried(Value):
    """One of several things that a step tried; `why` is None where it was done."""

    what: str
    why: str | None = None


class Untold:
    """What is left to tell and to tidy; what works at a later try is not left any more.

    It follows from recorded steps, so a replay comes to the same.
    """

    def __init__(self) -> None:
        """Begin with nothing left."""
        self._left: dict[str, NotDone] = {}

    @property
    def left(self) -> tuple[NotDone, ...]:
        """What is left, in the order in which it was tried first."""
        return tuple(self._left.values())

    def done(self, what: str) -> None:
        """Note that something was done."""
        self._left.pop(what, None)

    def not_done(self, what: str, why: str, *, by_hand: bool = False) -> None:
        """Note that something could not be done."""
        self._left[what] = NotDone(what=what, why=why, by_hand=by_hand)

    def take(self, tried: Iterable[Tried]) -> None:
        """Note what one step tried."""
        for each in tried:
            if each.why is None:
                self.done(each.what)
            else:
                self.not_done(each.what, each.why)


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
