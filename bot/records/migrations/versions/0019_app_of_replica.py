"""Which App a replica is: those of two would go on with each other's Runs, and fail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Expand: releases that do not know the column leave it empty."""
    op.add_column("replicas", sa.Column("app", sa.Text))
