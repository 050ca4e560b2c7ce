"""Trials of bisects, counted over all of a repository's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "trials",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", Moment(), nullable=False),
        sa.Column("ended_at", Moment()),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_trials"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_trials_run_id"),
    )
    op.create_index("ix_trials_repository", "trials", ["repository_id", "begun_at"])
