"""When the newest word about a condition was heard."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Expand: releases that do not know the column leave it empty."""
    op.add_column("alert_conditions", sa.Column("heard_at", Moment))
