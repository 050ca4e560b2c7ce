"""The tables of traffic: who serves what, and what was observed of it."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment, Words, metadata

# Only added to. A capability's newest row is in force; the others say what a generation meant.
servings = sa.Table(
    "servings",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("capability", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text),
    sa.Column("split", sa.JSON, nullable=False),
    sa.Column("paused", Words),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("why", Words, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
sa.Index(
    "ix_servings_capability",
    servings.c.repository_id,
    servings.c.capability,
    servings.c.generation,
)
sa.Index("ix_servings_attempt", servings.c.attempt)

flag_documents = sa.Table(
    "flag_documents",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
)

# One row per shadow or ramp. `policy` and `frozen` are text because their digits must not change.
evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("attempt", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("capability", sa.Text, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("frozen", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("phase", sa.Integer, nullable=False),
    sa.Column("entered_at", Moment, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("opened_at", Moment, nullable=False),
    sa.Column("seen_at", Moment),
    sa.Column("closed_at", Moment),
    sa.Column("closed_seq", sa.Integer),
    sa.Column("breach", sa.JSON),
)
_OPEN = evidence.c.closed_at.is_(None)
sa.Index(
    "uq_evidence_open",
    evidence.c.repository_id,
    evidence.c.capability,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

# What evidence is made of, in the order in which it counts.
evidence_entries = sa.Table(
    "evidence_entries",
    metadata,
    sa.Column("attempt", sa.Text, sa.ForeignKey("evidence.attempt"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
)

evidence_checkpoints = sa.Table(
    "evidence_checkpoints",
    metadata,
    sa.Column("attempt", sa.Text, sa.ForeignKey("evidence.attempt"), primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)

# Half a SHA-256 of capability and event id: an observation counts once. Gone when too old to come.
observed_events = sa.Table(
    "observed_events",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("event", sa.LargeBinary(16), primary_key=True),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index("ix_observed_events_expires", observed_events.c.expires)
