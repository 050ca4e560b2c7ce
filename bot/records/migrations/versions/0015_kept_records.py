"""What was put on the records branch, to compare it with and to write it again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment, Words

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Expand: releases that do not know the tables go by the branch alone."""
    op.create_table(
        "record_files",
        sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("content", Words, nullable=False),
        sa.Column("blob", sa.Text, nullable=False),
        sa.Column("former_blob", sa.Text),
        sa.Column("is_written", sa.Boolean, nullable=False),
        sa.Column("kept_at", Moment, nullable=False),
    )
    op.create_table(
        "record_anchors",
        sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("is_written", sa.Boolean, nullable=False),
    )
    op.create_table(
        "record_looks",
        sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("head", sa.Text),
        sa.Column("told_of", sa.Text),
    )
