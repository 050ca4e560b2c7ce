"""Numbers that checks report: in an annotation of a job, or in what a check-run says.

All of it is written by whoever runs the check, so nothing is believed of it: how much is looked
at is limited, and what is not as it should be is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from bot.github.models import JobAnnotation
from bot.github.transport.redaction import redact

TITLE = "playbooks-metrics"
"""The title of annotations that report numbers: `::notice title=playbooks-metrics::{"x": 1.5}`."""
LONGEST_TEXT = 64 << 10
"""Characters of one text that are looked at; GitHub keeps no more of a check-run's."""
MOST_METRICS = 1_000
_MOST_REASONS = 10
_LONGEST_PLACE = 100

MetricName = Annotated[str, Field(min_length=1, max_length=1000)]
_Visible = Annotated[MetricName, Field(pattern=r"^[^\x00-\x1f\x7f]+$")]
MetricValue = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Metrics = Annotated[dict[_Visible, MetricValue], Field(max_length=MOST_METRICS)]


class _Message(RootModel[_Metrics]):
    model_config = ConfigDict(defer_build=True)


class _Report(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="ignore")

    metrics: _Metrics


@dataclass(frozen=True)
class ReportedMetrics:
    """Numbers by name, in their own units, and in words what was left out and why."""

    metrics: dict[str, float] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def in_annotations(annotations: Iterable[JobAnnotation]) -> ReportedMetrics:
    """Read the numbers that a job reported by notices titled `TITLE`; of one name the last.

    An annotation with anything wrong in it is left out as a whole, and so is one that would make
    it more than `MOST_METRICS` names.
    """
    found: dict[str, float] = {}
    ignored: list[str] = []
    for each in annotations:
        if each.annotation_level != "notice" or each.title != TITLE:
            continue
        message = each.message or ""
        try:
            read = _read(message, _of_message)
            if len(found.keys() | read.keys()) > MOST_METRICS:
                raise ValueError(f"there are more than {MOST_METRICS:,} names")
        except ValueError as error:
            ignored.append(f"A notice titled {TITLE} does not count: {error}.")
        else:
            found |= read
    return ReportedMetrics(found, tuple(ignored[:_MOST_REASONS]))


def in_output(texts: Sequence[str | None]) -> dict[str, float]:
    """Read the numbers in what a check-run says; empty where there are none.

    A JSON object with the key `metrics` counts that is all of a text, or its first block fenced as
    `json`; of several texts the first that has one.
    """
    for text in texts:
        block = _json_in((text or "")[:LONGEST_TEXT])
        if block is None:
            continue
        try:
            return _read(block, _of_report)
        except ValueError:
            continue
    return {}


def _of_message(text: bytes) -> dict[str, float]:
    return _Message.model_validate_json(text).root


def _of_report(text: bytes) -> dict[str, float]:
    return _Report.model_validate_json(text).metrics


def _read(text: str, how: Callable[[bytes], dict[str, float]]) -> dict[str, float]:
    """Read JSON from outside.

    Raises:
        ValueError: it is not what it should be; the message says why, without secrets.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it has more than {LONGEST_TEXT:,} characters")
    try:
        # What cannot be written as UTF-8 could be kept nowhere.
        metrics = how(text.encode("utf-8", "replace"))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the message"
        where = redact(place)[:_LONGEST_PLACE]
        raise ValueError(f"{where}: {first['msg']}") from None
    return {redact(name): value for name, value in metrics.items()}


def _json_in(text: str) -> str | None:
    """All of a text where it may be an object, else its first block fenced as `json`."""
    if text.lstrip().startswith("{"):
        return text.strip()
    lines = iter(text.splitlines())
    if not any(line.strip().lower() == "```json" for line in lines):
        return None
    block: list[str] = []
    for line in lines:
        if line.strip() == "```":
            return "\n".join(block)
        block.append(line)
    return None
