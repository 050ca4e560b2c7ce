"""Tables of pauses, budgets, approvals, the audit chain and the replicas.

The first rows of each primary key are the repository: nothing here reaches across repositories.
"""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment, Words, metadata

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
    # The App that it speaks for, with its GitHub; null: a release until 2026-12-03.
    sa.Column("app", sa.Text),
)


# Every column is text or a number and every column is hashed: what a database could reformat on
# the way in or out (jsonb, timestamptz) would break the chain by itself.
audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("incident", sa.Text),
    sa.Column("run", sa.Text),
    sa.Column("refs", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("prev_hash", sa.Text, nullable=False),
    sa.Column("entry_hash", sa.Text, nullable=False),
    sa.UniqueConstraint("repository_id", "prev_hash"),
)
sa.Index("ix_audit_entries_incident", audit_entries.c.incident)

audit_heads = sa.Table(
    "audit_heads",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("head_hash", sa.Text, nullable=False),
)

# One row is in force, `IN_FORCE`; what was in force before keeps its public half. Without a private
# half the key was given to every replica, and none of it is kept here.
signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("public_pem", sa.Text, nullable=False),
    sa.Column("private_pem", sa.Text),
    sa.Column("since", Moment, nullable=False),
)


pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("scope", Words, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("set_by", sa.Text, nullable=False),
    sa.Column("since", Moment, nullable=False),
    sa.Column("incident_id", sa.Text),
    sa.Column("green_since", Moment),
    sa.Column("canary", sa.Integer),
    sa.Column("canary_merged", sa.Text),
    sa.Column("lifted_by", sa.Text),
    sa.Column("lifted_at", Moment),
    sa.Column("lifted_because", Words),
    sa.Column("version", sa.Integer, nullable=False),
)
_IN_FORCE = pauses.c.state != "lifted"
sa.Index(
    "uq_pauses_in_force",
    pauses.c.repository_id,
    pauses.c.scope,
    unique=True,
    sqlite_where=_IN_FORCE,
    postgresql_where=_IN_FORCE,
)

self_work = sa.Table(
    "self_work",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("why", Words, nullable=False),
    sa.Column("seen_at", Moment, nullable=False),
)

exemptions = sa.Table(
    "exemptions",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("head_sha", sa.Text, primary_key=True),
    sa.Column("pause_id", sa.Text, primary_key=True),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
)

gate_reports = sa.Table(
    "gate_reports",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("head_sha", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer),
    sa.Column("merge_group", Words),
    sa.Column("conclusion", sa.Text, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
    sa.Column("check_run", sa.BigInteger, nullable=False),
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("config_at", Moment),
    sa.Column("config_digest", sa.Text),
)
sa.Index("ix_gate_reports_number", gate_reports.c.repository_id, gate_reports.c.number)

budget_windows = sa.Table(
    "budget_windows",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("began_at", Moment, primary_key=True),
    sa.Column("reserved", sa.BigInteger, nullable=False),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sa.CheckConstraint("reserved >= 0 AND spent >= 0", name="amounts"),
)

budget_entries = sa.Table(
    "budget_entries",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("began_at", Moment, nullable=False),
    sa.Column("reserved", sa.BigInteger, nullable=False),
    sa.Column("spent", sa.BigInteger),
    sa.Column("attributed_to", Words),
    sa.Column("at", Moment, nullable=False),
)
sa.Index("ix_budget_entries_key", budget_entries.c.key)

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("of", sa.Text, nullable=False),
    sa.Column("commit", sa.Text, nullable=False),
    sa.Column("plan_digest", sa.Text, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("asked_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text),
    sa.Column("decided_at", Moment),
)
sa.Index("ix_approvals_run", approvals.c.run_id)

sensitive_config = sa.Table(
    "sensitive_config",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("sections", sa.JSON, nullable=False),
    sa.Column("approved_by", sa.Text, nullable=False),
    sa.Column("approved_at", Moment, nullable=False),
    sa.Column("in_force_at", Moment),
)

config_questions = sa.Table(
    "config_questions",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("sections", sa.JSON, nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("asked_at", Moment, nullable=False),
    sa.Column("commit_sha", sa.Text, nullable=False, server_default=""),
    sa.Column("fault", Words, nullable=False, server_default=""),
)
