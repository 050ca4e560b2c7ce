"""Which pull requests bring sections of the configuration that wait for a Founder."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table; what waited before is asked again when something is pushed to it."""
    op.create_table(
        "config_questions",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("sections", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "number", name="pk_config_questions"),
    )
