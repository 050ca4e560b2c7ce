"""Alembic's entry: runs inside the transaction that `migrate` opened and locked."""

from __future__ import annotations

from alembic import context

from bot.records import alert_tables, safety_tables, tables, traffic_tables

_ROOMS = (alert_tables, safety_tables, traffic_tables)  # read, so that their tables are known

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    # Our own begin event makes SQLite's DDL transactional, so half a migration never stays.
    transactional_ddl=True,
)
context.run_migrations()
