"""What GitHub said last of the App and of its installations, for a start while it is away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Expand: releases that do not know the table ask GitHub at each start."""
    op.create_table(
        "github_answers",
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("said", sa.JSON, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("about", name="pk_github_answers"),
    )
