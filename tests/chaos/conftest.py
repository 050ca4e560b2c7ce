"""Fixtures of the tests that kill the bot."""

from __future__ import annotations

from tests.plugins.postgres import postgres_server, postgres_url

__all__ = ["postgres_server", "postgres_url"]
