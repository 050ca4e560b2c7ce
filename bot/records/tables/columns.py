"""Columns that all tables share, and moments as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import AfterValidator, AwareDatetime
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_LENGTH = len("2026-01-01T00:00:00.000000Z")
_MARKS = ((4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":"), (19, "."), (26, "Z"))


def in_utc(moment: datetime) -> datetime:
    """Return the same moment in UTC.

    Raises:
        ValueError: `moment` has no time zone, so nobody knows which moment it is.
    """
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return moment.astimezone(UTC)


Instant = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A pydantic field type: an aware datetime, converted to UTC so that equal moments look equal."""


def rfc3339(moment: datetime) -> str:
    """Write a moment with microseconds and `Z`; such texts sort in the order of time."""
    # `strftime` writes years before 1000 with fewer digits, and Go's zero time is in the year 1.
    return in_utc(moment).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> datetime:
    """Read what `rfc3339` wrote, and nothing else.

    Raises:
        ValueError: the text has another shape.
    """
    # An earlier release wrote the year 1 as `1`.
    text = text.zfill(_LENGTH)
    # `strptime` takes ten times as long, and pages read hundreds of moments.
    if len(text) != _LENGTH or any(text[at] != mark for at, mark in _MARKS):
        raise ValueError(f"no moment as we write them: {text[:40]!r}")
    return datetime.fromisoformat(text)


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC: `timestamptz` on PostgreSQL, sortable RFC 3339 text on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        """Pick the column type of this engine."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write an aware moment; a naive one is an error."""
        if value is None:
            return None
        return rfc3339(value) if dialect.name == "sqlite" else in_utc(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a moment back in UTC."""
        if value is None:
            return None
        return from_rfc3339(value) if dialect.name == "sqlite" else in_utc(value)


class Words(TypeDecorator[str]):
    """Text that came from outside, without the NUL characters PostgreSQL cannot store."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Drop NUL characters."""
        return None if value is None else value.replace("\x00", "")


Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A number the database counts up. SQLite does so only for `INTEGER`."""
