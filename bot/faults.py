"""Faults that pass by themselves: whoever meets one waits and tries again."""

from __future__ import annotations


class Passing(Exception):
    """Something outside did not work just now and may work later.

    The work may have been done all the same: whoever tries again looks first.
    """

    def __init__(self, message: str, seconds: float = 5.0) -> None:
        """Say what happened, and after how many seconds trying again makes sense."""
        super().__init__(message)
        self.seconds = seconds
