"""The tables of alerts: what each condition said last, and the groups, one incident each."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment, Words
from bot.records.tables.schema import metadata

alert_groups = sa.Table(
    "alert_groups",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("group_key", Words, nullable=False),
    sa.Column("title", Words, nullable=False),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.Column("followed", sa.Boolean, nullable=False),
    sa.Column("unseen", sa.Boolean, nullable=False),
    sa.Column("received", sa.Integer, nullable=False),
    sa.Column("run", sa.Text, nullable=False),
)

alert_conditions = sa.Table(
    "alert_conditions",
    metadata,
    sa.Column("group_id", sa.Text, sa.ForeignKey("alert_groups.id"), primary_key=True),
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("firing", sa.Boolean, nullable=False),
    sa.Column("said", sa.JSON, nullable=False),
    sa.Column("heard_at", Moment),
)

alert_events = sa.Table(
    "alert_events",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("received_at", Moment, nullable=False),
)
