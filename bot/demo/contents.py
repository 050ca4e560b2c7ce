"""Stub."""

from __future__ import annotations

from bot.demo.calls import Routes

routes = Routes()
