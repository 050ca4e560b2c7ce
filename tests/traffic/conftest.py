"""Traffic is tested on real, freshly migrated databases of both kinds."""

from __future__ import annotations

from tests.records.conftest import (
    conn,
    empty_url,
    engine,
    migrated_postgresql,
    migrated_sqlite,
    postgres_server,
    postgres_url,
    shared_engine,
    url,
)

__all__ = [
    "conn",
    "empty_url",
    "engine",
    "migrated_postgresql",
    "migrated_sqlite",
    "postgres_server",
    "postgres_url",
    "shared_engine",
    "url",
]
