"""Is this a fault of the database, or of the disk, that passes by itself? One place that knows.

Whoever meets one waits and tries again, as with GitHub's faults. What the driver says names hosts,
ports and paths: it belongs into the log, and people read our words instead.

Error codes: https://www.postgresql.org/docs/current/errcodes-appendix.html and
https://www.sqlite.org/rescode.html
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, TypeGuard

import sqlalchemy as sa

from bot import LazyModule
from bot.errors import Guarded, Passing, without_paths

if TYPE_CHECKING:
    import psycopg
else:
    psycopg = LazyModule("psycopg")


class Outage(StrEnum):
    """What is away for a moment, in words for people."""

    AWAY = "the database could not be reached"
    BUSY = "the database is locked"
    READ_ONLY = "the database cannot be written"
    REFUSED = "the database does not let this bot in"
    FULL = "the disk is full"
    LIMIT = "this machine has no room for more open files"


class DatabaseAway(Passing):
    """A fault of the database, or of the disk below it, that passes. `str()` is fit for people."""

    def __init__(self, outage: Outage) -> None:
        """Say what is away."""
        super().__init__(outage.value)
        self.outage = outage


_BY_SQLSTATE = {
    "08": Outage.AWAY,  # connection exception
    "0A000": Outage.READ_ONLY,  # a standby says so of a transaction that says it may write
    "25006": Outage.READ_ONLY,  # the server became a standby
    "28": Outage.REFUSED,  # invalid authorization
    "3D000": Outage.REFUSED,  # the database is not there; it may have been renamed for a moment
    "25P03": Outage.AWAY,  # the session idled in a transaction for too long and was ended
    "25P04": Outage.AWAY,  # the transaction took longer than the server lets it
    "40001": Outage.BUSY,  # serialization failure: run the transaction again
    "40P01": Outage.BUSY,  # deadlock
    "42501": Outage.REFUSED,  # insufficient privilege: a right was taken from the user
    "53": Outage.AWAY,  # insufficient resources: memory, connections
    "53100": Outage.FULL,
    "55P03": Outage.BUSY,  # lock not available
    "57014": Outage.BUSY,  # the statement took longer than the server lets it, or was stopped there
    "57P01": Outage.AWAY,  # admin shutdown
    "57P02": Outage.AWAY,  # crash shutdown
    "57P03": Outage.AWAY,  # cannot connect now
    "57P05": Outage.AWAY,  # idle session timeout
    "58": Outage.AWAY,  # system error outside PostgreSQL, such as reading a file
}
_BY_SQLITE_CODE = {
    sqlite3.SQLITE_BUSY: Outage.BUSY,
    sqlite3.SQLITE_LOCKED: Outage.BUSY,
    sqlite3.SQLITE_PROTOCOL: Outage.BUSY,
    sqlite3.SQLITE_FULL: Outage.FULL,
    sqlite3.SQLITE_IOERR: Outage.AWAY,
    sqlite3.SQLITE_CANTOPEN: Outage.AWAY,
    sqlite3.SQLITE_NOMEM: Outage.AWAY,
    sqlite3.SQLITE_READONLY: Outage.READ_ONLY,  # the file system was closed to writing
}
_BY_ERRNO = {
    errno.ENOSPC: Outage.FULL,
    errno.EDQUOT: Outage.FULL,
    errno.EMFILE: Outage.LIMIT,
    errno.ENFILE: Outage.LIMIT,
}
# A refused log-in carries no code, only words. It ends a start (`wiring/database_faults.py`); what
# is under way waits until somebody has seen to it, as it does for a key that GitHub does not take.
_REFUSES = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|not permitted to log in|"
    r"(?:role|database) .+ does not exist",
    re.IGNORECASE,
)

_SPEAKS_FOR_US = frozenset({"bot", "builtins", "dbos"})
"""Whose errors have words of ours; dbos repeats those of the steps it recorded."""

_MISTAKES = (
    ArithmeticError, AssertionError, AttributeError, IndexError, KeyError, NameError, TypeError,
    UnicodeError,
)  # fmt: skip
"""What Python says where the code is wrong: nobody wrote those words for people."""


def outage_of(error: BaseException) -> Outage | None:
    """Say what is away for a moment, or None: waiting would not help, or it is no such fault."""
    if isinstance(error, DatabaseAway):
        return error.outage
    if isinstance(error, sa.exc.DBAPIError):
        found = None if error.orig is None else outage_of(error.orig)
        return found or (Outage.AWAY if error.connection_invalidated else None)
    if isinstance(error, sa.exc.TimeoutError):
        return Outage.BUSY  # no connection of the pool came free
    if isinstance(error, sa.exc.PendingRollbackError):
        return Outage.AWAY  # the connection was lost in the middle of this transaction
    if _is_postgresqls(error):
        return _of_postgresql(error)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _BY_ERRNO.get(error.errno)
    return None


def passing(error: Exception) -> Passing | None:
    """The error as a passing fault, where it is one: of GitHub, git, the database or the disk."""
    if isinstance(error, Passing):
        return error
    outage = outage_of(error)
    return None if outage is None else DatabaseAway(outage)


def in_public(error: BaseException) -> str:
    """What people may read about an error: its own words, or ours where a driver speaks.

    Those name hosts, ports, paths and statements; they are for the log.
    """
    for each in _with_causes(error):
        if (outage := outage_of(each)) is not None:
            return outage.value
        if isinstance(each, sa.exc.SQLAlchemyError | sqlite3.Error) or _is_postgresqls(each):
            return "the database refused it; the log says more"
    if isinstance(error, OSError) and error.errno is not None:
        return f"the machine I run on refused it: {os.strerror(error.errno)}"
    if isinstance(error, Guarded):
        return error.in_public
    ours = type(error).__module__.partition(".")[0] in _SPEAKS_FOR_US
    ours = ours and not isinstance(error, _MISTAKES)
    if ours or isinstance(error, Passing):
        return without_paths(str(error)) or type(error).__name__
    return f"this bot itself is at fault ({type(error).__name__}); its log says more"


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    seen: set[int] = set()
    # One that was raised from itself is its own cause.
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__


def _is_postgresqls(error: BaseException) -> TypeGuard[psycopg.Error]:
    # A driver that nobody has loaded has said nothing, and is not loaded to find that out.
    return "psycopg" in sys.modules and isinstance(error, psycopg.Error)


def _of_postgresql(error: psycopg.Error) -> Outage | None:
    state = error.sqlstate
    if state is not None:
        return _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2])
    if isinstance(error, psycopg.OperationalError):
        return Outage.REFUSED if _REFUSES.search(str(error)) else Outage.AWAY
    closed = isinstance(error, psycopg.InterfaceError) and "closed" in str(error)
    return Outage.AWAY if closed else None


def _of_sqlite(error: sqlite3.Error) -> Outage | None:
    # The lowest byte is the kind, the others say more about it.
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else _BY_SQLITE_CODE.get(code & 0xFF)
