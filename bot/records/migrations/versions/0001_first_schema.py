"""The first schema: incidents, runs and steps, the audit chain, inbox, outbox and replicas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment, Serial

revision = "0001"
down_revision = None

# INSERT OR REPLACE removes the old row without asking a DELETE trigger, so SQLite needs a third.
_APPEND_ONLY_SQLITE = (
    """
    CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'audit entries can only be added'); END
    """,
    """
    CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'audit entries can only be added'); END
    """,
    """
    CREATE TRIGGER audit_entries_no_replace BEFORE INSERT ON audit_entries
    WHEN EXISTS (
        SELECT 1 FROM audit_entries WHERE repository_id = NEW.repository_id
        AND (seq = NEW.seq OR prev_hash = NEW.prev_hash)
    )
    BEGIN SELECT RAISE(ABORT, 'audit entries can only be added'); END
    """,
)
_APPEND_ONLY_POSTGRESQL = (
    """
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'audit entries can only be added'; END $$
    """,
    """
    CREATE TRIGGER audit_entries_no_change BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()
    """,
    """
    CREATE TRIGGER audit_entries_no_truncate BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """,
)


def upgrade() -> None:
    """Create every table, and the triggers that make the audit chain append-only."""
    op.create_table(
        "audit_entries",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text()),
        sa.Column("run", sa.Text()),
        sa.Column("refs", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("entry_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "seq", name="pk_audit_entries"),
        sa.UniqueConstraint(
            "repository_id", "prev_hash", name="uq_audit_entries_repository_id_prev_hash"
        ),
    )
    op.create_index("ix_audit_entries_incident", "audit_entries", ["incident"])
    op.create_table(
        "audit_heads",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("head_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", name="pk_audit_heads"),
    )
    op.create_table(
        "inbox",
        sa.Column("id", Serial, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Text()),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("received_at", Moment(), nullable=False),
        sa.Column("taken_by", sa.Text()),
        sa.Column("taken_at", Moment()),
        sa.Column("done_at", Moment()),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sa.UniqueConstraint("key", name="uq_inbox_key"),
    )
    op.create_index(
        "ix_inbox_waiting",
        "inbox",
        ["id"],
        sqlite_where=sa.text("done_at IS NULL"),
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_url", sa.Text()),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("dedup_key", sa.Text()),
        sa.Column("group_key", sa.Text()),
        sa.Column("alert_count", sa.Integer(), nullable=False),
        sa.Column("suspect", sa.Text()),
        sa.Column("started_at", Moment()),
        sa.Column("detected_at", Moment(), nullable=False),
        sa.Column("acknowledged_at", Moment()),
        sa.Column("mitigated_at", Moment()),
        sa.Column("resolved_at", Moment()),
        sa.Column("closed_at", Moment()),
        sa.Column("duplicate_of", sa.Text()),
        sa.Column("recurrence_of", sa.Text()),
        sa.Column("adr", sa.Text()),
        sa.Column("issue", sa.Integer()),
        sa.Column("prs", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["duplicate_of"], ["incidents.id"], name="fk_incidents_duplicate_of"
        ),
        sa.ForeignKeyConstraint(
            ["recurrence_of"], ["incidents.id"], name="fk_incidents_recurrence_of"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_incidents"),
    )
    op.create_index("ix_incidents_repository", "incidents", ["repository_id", "detected_at"])
    op.create_index(
        "uq_incidents_open",
        "incidents",
        ["repository_id", "kind", "subject"],
        unique=True,
        sqlite_where=sa.text("status IN ('triage', 'active', 'mitigated')"),
        postgresql_where=sa.text("status IN ('triage', 'active', 'mitigated')"),
    )
    op.create_table(
        "readings",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("began_at", Moment(), nullable=False),
        sa.Column("read_until", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", name="pk_readings"),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("beat_at", Moment(), nullable=False),
        sa.Column("taken_over_by", sa.Text()),
        sa.Column("taken_over_at", Moment()),
        sa.PrimaryKeyConstraint("id", name="pk_replicas"),
    )
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("incident_id", sa.Text()),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", Moment(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("settled_at", Moment()),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name="fk_notifications_incident_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    op.create_index("ix_notifications_due", "notifications", ["state", "due_at"])
    op.create_table(
        "runs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text()),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("playbook", sa.Text(), nullable=False),
        sa.Column("playbook_version", sa.Integer(), nullable=False),
        sa.Column("trigger_key", sa.Text(), nullable=False),
        sa.Column("trigger", sa.JSON(), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("plan_digest", sa.Text()),
        sa.Column("seed", sa.Text()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("watch_head_sha", sa.Text()),
        sa.Column("watch_pull_request", sa.Integer()),
        sa.Column("deadline", Moment()),
        sa.Column("artifact_path", sa.Text()),
        sa.Column("artifact_sha256", sa.Text()),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("updated_at", Moment(), nullable=False),
        sa.Column("finished_at", Moment()),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incidents.id"], name="fk_runs_incident_id"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("trigger_key", name="uq_runs_trigger_key"),
    )
    op.create_index("ix_runs_incident", "runs", ["incident_id"])
    op.create_index(
        "ix_runs_watch_head_sha",
        "runs",
        ["repository_id", "watch_head_sha"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index(
        "ix_runs_watch_pull_request",
        "runs",
        ["repository_id", "watch_pull_request"],
        sqlite_where=sa.text("finished_at IS NULL"),
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "steps",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reversibility", sa.Text(), nullable=False),
        sa.Column("compensation", sa.Text()),
        sa.Column("external_ref", sa.Text()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("finished_at", Moment()),
        sa.CheckConstraint(
            "reversibility = 'irreversible' OR compensation IS NOT NULL", name="ck_steps_undo"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_steps_run_id"),
        sa.PrimaryKeyConstraint("key", name="pk_steps"),
    )
    op.create_index("ix_steps_run", "steps", ["run_id", "started_at"])
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _APPEND_ONLY_SQLITE if on_sqlite else _APPEND_ONLY_POSTGRESQL:
        op.execute(statement)
