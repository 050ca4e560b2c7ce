"""Alembic's entry: runs inside the transaction that `migrate` opened and locked."""

from __future__ import annotations

from alembic import context

from bot.records import tables
from bot.records.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=VERSION_TABLE,
    # Our own begin event makes SQLite's DDL transactional, so half a migration never stays.
    transactional_ddl=True,
)
context.run_migrations()
