"""Faults that pass by themselves: whoever meets one waits and tries again."""

from __future__ import annotations

from datetime import datetime


class Passing(Exception):
    """Something outside did not work just now and may work later.

    The work may have been done all the same: whoever tries again looks first.

    Attributes:
        until: when trying again makes sense, where the other side said so.
    """

    until: datetime | None = None
