"""The key that signs audit anchors, the same for all replicas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Expand: releases that do not know the table go by the key in their data folder."""
    op.create_table(
        "signing_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("public_pem", sa.Text, nullable=False),
        sa.Column("private_pem", sa.Text),
        sa.Column("since", Moment, nullable=False),
    )
