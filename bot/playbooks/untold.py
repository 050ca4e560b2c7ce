"""What a Run tried beside the recovery and could not do, by now: for its words and its audit."""

from __future__ import annotations

from collections.abc import Iterable

from bot.triggers import Value


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
