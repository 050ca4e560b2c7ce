"""CloudEvents 1.0 over HTTP: structured, binary and batched, read by the CloudEvents SDK.

Source: the HTTP protocol binding, the JSON event format and the webhook specification, at
github.com/cloudevents/spec, version 1.0.2. The SDK decodes; what an event means is told here.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as DecodedEvent
from pydantic import Field, field_validator, model_validator

from bot.intake.alerts.formats import (
    AlertModel,
    Moment,
    UnreadableAlert,
    read_as,
    read_json,
    severity_of_label,
    title_of,
    web_page,
)
from bot.names import CAPABILITY
from bot.records.alerts import ConditionReport, Said, SignalName
from bot.safety.severity import (
    BudgetUse,
    BurnRate,
    EvalDrop,
    SafetyViolation,
    severity_of,
)
from bot.triggers import UNKNOWN_SEVERITY, Repository, Severity

EVENT, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_TYPE = re.compile(r"(?:.*\.)?(slo\.breach|eval\.drop|safety\.violation|budget\.overrun)")
_BLAMED = ("pull_request", "commit", "capability")


class EventData(AlertModel):
    """The `data` of a CloudEvent. At most one of `pull_request`, `commit`, `capability` is blamed.

    `burn_rates` has rates by window, such as `{"1h": 14.4, "5m": 15}`; `irreversible` belongs to a
    safety violation, `beyond` to an eval drop, `share` and `still_spending` to a budget.
    """

    repository: str | None = None
    status: Literal["firing", "resolved"] = "firing"
    summary: str = ""
    severity: str | None = None
    pull_request: int | None = Field(default=None, gt=0, lt=10**9)
    commit: str | None = Field(default=None, pattern=r"^[0-9A-Fa-f]{7,40}$")
    capability: str | None = Field(default=None, pattern=f"^{CAPABILITY}$")
    url: object = None
    burn_rates: dict[str, float] = Field(default_factory=dict, max_length=10)
    irreversible: bool = False
    beyond: Literal["interval", "guardrail"] = "interval"
    share: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    still_spending: bool = False

    @field_validator("burn_rates")
    @classmethod
    def _windows(cls, value: dict[str, float]) -> dict[str, float]:
        for window in value:
            window_of(window)
        return value

    @model_validator(mode="after")
    def _blames_one(self) -> EventData:
        if sum(getattr(self, name) is not None for name in _BLAMED) > 1:
            raise ValueError("name at most one of pull_request, commit and capability")
        return self

    @property
    def blames(self) -> str | None:
        """The field that names what is blamed, if one does."""
        return next((name for name in _BLAMED if getattr(self, name) is not None), None)


class CloudEvent(AlertModel):
    """A CloudEvent 1.0. What it is about is its `subject`: a recovery carries the same.

    `type` ends with slo.breach, eval.drop, safety.violation or budget.overrun; what stands before
    it, such as the reversed domain that the specification wishes for, is the sender's own.
    """

    specversion: Literal["1.0"]
    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    type: str
    subject: str = ""
    time: Moment | None = None
    data: EventData = EventData()

    @field_validator("type")
    @classmethod
    def _known(cls, value: str) -> str:
        if not _TYPE.fullmatch(value):
            raise ValueError(
                "must be, or end with, slo.breach, eval.drop, safety.violation or budget.overrun"
            )
        return value

    @property
    def signal(self) -> SignalName:
        """Which sort of trouble it is."""
        named: SignalName = _TYPE.fullmatch(self.type)[1]  # type: ignore[index, assignment]
        return named


class _Decoded(DecodedEvent):
    """An event as it came: the SDK adds what is missing, such as an id of its own."""

    def __init__(self, attributes: dict[str, Any], data: Any = None) -> None:
        self.given = dict(attributes)
        super().__init__(attributes, data)


def read_structured(body: bytes) -> CloudEvent:
    """Read one event in structured mode.

    Raises:
        UnreadableAlert: it is none, or not one of ours.
    """
    return read_member(read_json(body))


def read_member(given: object) -> CloudEvent:
    """Read one event of a batch, or the only one of a structured request.

    Raises:
        UnreadableAlert: it is none, or not one of ours.
    """
    if not isinstance(given, dict):
        raise UnreadableAlert("body", "a JSON object")
    # In the JSON format null means that an attribute is not set; the SDK would read it.
    known = {name: value for name, value in given.items() if value is not None}
    if "data_base64" in known:
        _check_base64(known["data_base64"])
    return _read(HTTPMessage({"content-type": EVENT}, json.dumps(known).encode()), binary=False)


def read_binary(headers: Mapping[str, str], body: bytes) -> CloudEvent:
    """Read one event in binary mode: attributes are headers, data is the body.

    Raises:
        UnreadableAlert: it is none, or not one of ours.
    """
    return _read(HTTPMessage(dict(headers), body), binary=True)


def has_json_data(content_type: str) -> bool:
    """Tell whether the body of a binary request is JSON."""
    return JSONFormat.JSON_CONTENT_TYPE_PATTERN.match(content_type) is not None


def _read(message: HTTPMessage, *, binary: bool) -> CloudEvent:
    decode = from_binary if binary else from_structured
    try:
        event = decode(message, JSONFormat(), _Decoded)
    except CloudEventValidationError as error:
        field, [fault, *_] = next(iter(error.errors.items()))
        raise UnreadableAlert(field, str(fault)) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise UnreadableAlert("time", "a time such as 2026-01-31T12:00:00Z") from error
    if not isinstance(event, _Decoded):
        raise TypeError("the SDK made another event than it was told to")
    attributes = event.given | {"data": _object(event.get_data(), binary=binary)}
    return read_as(CloudEvent, attributes)


def _object(data: Any, *, binary: bool) -> dict[str, Any]:
    """The event's data, decoded.

    Raises:
        UnreadableAlert: it is no JSON object. What cannot be read is refused, never left out.
    """
    field = "data" if binary or not isinstance(data, bytes) else "data_base64"
    if isinstance(data, bytes):
        data = read_json(data, field)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UnreadableAlert(field, "a JSON object")
    return data


def _check_base64(given: object) -> None:
    try:
        base64.b64decode(given if isinstance(given, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableAlert("data_base64", "base64 of a JSON object") from error


def window_of(text: str) -> timedelta:
    """Read a window such as `5m`, `6h` or `3d`.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,3})([mhd])", text)
    if found is None:
        raise ValueError("windows are written 5m, 6h or 3d")
    unit = {"m": "minutes", "h": "hours", "d": "days"}[found[2]]
    return timedelta(**{unit: int(found[1])})


def event_report(event: CloudEvent, repository: Repository, received: datetime) -> ConditionReport:
    """What a CloudEvent says."""
    data = event.data
    condition = f"{event.type}\n{event.source}\n{event.subject}"
    return ConditionReport(
        repository=repository,
        source="cloudevents",
        group_key=condition,
        fingerprint="event",
        event=f"{event.source}\n{event.id}",
        at=event.time or received,
        firing=data.status == "firing",
        said=Said(
            title=title_of(data.summary or f"{event.type} {event.subject}"),
            severity=_severity(event),
            signal=event.signal,
            pull_request=data.pull_request,
            commit=data.commit.lower() if data.commit else None,
            capability=data.capability,
            url=web_page(data.url),
        ),
    )


def _severity(event: CloudEvent) -> Severity:
    data = event.data
    match event.signal:
        case "safety.violation":
            signal = SafetyViolation(irreversible=data.irreversible, label=data.severity)
            return severity_of(signal) or UNKNOWN_SEVERITY
        case "slo.breach" if data.burn_rates:
            rates = {window_of(name): rate for name, rate in data.burn_rates.items()}
            return severity_of(BurnRate(rates=rates)) or UNKNOWN_SEVERITY
        case "budget.overrun" if data.share is not None:
            use = BudgetUse(share=data.share, still_spending=data.still_spending)
            # Below the warning line it is no overrun, whatever its sender calls it.
            return severity_of(use) or Severity.LOW
    if data.severity is not None:
        return severity_of_label(data.severity)
    if event.signal == "eval.drop":
        return severity_of(EvalDrop(beyond=data.beyond)) or UNKNOWN_SEVERITY
    return UNKNOWN_SEVERITY
