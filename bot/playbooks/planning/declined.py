"""Saying no before anything is touched: why, and what to ask for instead."""

from __future__ import annotations

from typing import Literal

from bot.triggers import Value


class Declined(Value):
    """There is nothing to do, or a person has to say more. Both fields are Markdown."""

    kind: Literal["declined"] = "declined"
    reason: str
    remedy: str


class CannotPlan(Exception):
    """Planning cannot go on; it becomes a `Declined`. Both texts are Markdown."""

    def __init__(self, reason: str, remedy: str) -> None:
        """Say why, and what to do."""
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy

    @property
    def declined(self) -> Declined:
        """The same as a result that can be stored."""
        return Declined(reason=self.reason, remedy=self.remedy)
