"""What `playbooks config` showed on a head: approvals are bound to it, no head is tried twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add both; heads from before are judged once more."""
    op.add_column("gate_reports", sa.Column("config_at", Moment))
    op.add_column("gate_reports", sa.Column("config_digest", sa.Text()))
