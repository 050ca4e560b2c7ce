"""Structured logs, for people on a terminal or as JSON; no token ever gets into them.

Everything goes one way: what libraries, Python's warnings and uncaught errors say becomes a line
like our own. Each line has the ids that are known where it is written (delivery, run, incident,
repository), from `structlog.contextvars`. A Run that is begun again says nothing twice.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TextIO, TypeVar, cast

import structlog

from bot.github.transport.redaction import redact_event

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_MOST_OF_AN_INPUT = 2_000
"""Characters of one input of a decision."""

replays: ContextVar[Callable[[], bool] | None] = ContextVar("replays", default=None)
"""In a Run: tells whether it is at what an execution before this one has passed already."""


def is_replayed() -> bool:
    """Whether a Run is at what it has passed already, before its process was killed."""
    tells = replays.get()
    return tells is not None and tells()


class Unfailing(io.TextIOBase):
    """A stream on which nothing fails: what cannot be written is lost, and the bot goes on.

    A log may lie on the very disk that is full. An error raised by whoever reports an error would
    end parts of the bot that know how to wait.
    """

    def __init__(self, stream: TextIO) -> None:
        """Write to this stream."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; the length of the text."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what can be handed on."""
        with suppress(OSError):
            self._stream.flush()


def set_up_logs(level: str, log_format: str) -> None:
    """Send logs to stderr, also those of libraries, warnings, and errors that nobody caught.

    Args:
        level: debug, info, warning or error.
        log_format: console or json.
    """
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer(serializer=_only_json)]
        if log_format == "json"
        else [_for_terminals, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            _once,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _in_a_word,
            structlog.processors.format_exc_info,
            redact_event,
            # No secret, and another in each line: it would push words out of what `redact` keeps.
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        # A line in one write: lines of several threads are not mixed, and each is one system call.
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, Unfailing(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    _take_in_libraries()
    sys.excepthook = _uncaught
    threading.excepthook = lambda said: _uncaught(
        said.exc_type, cast(BaseException, said.exc_value), said.exc_traceback
    )
    sys.unraisablehook = lambda said: log.error(
        said.err_msg or "an error could not be raised",
        of=repr(said.object),
        exc_info=said.exc_value,
    )


def _only_json(line: Any, **how: Any) -> str:
    """As JSON has it, which knows no infinity: such a number becomes a word."""
    try:
        return json.dumps(line, allow_nan=False, **how)
    except ValueError:
        return json.dumps(json.loads(json.dumps(line, **how), parse_constant=str))


class _Quoted:
    """Is printed as Python writes the text: quoted, and whatever cannot be seen by its number."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _for_terminals(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Have no text that others wrote move the cursor, change colours, or begin a line."""
    for name, value in event.items():
        if not isinstance(value, str) or value.isprintable():
            continue
        if name == "event":
            event[name] = repr(value)[1:-1]
        elif name == "exception":
            event[name] = "".join(
                each if each in "\n\t" or each.isprintable() else repr(each)[1:-1] for each in value
            )
        else:
            event[name] = _Quoted(value)
    return event


def _once(
    _logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Drop what the execution before this one has said: a replay passes it again."""
    if method in ("debug", "info") and is_replayed():
        raise structlog.DropEvent
    return event


def _in_a_word(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Say of what passes by itself, such as a database or GitHub away, just that: no trace."""
    given = event.get("exc_info")
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given else None
    if error is None:
        return event
    # Only here, for the sake of commands that know no database.
    from bot.records.outages import passing

    if isinstance(error, Exception) and (fault := passing(error)) is not None:
        del event["exc_info"]
        event.setdefault("why", str(fault) or type(fault).__name__)
    return event


class _Library(logging.Handler):
    """Passes on what a library says by Python's own logging."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            said = record.getMessage().strip()
        except Exception:  # as `logging` itself: words that do not fit their arguments
            said = str(record.msg)
        log.log(record.levelno, said, logger=record.name, exc_info=record.exc_info)


def _take_in_libraries() -> None:
    handler = _Library()
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in list(logging.root.manager.loggerDict):
        known = logging.getLogger(name)
        known.handlers.clear()
        known.propagate = True
    # DBOS gives its logger a handler of its own wherever it finds none.
    logging.getLogger("dbos").handlers = [handler]
    logging.getLogger("dbos").propagate = False


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        log.critical("nobody caught an error", exc_info=(kind, error, trace))


class Few:
    """Lets so many lines of one kind pass in a minute: strangers may cause them without end."""

    def __init__(self, most: int = 60) -> None:
        """Let `most` pass, and count the others."""
        self._most, self._began, self._passed, self._dropped = most, float("-inf"), 0, 0

    def info(self, event: str, **said: Any) -> None:
        """Say it, unless too much was said in this minute; what was left out is counted."""
        now = time.monotonic()
        if now - self._began >= 60:
            if self._dropped:
                log.info("lines were left out", of=event, lines=self._dropped)
            self._began, self._passed, self._dropped = now, 0, 0
        if self._passed >= self._most:
            self._dropped += 1
            return
        self._passed += 1
        log.info(event, **said)


def explained(decide: Callable[P, T]) -> Callable[P, T]:
    """Have a pure decision say at debug what it was given, and what came of it."""
    signature, where = inspect.signature(decide), f"{decide.__module__}.{decide.__name__}"

    @wraps(decide)
    def explaining(*args: P.args, **kwargs: P.kwargs) -> T:
        decision = decide(*args, **kwargs)
        if log.is_enabled_for(logging.DEBUG):
            given = signature.bind(*args, **kwargs).arguments
            inputs = {name: repr(value)[:_MOST_OF_AN_INPUT] for name, value in given.items()}
            log.debug("decided", by=where, decision=repr(decision), inputs=inputs)
        return decision

    return explaining
