"""Which processes of this bot are alive."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment
from bot.records.tables.schema import metadata

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # What it can replay (`bot.playbooks.stored_steps.CODE`); null: a release until 2026-11-29.
    sa.Column("code", sa.Text),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("beat_at", Moment, nullable=False),
    sa.Column("taken_over_by", sa.Text),
    sa.Column("taken_over_at", Moment),
)
