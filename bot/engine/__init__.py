"""Durable execution on DBOS: the only room that knows it."""

from bot.engine.durable_run import Observer
from bot.engine.engine import HINT_EVERY, Engine, Stuck, Unrecovered

__all__ = ["HINT_EVERY", "Engine", "Observer", "Stuck", "Unrecovered"]
