"""Notifications that wait to be sent."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment, Words
from bot.records.tables.schema import metadata

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id")),
    sa.Column("audience", sa.Text, nullable=False),
    sa.Column("title", Words, nullable=False),
    sa.Column("body", Words, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", Words),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("due_at", Moment, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("settled_at", Moment),
    sa.Column("delivered", sa.JSON, nullable=False, server_default="[]"),
)
sa.Index("ix_notifications_due", notifications.c.state, notifications.c.due_at)
