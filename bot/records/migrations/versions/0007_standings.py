"""Where a Run stands, as people were told last."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; Runs of before have told nobody that we know of."""
    op.add_column("runs", sa.Column("standing", sa.JSON(none_as_null=True)))
