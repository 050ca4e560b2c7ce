"""What somebody may see in the cockpit is asked in their own name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Expand: whoever logged in at a release that leaves it empty logs in again."""
    op.add_column("sessions", sa.Column("locked_token", sa.Text))
