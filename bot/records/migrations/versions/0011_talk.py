"""What strangers say waits behind everything else, and is answered once an hour and place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the mark, empty for all there is, and the table of who was answered where."""
    talks: sa.Column[bool] = sa.Column(
        "is_talk", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("inbox", talks)
    op.create_table(
        "talk",
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("subject", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "subject", "scope", name="pk_talk"),
    )
    op.create_index("ix_talk_at", "talk", ["at"])
