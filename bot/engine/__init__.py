"""Durable execution on DBOS: the only room that knows it."""

import sys
from importlib import import_module

from bot import LazyModule, standing_in

if "dbos" not in sys.modules:
    # It takes in PostgreSQL's driver to tell that one's errors, also on SQLite: 9 MB.
    psycopg = LazyModule("psycopg")
    vars(psycopg)["errors"] = LazyModule("psycopg.errors")
    with standing_in(psycopg=psycopg):
        import_module("dbos")

from bot.engine.durable_run import Observer
from bot.engine.engine import HINT_EVERY, Engine, Stuck, Unrecovered

__all__ = ["HINT_EVERY", "Engine", "Observer", "Stuck", "Unrecovered"]
