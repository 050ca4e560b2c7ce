"""Who is logging in to the cockpit, and who is logged in."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment
from bot.records.tables.schema import metadata

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("state_hash", sa.Text, primary_key=True),
    sa.Column("verifier", sa.Text, nullable=False),
    sa.Column("back", sa.Text, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)
"""No longer used: a login that has begun is in the browser's cookie. For the version before."""

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),
    sa.Column("login", sa.Text, nullable=False),
    sa.Column("csrf", sa.Text, nullable=False),
    sa.Column("repositories", sa.JSON, nullable=False),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("read_at", Moment),
    sa.Column("expires_at", Moment, nullable=False),
)
