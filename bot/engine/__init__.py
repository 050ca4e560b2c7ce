"""Durable execution on DBOS: the only room that knows it."""

import sys
from importlib import import_module

from bot import standing_in
from bot.engine.unneeded import UnneededDriver

if "dbos" not in sys.modules:
    # It takes in the driver of PostgreSQL, also on SQLite: 9 MB.
    psycopg = UnneededDriver("psycopg")
    vars(psycopg)["errors"] = UnneededDriver("psycopg.errors")
    with standing_in(psycopg=psycopg):
        import_module("dbos")

from bot.engine.durable_run import Observer
from bot.engine.engine import HINT_EVERY, Engine, Stuck, Unrecovered

__all__ = ["HINT_EVERY", "Engine", "Observer", "Stuck", "Unrecovered"]
