"""Tokens of the API that were made by `playbooks token new`, and those that were revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Expand: releases that do not know the table know the tokens of their setting alone."""
    op.create_table(
        "api_tokens",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("reaches", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("revoked_at", Moment),
        sa.PrimaryKeyConstraint("sha256", name="pk_api_tokens"),
    )
