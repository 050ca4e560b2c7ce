"""Why a record could not be changed."""

from __future__ import annotations


class RecordError(Exception):
    """A record could not be changed; the message says why in words a person can act on."""


class UnknownRecord(RecordError):
    """No record has this id."""


class IllegalMove(RecordError):
    """The life cycle has no such move."""


class StaleVersion(RecordError):
    """Someone else changed the record since it was read."""


class AlreadyOpen(RecordError):
    """Another incident about the same thing is open, so this one cannot become open again."""
