"""What came in: Triggers that wait, how far each repository was read, what became of a request."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment, Serial, Words
from bot.records.tables.schema import metadata

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
