"""What one trial says about its commit: exit status and result file in, outcome out."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bot.culprit.evidence import TrialOutcome
from bot.github.transport.redaction import redact

RESULT_VARIABLE = "PLAYBOOKS_RESULT"
RESULT_LIMIT_BYTES = 1 << 20


class CommandNotFoundError(Exception):
    """The command itself cannot be run, so no commit can be judged by it."""


class ResultFileError(Exception):
    """The command wrote a result file that cannot be read."""


Name = Annotated[str, Field(min_length=1, max_length=1000)]


class ResultFile(BaseModel):
    """What a command may write to the file named in `$PLAYBOOKS_RESULT`, as JSON.

    `fingerprint` says which failure this is, best by the names of the failing tests: one string
    or a list of them. A failure that shares none with the one looked for is no evidence.
    `metrics` are numbers to compare over commits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fingerprint: Annotated[frozenset[Name], Field(max_length=10_000)] | None = None
    metrics: dict[Name, float] = Field(default_factory=dict, max_length=1000)

    @field_validator("fingerprint", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value


@dataclass(frozen=True)
class Judgement:
    """The outcome of one trial and, in words, why."""

    outcome: TrialOutcome
    reason: str
    fingerprint: frozenset[str] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


_SIGNALS = {128 + each: each.name for each in signal.Signals}
_CRASHES = (132, 134, 135, 136, 139)
_KILLS = (137, 143)
"""Ended from outside: by whoever lacks memory, or shuts the machine down."""


def judge(exit_status: int) -> Judgement:
    """Map a shell's exit status (128 + n where signal n killed) to an outcome.

    Raises:
        CommandNotFoundError: 126 and 127, what POSIX shells answer when a command cannot be
            executed or found.
    """
    if exit_status == 0:
        return Judgement(TrialOutcome.PASS, "exit status 0")
    if exit_status == 125:
        return Judgement(TrialOutcome.UNTESTABLE, "exit status 125")
    if exit_status in (126, 127):
        raise CommandNotFoundError(
            f"command not found: it ended with {exit_status}, which shells use for a command that "
            "is missing or not executable. Check its name and path; relative paths start at the "
            "repository's root."
        )
    if exit_status in _CRASHES:
        return Judgement(TrialOutcome.FAIL, f"crashed with {_SIGNALS[exit_status]}")
    if exit_status in _KILLS:
        return Judgement(TrialOutcome.INFRA, f"killed by {_SIGNALS[exit_status]}")
    # Above 128 many programs answer numbers of their own: ssh and PHP, for example, 255.
    known = f" ({_SIGNALS[exit_status]})" if exit_status in _SIGNALS else ""
    return Judgement(TrialOutcome.FAIL, f"exit status {exit_status}{known}")


def read_result(path: Path) -> ResultFile | None:
    """Read the result file a trial left behind; None where it wrote none.

    The file comes from untrusted code: links are not followed, a pipe does not block, and no
    more than 1 MiB is read.

    Raises:
        ResultFileError: there is something, but not a valid result.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ResultFileError(f"${RESULT_VARIABLE} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ResultFileError(f"${RESULT_VARIABLE} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(RESULT_LIMIT_BYTES + 1)
    if len(content) > RESULT_LIMIT_BYTES:
        raise ResultFileError(f"${RESULT_VARIABLE} is larger than {RESULT_LIMIT_BYTES} bytes")
    if not content:
        return None
    try:
        result = ResultFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ResultFileError(
            f"${RESULT_VARIABLE} is not valid: {where}: {first['msg']}"
        ) from error
    return result


def with_result(judgement: Judgement, path: Path) -> Judgement:
    """Add fingerprint and metrics from the result file; an unreadable one makes it untestable."""
    if judgement.outcome not in (TrialOutcome.PASS, TrialOutcome.FAIL):
        return judgement
    try:
        result = read_result(path)
    except ResultFileError as error:
        return Judgement(TrialOutcome.UNTESTABLE, redact(str(error)))
    if result is None:
        return judgement
    names = result.fingerprint
    return Judgement(
        judgement.outcome,
        judgement.reason,
        None if names is None else frozenset(map(redact, names)),
        {redact(name): value for name, value in result.metrics.items()},
    )
