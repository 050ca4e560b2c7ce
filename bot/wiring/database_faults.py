"""What is wrong with the database for good, said so that it can be mended: waiting helps nothing.

`serve` ends with it, and `doctor` says it. What passes by itself is in `bot/records/outages.py`.
Error codes: https://www.postgresql.org/docs/current/errcodes-appendix.html and
https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import sqlalchemy as sa

from bot.settings import SettingFault

_NAME = "DATABASE_URL"
SUPPORTED = "Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME."
WRITTEN_SO = (
    "In user and password `@` is written %40, `:` %3A, `/` %2F, `#` %23, `?` %3F and `%` %25."
)
LOOK_THERE = f"Check {_NAME}: host, name, user and password; and that the server runs. {WRITTEN_SO}"

_TLS = "`sslmode` and `sslrootcert` in the address say how the server is recognised."
_FOR_GOOD = (
    (r"authentication failed|no password supplied", f"Correct user or password. {WRITTEN_SO}"),
    (r"no pg_hba\.conf entry",
     "The server's pg_hba.conf must let this user in from here; `?sslmode=require` at the end of "
     "the address encrypts what is said."),
    (r"role .+ does not exist", "Create that user, or correct the name."),
    (r"database .+ does not exist", "Create it: CREATE DATABASE name OWNER user."),
    (r"root certificate file|certificate verify failed|does not support SSL|sslmode|"
     r"server certificate for", _TLS),
    (r"invalid connection option|invalid URI|invalid port|invalid integer value", SUPPORTED),
    (r"permission denied", "The user must own the database: ALTER DATABASE name OWNER TO user."),
)  # fmt: skip
"""What PostgreSQL and its driver say, mostly without a code, and what mends it."""
_OF_SQLITE = {
    sqlite3.SQLITE_NOTADB: "Name another file, or put this one back from a backup.",
    sqlite3.SQLITE_CORRUPT: "Put it back from a backup: docs/data.md.",
    sqlite3.SQLITE_READONLY: "Give the file and its folder to the user that runs the bot.",
    sqlite3.SQLITE_PERM: "Give the file and its folder to the user that runs the bot.",
}
_WHERE = re.compile(r"^connection failed: connection to server .*? failed: |^FATAL: +")


def database_fault(error: BaseException) -> SettingFault | None:
    """Say what is wrong with the database and what mends it; None: it is no such fault.

    Args:
        error: what was raised as the database was opened.
    """
    if not isinstance(error, sa.exc.DBAPIError) or error.orig is None:
        return None
    said = said_by_driver(error)
    if isinstance(error.orig, sqlite3.Error):
        remedy = _OF_SQLITE.get(getattr(error.orig, "sqlite_errorcode", 0) & 0xFF)
    else:
        whole = str(error.orig)
        remedy = next((then for words, then in _FOR_GOOD if re.search(words, whole)), None)
    return None if remedy is None else SettingFault(_NAME, f"{said}.", remedy)


def said_by_driver(error: BaseException) -> str:
    """The first line of the driver's own words, without the address: SQLAlchemy puts more around.

    Args:
        error: what was raised.
    """
    words: Any = getattr(error, "orig", None) or error
    line = (str(words).splitlines() or [type(words).__name__])[0]
    while (shorter := _WHERE.sub("", line)) != line:
        line = shorter
    return line.strip().rstrip(".")
