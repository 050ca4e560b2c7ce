"""A Run that a passing fault of the database breaks off stays pending, and goes on later.

DBOS (3.4.0) waits by itself for a PostgreSQL server that is away, and for a locked SQLite file. It
does not for what it has no code for (a full disk, an unwrapped driver error, a pool that is
exhausted): such an error it records, as the result of a step or as the end of a workflow, and the
Run is dead for good. What it never records is a task that was cancelled. So here such an error
becomes a cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

from dbos import _core, _datasource, _sys_db

from bot.records.outages import Outage, outage_of

_RECORDING: tuple[ModuleType, ...] = (_core, _datasource, _sys_db)
"""Where DBOS turns an error into what it records."""
_NAME = "serialize_exception"


class Interrupted(asyncio.CancelledError):
    """This execution ends without a result; the Run is to be taken up again."""

    def __init__(self, outage: Outage) -> None:
        """Say what is away."""
        super().__init__(outage.value)
        self.outage = outage


def never_record_outages() -> None:
    """From now on, DBOS records no passing fault of the database; it raises `Interrupted`."""
    for module in _RECORDING:
        serialize = vars(module)[_NAME]
        if not getattr(serialize, "spares_outages", False):
            vars(module)[_NAME] = _sparing_outages(serialize)


def _sparing_outages(serialize: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(value: Exception, *args: Any, **kwargs: Any) -> Any:
        if (outage := outage_of(value)) is not None:
            raise Interrupted(outage) from value
        return serialize(value, *args, **kwargs)

    vars(guarded)["spares_outages"] = True
    return guarded
