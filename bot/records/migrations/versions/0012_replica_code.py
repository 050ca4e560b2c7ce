"""What each replica can replay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Expand: releases that do not know the column leave it empty."""
    op.add_column("replicas", sa.Column("code", sa.Text))
