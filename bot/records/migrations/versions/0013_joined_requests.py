"""Requests that joined an incident are no Runs of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Expand; what joined before is told apart by the only words its Run ended with."""
    op.add_column("runs", sa.Column("joined_incident", sa.Text))
    op.create_index("ix_runs_joined_incident", "runs", ["joined_incident"])
    op.execute(
        "UPDATE runs SET joined_incident = incident_id, incident_id = NULL "
        "WHERE state = 'cancelled' AND reason LIKE 'joined incident %'"
    )
