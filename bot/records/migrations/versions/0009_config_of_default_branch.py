"""What the default branch has and does not count is asked about too, not only pull requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Words

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add what such a question needs; pull requests leave both empty."""
    for name, kind in (("commit_sha", sa.Text()), ("fault", Words)):
        column = sa.Column(name, kind, nullable=False, server_default="")
        op.add_column("config_questions", column)
