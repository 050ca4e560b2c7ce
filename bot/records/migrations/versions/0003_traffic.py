"""Traffic: who serves what, and what was observed of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of traffic."""
    op.create_table(
        "servings",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("capability", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text()),
        sa.Column("split", sa.JSON(), nullable=False),
        sa.Column("paused", sa.Text()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "generation", name="pk_servings"),
    )
    op.create_index(
        "ix_servings_capability", "servings", ["repository_id", "capability", "generation"]
    )
    op.create_index("ix_servings_attempt", "servings", ["attempt"])
    op.create_table(
        "flag_documents",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", name="pk_flag_documents"),
    )
    op.create_table(
        "evidence",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("capability", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("frozen", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("entered_at", Moment(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("opened_at", Moment(), nullable=False),
        sa.Column("seen_at", Moment()),
        sa.Column("closed_at", Moment()),
        sa.Column("closed_seq", sa.Integer()),
        sa.Column("breach", sa.JSON()),
        sa.PrimaryKeyConstraint("attempt", name="pk_evidence"),
    )
    op.create_index(
        "uq_evidence_open",
        "evidence",
        ["repository_id", "capability"],
        unique=True,
        sqlite_where=sa.text("closed_at IS NULL"),
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "evidence_entries",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt"], ["evidence.attempt"], name="fk_evidence_entries_attempt"
        ),
        sa.PrimaryKeyConstraint("attempt", "seq", name="pk_evidence_entries"),
    )
    op.create_table(
        "evidence_checkpoints",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt"], ["evidence.attempt"], name="fk_evidence_checkpoints_attempt"
        ),
        sa.PrimaryKeyConstraint("attempt", name="pk_evidence_checkpoints"),
    )
    op.create_table(
        "observed_events",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event", sa.LargeBinary(16), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "event", name="pk_observed_events"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_observed_events_expires", "observed_events", ["expires"])
