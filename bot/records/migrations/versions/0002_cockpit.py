"""What the cockpit needs: progress to show, answers to its requests, and who is logged in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables, and the indexes by which lists stay quick."""
    op.create_table(
        "progress",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_progress"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_progress_run_id"),
    )
    op.create_table(
        "answers",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_answers"),
    )
    op.create_index("ix_answers_at", "answers", ["at"])
    op.create_table(
        "logins",
        sa.Column("state_hash", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Text(), nullable=False),
        sa.Column("back", sa.Text(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name="pk_logins"),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("login", sa.Text(), nullable=False),
        sa.Column("csrf", sa.Text(), nullable=False),
        sa.Column("repositories", sa.JSON(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("read_at", Moment()),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name="pk_sessions"),
    )
    op.create_index("ix_incidents_resolved", "incidents", ["repository_id", "resolved_at"])
    op.create_index("ix_incidents_status", "incidents", ["status", "repository_id"])
