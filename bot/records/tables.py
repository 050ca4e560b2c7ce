"""The tables, as SQLAlchemy Core sees them. `migrations/` creates them; a test holds both equal.

Ids are lower-case ULIDs, times UTC, and every aggregate has a `version`. Everything here works the
same on SQLite and PostgreSQL. JSON is `json` and not `jsonb`, which refuses some Unicode.
"""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.columns import Moment, Serial, Words

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

OPEN_STATUSES = ("triage", "active", "mitigated")
"""An incident in one of these is open: a second Trigger about the same thing joins it."""

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("repository", sa.Text, nullable=False),
    sa.Column("kind", Words, nullable=False),
    sa.Column("subject", Words, nullable=False),
    sa.Column("title", Words, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("source_url", Words),
    sa.Column("opened_by", sa.Text, nullable=False),
    sa.Column("dedup_key", Words),
    sa.Column("group_key", Words),
    sa.Column("alert_count", sa.Integer, nullable=False),
    sa.Column("suspect", Words),
    sa.Column("started_at", Moment),
    sa.Column("detected_at", Moment, nullable=False),
    sa.Column("acknowledged_at", Moment),
    sa.Column("mitigated_at", Moment),
    sa.Column("resolved_at", Moment),
    sa.Column("closed_at", Moment),
    sa.Column("duplicate_of", sa.Text, sa.ForeignKey("incidents.id")),
    sa.Column("recurrence_of", sa.Text, sa.ForeignKey("incidents.id")),
    sa.Column("adr", sa.Text),
    sa.Column("issue", sa.Integer),
    sa.Column("prs", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)
sa.Index(
    "uq_incidents_open",
    incidents.c.repository_id,
    incidents.c.kind,
    incidents.c.subject,
    unique=True,
    sqlite_where=incidents.c.status.in_(OPEN_STATUSES),
    postgresql_where=incidents.c.status.in_(OPEN_STATUSES),
)
sa.Index("ix_incidents_repository", incidents.c.repository_id, incidents.c.detected_at)
sa.Index("ix_incidents_resolved", incidents.c.repository_id, incidents.c.resolved_at)
sa.Index("ix_incidents_status", incidents.c.status, incidents.c.repository_id)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, sa.ForeignKey("incidents.id")),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("playbook", sa.Text, nullable=False),
    sa.Column("playbook_version", sa.Integer, nullable=False),
    sa.Column("trigger_key", sa.Text, nullable=False, unique=True),
    sa.Column("trigger", sa.JSON, nullable=False),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("plan_digest", sa.Text),
    sa.Column("seed", sa.Text),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", Words),
    sa.Column("watch_head_sha", sa.Text),
    sa.Column("watch_pull_request", sa.Integer),
    sa.Column("deadline", Moment),
    sa.Column("artifact_path", sa.Text),
    sa.Column("artifact_sha256", sa.Text),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.Column("version", sa.Integer, nullable=False),
)
sa.Index("ix_runs_incident", runs.c.incident_id)
_LIVE = runs.c.finished_at.is_(None)
sa.Index(
    "ix_runs_watch_head_sha",
    runs.c.repository_id,
    runs.c.watch_head_sha,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)
sa.Index(
    "ix_runs_watch_pull_request",
    runs.c.repository_id,
    runs.c.watch_pull_request,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("reversibility", sa.Text, nullable=False),
    sa.Column("compensation", sa.Text),
    sa.Column("external_ref", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("finished_at", Moment),
    sa.CheckConstraint("reversibility = 'irreversible' OR compensation IS NOT NULL", name="undo"),
)
sa.Index("ix_steps_run", steps.c.run_id, steps.c.started_at)

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
)
sa.Index(
    "ix_inbox_waiting",
    inbox.c.id,
    sqlite_where=inbox.c.done_at.is_(None),
    postgresql_where=inbox.c.done_at.is_(None),
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

trials = sa.Table(
    "trials",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("begun_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
)
sa.Index("ix_trials_repository", trials.c.repository_id, trials.c.begun_at)

readings = sa.Table(
    "readings",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("began_at", Moment, nullable=False),
    sa.Column("read_until", Moment, nullable=False),
)

replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("beat_at", Moment, nullable=False),
    sa.Column("taken_over_by", sa.Text),
    sa.Column("taken_over_at", Moment),
)

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
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

logins = sa.Table(
    "logins",
    metadata,
    sa.Column("state_hash", sa.Text, primary_key=True),
    sa.Column("verifier", sa.Text, nullable=False),
    sa.Column("back", sa.Text, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
)

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
