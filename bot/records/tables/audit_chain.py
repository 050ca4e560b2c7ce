"""The audit chain: its entries, and its end for each repository."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment
from bot.records.tables.schema import metadata

# Every column is text or a number and every column is hashed: what a database could reformat on
# the way in or out (jsonb, timestamptz) would break the chain by itself.
audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("incident", sa.Text),
    sa.Column("run", sa.Text),
    sa.Column("refs", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("entry_hash", sa.Text, nullable=False),
    sa.UniqueConstraint("repository_id", "prev_hash"),
)
sa.Index("ix_audit_entries_incident", audit_entries.c.incident)

audit_heads = sa.Table(
    "audit_heads",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("head_hash", sa.Text, nullable=False),
)

# One row is in force, `IN_FORCE`; what was in force before keeps its public half. Without a private
# half the key was given to every replica, and none of it is kept here.
signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("public_pem", sa.Text, nullable=False),
    sa.Column("private_pem", sa.Text),
    sa.Column("since", Moment, nullable=False),
)
