"""What went wrong and what is done about it: incidents, Runs, their steps, trials and progress."""

from __future__ import annotations

import sqlalchemy as sa

from bot.records.tables.columns import Moment, Words, metadata

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
    sa.Column("joined_incident", sa.Text),
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
    sa.Column("standing", sa.JSON(none_as_null=True)),
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
sa.Index("ix_runs_joined_incident", runs.c.joined_incident)
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

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("repository_id", sa.BigInteger, nullable=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)

# What was put on the records branch. Until it is known to be there, the blob before counts, too.
record_files = sa.Table(
    "record_files",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("content", Words, nullable=False),
    sa.Column("blob", sa.Text, nullable=False),
    sa.Column("former_blob", sa.Text),
    sa.Column("is_written", sa.Boolean, nullable=False),
    sa.Column("kept_at", Moment, nullable=False),
)

record_anchors = sa.Table(
    "record_anchors",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("line", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("is_written", sa.Boolean, nullable=False),
)

record_looks = sa.Table(
    "record_looks",
    metadata,
    sa.Column("repository_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("head", sa.Text),
    sa.Column("told_of", sa.Text),
)
