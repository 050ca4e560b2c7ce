"""Pauses and the gate, budgets, approvals, and the configuration that a Founder approved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.records.tables.columns import Moment, Words

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables that hold what is safe to do."""
    op.create_table(
        "pauses",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("scope", Words, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", Words, nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("since", Moment, nullable=False),
        sa.Column("incident_id", sa.Text()),
        sa.Column("green_since", Moment),
        sa.Column("canary", sa.Integer()),
        sa.Column("canary_merged", sa.Text()),
        sa.Column("lifted_by", sa.Text()),
        sa.Column("lifted_at", Moment),
        sa.Column("lifted_because", Words),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pauses"),
    )
    op.create_index(
        "uq_pauses_in_force",
        "pauses",
        ["repository_id", "scope"],
        unique=True,
        sqlite_where=sa.text("state != 'lifted'"),
        postgresql_where=sa.text("state != 'lifted'"),
    )
    op.create_table(
        "self_work",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("why", Words, nullable=False),
        sa.Column("seen_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "number", name="pk_self_work"),
    )
    op.create_table(
        "exemptions",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("head_sha", sa.Text(), nullable=False),
        sa.Column("pause_id", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint(
            "repository_id", "number", "head_sha", "pause_id", name="pk_exemptions"
        ),
    )
    op.create_table(
        "gate_reports",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("head_sha", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer()),
        sa.Column("merge_group", Words),
        sa.Column("conclusion", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("check_run", sa.BigInteger(), nullable=False),
        sa.Column("first_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "head_sha", name="pk_gate_reports"),
    )
    op.create_index("ix_gate_reports_number", "gate_reports", ["repository_id", "number"])
    op.create_table(
        "budget_windows",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("began_at", Moment, nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "name", "began_at", name="pk_budget_windows"),
        sa.CheckConstraint("reserved >= 0 AND spent >= 0", name="ck_budget_windows_amounts"),
    )
    op.create_table(
        "budget_entries",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("began_at", Moment, nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger()),
        sa.Column("attributed_to", Words),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "name", "key", name="pk_budget_entries"),
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("of", sa.Text(), nullable=False),
        sa.Column("commit", sa.Text(), nullable=False),
        sa.Column("plan_digest", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("asked_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", Moment),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_run", "approvals", ["run_id"])
    op.create_table(
        "sensitive_config",
        sa.Column("repository_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("sections", sa.JSON(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("approved_at", Moment, nullable=False),
        sa.Column("in_force_at", Moment),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="pk_sensitive_config"),
    )
