"""Column types that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from bot.records.instants import from_rfc3339, in_utc, rfc3339


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
