"""Reports of what was spent are found by their key alone: one key is one report."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Expand: an index that demands nothing."""
    op.create_index("ix_budget_entries_key", "budget_entries", ["key"])
