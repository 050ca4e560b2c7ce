"""Tables of what came in and went out: deliveries, alerts, notifications, sessions."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment, Serial, Words, metadata

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
    sa.Column("locked_token", sa.Text),
)

# A row without `revoked_at` is a token that may call; one with it is refused, also where
# PLAYBOOKS_API_TOKENS has it.
api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("sha256", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("reaches", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("revoked_at", Moment),
)

# What GitHub said last of the App and of each installation, for a start while it is away.
github_answers = sa.Table(
    "github_answers",
    metadata,
    sa.Column("about", sa.Text, primary_key=True),
    sa.Column("said", sa.JSON, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

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


inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("id", Serial, primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("delivery_id", sa.Text),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("received_at", Moment, nullable=False),
    sa.Column("taken_by", sa.Text),
    sa.Column("taken_at", Moment),
    sa.Column("done_at", Moment),
    sa.Column("is_talk", sa.Boolean, nullable=False, server_default=sa.false()),
)
sa.Index(
    "ix_inbox_waiting",
    inbox.c.id,
    sqlite_where=inbox.c.done_at.is_(None),
    postgresql_where=inbox.c.done_at.is_(None),
)

talk = sa.Table(
    "talk",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
sa.Index("ix_talk_at", talk.c.at)

readings = sa.Table(
    "readings",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("began_at", Moment, nullable=False),
    sa.Column("read_until", Moment, nullable=False),
)

answers = sa.Table(
    "answers",
    metadata,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("text", Words, nullable=False),
    sa.Column("at", Moment, nullable=False),
)
sa.Index("ix_answers_at", answers.c.at)
