"""What is wrong with the database for good, said so that it can be mended: waiting helps nothing.

`serve` ends with it, and `doctor` says it. What passes by itself is in `bot/records/outages.py`.
Error codes: https://www.postgresql.org/docs/current/errcodes-appendix.html and
https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3

import sqlalchemy as sa

from bot.settings import SettingFault

SUPPORTED = "Write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME."
WRITTEN_SO = (
    "In user and password `@` is written %40, `:` %3A, `/` %2F, `#` %23, `?` %3F and `%` %25."
)
LOOK_THERE = (
    f"Check DATABASE_URL: host, name, user and password; and that the server runs. {WRITTEN_SO}"
)

_TLS = "`sslmode` and `sslrootcert` in the address say how the server is recognised."
_FOR_GOOD = (
    (r"authentication failed|no password supplied", f"Correct user or password. {WRITTEN_SO}"),
    (r"no pg_hba\.conf entry",
     "The server's pg_hba.conf must let this user in from here; `?sslmode=require` at the end of "
     "the address encrypts what is said."),
    (r"role .+ does not exist", "Create that user, or correct the name."),
    (r"no schema has been selected",
     "The search_path of the user or the database names no schema that is there: ALTER ROLE user "
     "RESET search_path, and ALTER DATABASE name RESET search_path."),
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
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""What a folder on a network says that takes no locks."""
_TRIED = "\n- host: "
"""Where a name has several addresses, the driver tells of each."""
_WHERE = re.compile(
    r"^.*?, hostaddr: \S+: |^connection failed: |^connection to server .*? failed: |^FATAL: +"
)


def database_fault(error: BaseException, *, is_given: bool = True) -> SettingFault | None:
    """Say what is wrong with the database and what mends it; None: it is no such fault.

    Args:
        error: what was raised as the database was opened.
        is_given: whether DATABASE_URL is set; else it is the file in PLAYBOOKS_DATA.
    """
    name = "DATABASE_URL" if is_given else "PLAYBOOKS_DATA"
    if isinstance(error, OSError) and error.errno in _NO_LOCKS:
        what = f"no file can be locked there: {os.strerror(error.errno)}."
        return SettingFault(name, what, "Name a folder on a disk of this machine, or a PostgreSQL.")
    if not isinstance(error, sa.exc.DBAPIError) or error.orig is None:
        return None
    if isinstance(error.orig, sqlite3.Error):
        remedy = _OF_SQLITE.get(getattr(error.orig, "sqlite_errorcode", 0) & 0xFF)
    else:
        # One of several servers that is only away for a moment is worth waiting for.
        found = [_remedy(each) for each in _attempts(error)]
        remedy = None if None in found else found[-1]
    if remedy is None:
        return None
    return SettingFault(name, f"{said_by_driver(error)}.", remedy)


def _attempts(error: BaseException) -> list[str]:
    first, *others = str(getattr(error, "orig", None) or error).split(_TRIED)
    return others or [first]


def _remedy(said: str) -> str | None:
    return next((then for words, then in _FOR_GOOD if re.search(words, said)), None)


def said_by_driver(error: BaseException) -> str:
    """The first line of the driver's own words, without the address: SQLAlchemy puts more around.

    Args:
        error: what was raised.
    """
    line = (_attempts(error)[-1].splitlines() or [type(error).__name__])[0]
    while (shorter := _WHERE.sub("", line)) != line:
        line = shorter
    return line.strip().rstrip(".")
