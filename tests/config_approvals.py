"""What a Founder has approved of the configuration, written down without the conversation."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import parse_config
from bot.records import sensitive_config
from bot.records.tables import safety as tables
from bot.safety.config_in_force import digest_of, sensitive_sections


async def approved_ahead(records: AsyncEngine, repository: int, text: str, now: datetime) -> None:
    """A Founder approved the protected parts of this text, before the default branch has it."""
    sections = sensitive_sections(parse_config(text))
    async with records.begin() as conn:
        await sensitive_config.approve(
            conn, repository, digest_of(sections), sections, by="olivia", at=now, run="by hand"
        )


async def approved_long_ago(records: AsyncEngine, repository: int, text: str) -> None:
    """They have been in force for long; the audit log does not go back so far."""
    sections = sensitive_sections(parse_config(text))
    long_ago = datetime(2026, 1, 1, tzinfo=UTC)
    row = {
        "repository_id": repository,
        "digest": digest_of(sections),
        "sections": sections,
        "approved_by": "olivia",
        "approved_at": long_ago,
        "in_force_at": long_ago,
    }
    async with records.begin() as conn:
        await conn.execute(sa.insert(tables.sensitive_config).values(**row))
