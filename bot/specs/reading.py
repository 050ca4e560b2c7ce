"""Reading somebody's `self/spec_report.json`, and what the checks say of it by now.

Anybody may bring such a file, by a pull request from a fork; so what one may cost is bounded, and
each is read once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated

from cachetools import LRUCache
from pydantic import FailFast, Field, ValidationError

from bot.github.models import CheckResult
from bot.records.documents.spec_report import (
    Met,
    Requirement,
    SpecReport,
    TrialMetric,
    summary_of,
)
from bot.triggers import Value

LARGEST_BYTES = 32 * 1024
"""A larger file is refused unread."""
MOST_REQUIREMENTS = 200
MOST_METRICS = 500
EXPECTS_SUCCESS = "success"
"""Where a requirement expects this of a check, the check itself is asked; else the file is."""

_FAULTS_TOLD = 5
_WORST_FIRST = ("failure", "action_required", "error")


class SpecFault(Value):
    """One thing wrong with the file: the field (empty: the file as a whole), and what is."""

    field: str
    what: str


_TOO_LARGE = (SpecFault(field="", what=f"larger than {LARGEST_BYTES // 1024} KiB"),)


class _Theirs(SpecReport):
    """A report by somebody else: of so many rows, and the first wrong one ends the reading.

    Collecting what is wrong with ten thousand rows takes seconds, in which nothing else runs.
    """

    spec: Annotated[tuple[Requirement, ...], Field(max_length=MOST_REQUIREMENTS), FailFast()]
    metrics: Annotated[tuple[TrialMetric, ...], Field(max_length=MOST_METRICS), FailFast()]


Read = SpecReport | tuple[SpecFault, ...]

_known: LRUCache[str, Read] = LRUCache(200)


async def read_once(blob: str, content: bytes | None) -> Read:
    """Read a file away from the event loop, or remember what came of reading it.

    Args:
        blob: the file's id in git, which names its content.
        content: its bytes; None where there are more than LARGEST_BYTES.

    Returns:
        The report; what is wrong with it, at most five things, where it is invalid.
    """
    if content is None:
        return _TOO_LARGE
    if blob not in _known:
        _known[blob] = await asyncio.to_thread(read_spec, content)
    return _known[blob]


def read_spec(content: bytes) -> Read:
    """Read the file's bytes; what is wrong with it, at most five things, where it is invalid."""
    if len(content) > LARGEST_BYTES:
        return _TOO_LARGE
    try:
        return _Theirs.model_validate_json(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return tuple(
            SpecFault(field=".".join(str(part) for part in fault["loc"]), what=fault["msg"])
            for fault in faults[:_FAULTS_TOLD]
        )


def with_results(report: SpecReport, results: Sequence[CheckResult]) -> SpecReport:
    """Bring a report up to what the checks say of the pull request's head now.

    What the file claims of a check cannot have been seen on the commit that holds the file, so
    the check is asked instead. Counts are made anew, whatever the file says.
    """
    named: defaultdict[str, list[CheckResult]] = defaultdict(list)
    for each in results:
        named[each.name].append(each)
    spec = tuple(_asked(each, named) for each in report.spec)
    return report.model_copy(update={"spec": spec, "summary": summary_of(spec)})


def _asked(requirement: Requirement, results: Mapping[str, Sequence[CheckResult]]) -> Requirement:
    if requirement.check is None or requirement.expectation != EXPECTS_SUCCESS:
        return requirement
    found = results.get(requirement.check, ())
    if not found:
        return _with(requirement, None, Met.UNKNOWN, None)
    running = [each for each in found if not each.is_completed]
    failed = [each for each in found if each.conclusion in _WORST_FIRST]
    silent = [each for each in found if each.is_completed and each.conclusion != "success"]
    if failed:
        return _with(requirement, failed[0].conclusion, Met.UNMET, failed[0].url)
    if running:
        return _with(requirement, "running", Met.UNKNOWN, running[0].url)
    if silent:
        return _with(requirement, silent[0].conclusion, Met.UNKNOWN, silent[0].url)
    return _with(requirement, "success", Met.MET, found[0].url)


def _with(
    requirement: Requirement, observed: str | None, verdict: Met, evidence: str | None
) -> Requirement:
    seen = {"observed": observed, "verdict": verdict, "evidence": evidence}
    return requirement.model_copy(update=seen)
