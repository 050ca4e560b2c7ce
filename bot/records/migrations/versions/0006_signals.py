"""Alerts and their groups, and which addresses a notification has reached."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment, Words

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables of alerts, and the column."""
    op.create_table(
        "alert_groups",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("group_key", Words, nullable=False),
        sa.Column("title", Words, nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("followed", sa.Boolean(), nullable=False),
        sa.Column("unseen", sa.Boolean(), nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_groups"),
    )
    op.create_table(
        "alert_conditions",
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("firing", sa.Boolean(), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"], ["alert_groups.id"], name="fk_alert_conditions_group_id"
        ),
        sa.PrimaryKeyConstraint("group_id", "fingerprint", name="pk_alert_conditions"),
    )
    op.create_table(
        "alert_events",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("received_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "key", name="pk_alert_events"),
    )
    op.add_column(
        "notifications", sa.Column("delivered", sa.JSON(), nullable=False, server_default="[]")
    )
