"""A capability with two providers."""

from __future__ import annotations

from tests.playbooks.providing import providers

__all__ = ["providers"]
