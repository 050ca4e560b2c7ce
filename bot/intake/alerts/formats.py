"""What senders of alerts write: the webhooks of Alertmanager and Grafana, and CloudEvents 1.0.

Sources: prometheus.io/docs/alerting/latest/configuration, "webhook_config" (version 4);
grafana.com/docs/grafana/latest/alerting, "Configure webhook notifications" (version 1); the
CloudEvents specification 1.0, with its HTTP protocol binding and JSON format. Fields we do not
need are ignored, since senders add some; those we need are held to their shape.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from bot.intake.github.payloads import web_address
from bot.records.intake.alerts import Report, Said, SignalName
from bot.safety.severity import (
    UNKNOWN,
    BudgetUse,
    BurnRate,
    EvalDrop,
    Labelled,
    SafetyViolation,
    severity_of,
)
from bot.triggers import Repository, Severity

MOST_ALERTS = 2000
"""In one request; a sender splits what is more."""
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_NUMBER = re.compile(r"#?([1-9][0-9]{0,8})")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,40}")
_CAPABILITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LONGEST_TITLE = 200


def _one_line(value: str) -> str:
    return " ".join(_CONTROLS.sub(" ", value).split())


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must have a time zone, such as Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999") from None


Moment = Annotated[datetime, AfterValidator(_aware)]
Labels = Annotated[dict[str, str], Field(max_length=200)]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Alert(_Read):
    """One alert of Alertmanager's; Grafana's has the same fields and more."""

    status: Literal["firing", "resolved"]
    labels: Labels = Field(default_factory=dict)
    annotations: Labels = Field(default_factory=dict)
    starts_at: Moment = Field(alias="startsAt")
    ends_at: Moment | None = Field(default=None, alias="endsAt")
    generator_url: str = Field(default="", alias="generatorURL")
    fingerprint: str = Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")


class AlertGroup(_Read):
    """What the webhooks of Alertmanager and Grafana have in common."""

    source: ClassVar[str]
    group_key: str = Field(alias="groupKey", min_length=1, max_length=4000)
    status: Literal["firing", "resolved"]
    truncated_alerts: int = Field(default=0, ge=0, alias="truncatedAlerts")
    external_url: str = Field(default="", alias="externalURL")
    common_labels: Labels = Field(default_factory=dict, alias="commonLabels")
    alerts: tuple[Alert, ...] = Field(min_length=1, max_length=MOST_ALERTS)


class AlertmanagerBody(AlertGroup):
    """Alertmanager's webhook, version 4. The alert label `repository` names the repository."""

    source: ClassVar[str] = "alertmanager"
    version: Literal["4"]


class GrafanaBody(AlertGroup):
    """Grafana's webhook, version 1. The alert label `repository` names the repository."""

    source: ClassVar[str] = "grafana"
    version: Literal["1"]


_OF_THE_RULE = ("DatasourceError", "DatasourceNoData")
"""How Grafana names an alert that says only that a rule could not be evaluated."""


def is_about_its_rule(alert: Alert) -> bool:
    """Tell whether Grafana could not evaluate the rule: then nothing is known of the service."""
    return alert.labels.get("alertname") in _OF_THE_RULE


class EventData(_Read):
    """The `data` of a CloudEvent. At most one of `pull_request`, `commit`, `capability` is blamed.

    `burn_rates` has rates by window, such as `{"1h": 14.4, "5m": 15}`; `irreversible` belongs to a
    safety violation, `beyond` to an eval drop, `share` and `still_spending` to a budget.
    """

    repository: str | None = None
    status: Literal["firing", "resolved"] = "firing"
    summary: str = Field(default="", max_length=2000)
    severity: str | None = Field(default=None, max_length=50)
    pull_request: int | None = Field(default=None, gt=0, lt=10**9)
    commit: str | None = Field(default=None, pattern=r"^[0-9A-Fa-f]{7,40}$")
    capability: str | None = Field(default=None, pattern=_CAPABILITY.pattern)
    url: str | None = None
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
        blamed = [self.pull_request, self.commit, self.capability]
        if sum(each is not None for each in blamed) > 1:
            raise ValueError("name at most one of pull_request, commit and capability")
        return self


class CloudEvent(_Read):
    """A CloudEvent 1.0. What it is about is its `subject`: a recovery carries the same."""

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=500)
    source: str = Field(min_length=1, max_length=500)
    type: Literal["slo.breach", "eval.drop", "safety.violation", "budget.overrun"]
    subject: str = Field(default="", max_length=500)
    time: Moment | None = None
    data: EventData = EventData()


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


def repository_of(alert: Alert, body: AlertGroup) -> str | None:
    """The repository an alert names by its label, if it does."""
    return alert.labels.get("repository") or body.common_labels.get("repository")


def alert_report(alert: Alert, body: AlertGroup, repository: Repository) -> Report:
    """What one alert of Alertmanager's or Grafana's says.

    Which of two words is newer is told by `startsAt`, the sender's own clock: ours may differ.
    """
    labels = body.common_labels | alert.labels
    return Report(
        repository=repository,
        source=body.source,
        group_key=body.group_key,
        fingerprint=alert.fingerprint,
        at=alert.starts_at,
        firing=alert.status == "firing",
        unseen=body.truncated_alerts > 0,
        said=Said(
            title=_title(alert.annotations.get("summary", "") or labels.get("alertname", "")),
            severity=_of_label(labels.get("severity")),
            signal=_signal(labels.get("signal", "")),
            url=_web(alert.generator_url) or _web(body.external_url),
            **_blamed(labels),
        ),
    )


def event_report(event: CloudEvent, repository: Repository, received: datetime) -> Report:
    """What a CloudEvent says."""
    data = event.data
    condition = f"{event.type}\n{event.source}\n{event.subject}"
    return Report(
        repository=repository,
        source="cloudevents",
        group_key=condition,
        fingerprint="event",
        event=f"{event.source}\n{event.id}",
        at=event.time or received,
        firing=data.status == "firing",
        said=Said(
            title=_title(data.summary or f"{event.type} {event.subject}"),
            severity=_severity(event),
            signal=event.type,
            pull_request=data.pull_request,
            commit=data.commit.lower() if data.commit else None,
            capability=data.capability,
            url=_web(data.url or ""),
        ),
    )


def _severity(event: CloudEvent) -> Severity:
    data = event.data
    match event.type:
        case "safety.violation":
            signal = SafetyViolation(irreversible=data.irreversible, label=data.severity)
            return severity_of(signal) or UNKNOWN
        case "slo.breach" if data.burn_rates:
            rates = {window_of(name): rate for name, rate in data.burn_rates.items()}
            return severity_of(BurnRate(rates=rates)) or UNKNOWN
        case "budget.overrun" if data.share is not None:
            use = BudgetUse(share=data.share, still_spending=data.still_spending)
            # Below the warning line it is no overrun, whatever its sender calls it.
            return severity_of(use) or Severity.LOW
    if data.severity is not None:
        return _of_label(data.severity)
    if event.type == "eval.drop":
        return severity_of(EvalDrop(beyond=data.beyond)) or UNKNOWN
    return UNKNOWN


def _of_label(label: str | None) -> Severity:
    return UNKNOWN if label is None else severity_of(Labelled(label=label)) or UNKNOWN


def _signal(label: str) -> SignalName:
    known: dict[str, SignalName] = {
        "slo.breach": "slo.breach",
        "eval.drop": "eval.drop",
        "safety.violation": "safety.violation",
        "budget.overrun": "budget.overrun",
    }
    return known.get(label, "alert")


def _blamed(labels: dict[str, str]) -> dict[str, Any]:
    """Whom labels blame; what is not written like a number, SHA or name blames nobody."""
    number = _NUMBER.fullmatch(labels.get("pull_request", ""))
    if number:
        return {"pull_request": int(number[1])}
    commit = labels.get("commit", "")
    if _COMMIT.fullmatch(commit):
        return {"commit": commit.lower()}
    capability = labels.get("capability", "")
    return {"capability": capability} if _CAPABILITY.fullmatch(capability) else {}


def _title(text: str) -> str:
    return _one_line(text)[:_LONGEST_TITLE] or "an alert without words"


def _web(address: str) -> str | None:
    return web_address({"url": address}, "url")
