"""What the webhooks of Alertmanager and Grafana say, and what formats have in common.

Sources: prometheus.io/docs/alerting/latest/configuration, "webhook_config" (version 4);
grafana.com/docs/grafana/latest/alerting, "Configure webhook notifications" (version 1). Fields we
do not need are ignored, whatever they hold; those we need are held to their shape, alert by alert:
Alertmanager never repeats what was refused, so one bad alert must not cost the others.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pydantic_core
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from bot.intake.event_payloads import web_address
from bot.intake.http.bodies import one_line
from bot.intake.http.problems import invalid
from bot.names import CAPABILITY
from bot.records.alerts import ConditionReport, Said, SignalName
from bot.safety.severity import Labelled, severity_of
from bot.triggers import UNKNOWN_SEVERITY, Repository, Severity

MOST_ALERTS = 2000
"""In one request."""

_NUMBER = re.compile(r"#?([1-9][0-9]{0,8})")
_COMMIT = re.compile(r"[0-9a-fA-F]{7,40}")
_LONGEST_TITLE = 200
Model = TypeVar("Model", bound=BaseModel)


class UnreadableAlert(Exception):
    """An alert that cannot be read: which of its fields, and what is allowed there."""

    def __init__(self, field: str, problem: str) -> None:
        """Name the field."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def read_as(model: type[Model], given: object) -> Model:
    """Read one alert.

    Raises:
        UnreadableAlert: a field is wrong.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first, *others = invalid(error, model).fields
        more = "".join(f"; {each.field}: {each.detail}" for each in others[:3])
        raise UnreadableAlert(first.field, f"{first.detail}{more}") from error


def read_json(body: bytes, field: str = "body") -> Any:
    """Read JSON.

    Raises:
        UnreadableAlert: it is none.
    """
    try:
        try:
            return pydantic_core.from_json(body)
        except ValueError:
            # Half a surrogate pair, which no database keeps, costs a letter and not the request.
            return _without_surrogates(json.loads(body))
    except (ValueError, RecursionError) as error:
        raise UnreadableAlert(field, "JSON") from error


def _without_surrogates(given: Any) -> Any:
    match given:
        case str():
            return given.encode("utf-8", "replace").decode()
        case list():
            return [_without_surrogates(each) for each in given]
        case dict():
            return {
                _without_surrogates(name): _without_surrogates(each) for name, each in given.items()
            }
    return given


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must have a time zone, such as Z")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time between the years 1 and 9999") from None


def _empty_for_null(value: object) -> object:
    # Go writes a map that was never made as null.
    return {} if value is None else value


def _none_for_null(value: object) -> object:
    return 0 if value is None else value


def _only_words(value: object) -> object:
    # What is not needed costs nothing, whatever it holds.
    given = value if isinstance(value, dict) else {}
    return {name: each for name, each in given.items() if isinstance(each, str)}


Moment = Annotated[datetime, AfterValidator(_aware)]
Labels = Annotated[dict[str, str], Field(max_length=200), BeforeValidator(_empty_for_null)]
Words = Annotated[dict[str, str], BeforeValidator(_only_words)]
"""A map of which only what is words is read."""


class AlertModel(BaseModel):
    """Something that came from a sender; fields we do not know are passed over."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="ignore", populate_by_name=True)


class Alert(AlertModel):
    """One alert of Alertmanager's; Grafana's has the same fields and more."""

    status: Literal["firing", "resolved"]
    labels: Labels = Field(default_factory=dict)
    annotations: Words = Field(default_factory=dict)
    starts_at: Moment = Field(alias="startsAt")
    generator_url: object = Field(default="", alias="generatorURL")
    fingerprint: str = Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")


class AlertGroup(AlertModel):
    """What the webhooks of Alertmanager and Grafana have in common, but for the alerts."""

    source: ClassVar[str]
    group_key: str = Field(alias="groupKey", min_length=1)
    truncated_alerts: Annotated[int, Field(ge=0), BeforeValidator(_none_for_null)] = Field(
        default=0, alias="truncatedAlerts"
    )
    external_url: object = Field(default="", alias="externalURL")
    common_labels: Words = Field(default_factory=dict, alias="commonLabels")
    """Each alert has these labels itself, so a strange one here costs nothing."""


class AlertmanagerBody(AlertGroup):
    """Alertmanager's webhook, version 4. The alert label `repository` names the repository."""

    source: ClassVar[str] = "alertmanager"
    version: Literal["4"]
    alerts: tuple[Alert, ...] = Field(min_length=1)


class GrafanaBody(AlertGroup):
    """Grafana's webhook, version 1. The alert label `repository` names the repository."""

    source: ClassVar[str] = "grafana"
    version: Literal["1"]
    alerts: tuple[Alert, ...] = Field(min_length=1)


_OF_THE_RULE = ("DatasourceError", "DatasourceNoData")
"""How Grafana names an alert that says only that a rule could not be evaluated."""

_TEST_LABELS = {"alertname": "TestAlert", "instance": "Grafana"}
_TEST_GROUP = re.compile(r".+-[0-9a-f]{16}-[0-9]{10}", re.DOTALL)
"""The `groupKey` of a test: receiver, fingerprint, seconds. That of a real group ends with `}`.
Source: `TestNotifier` of github.com/grafana/alerting (notify), which others took over."""


def is_about_its_rule(alert: Alert) -> bool:
    """Tell whether Grafana could not evaluate the rule: then nothing is known of the service."""
    return alert.labels.get("alertname") in _OF_THE_RULE


def is_heartbeat(alert: Alert) -> bool:
    """Tell whether it fires always, to show that alerts get through.

    Source: `Watchdog` of github.com/prometheus-operator/kube-prometheus (severity `none`).
    """
    return alert.labels.get("severity", "").strip().lower() == "none"


def is_test(alert: Alert, group_key: str) -> bool:
    """Tell whether somebody pressed the "Test" button of a contact point.

    Source: `newTestAlert` of github.com/grafana/alerting (notify). Its labels can be changed there.
    """
    has_labels = _TEST_LABELS.items() <= alert.labels.items()
    return has_labels or _TEST_GROUP.fullmatch(group_key) is not None


def repository_of(alert: Alert, group: AlertGroup) -> str | None:
    """The repository an alert names by its label, if it does."""
    return alert.labels.get("repository") or group.common_labels.get("repository")


def alert_report(alert: Alert, group: AlertGroup, repository: Repository) -> ConditionReport:
    """What one alert of Alertmanager's or Grafana's says.

    Which of two words is newer is told by `startsAt`, the sender's own clock: ours may differ.
    """
    labels = group.common_labels | alert.labels
    return ConditionReport(
        repository=repository,
        source=group.source,
        group_key=group.group_key,
        fingerprint=alert.fingerprint,
        at=alert.starts_at,
        firing=alert.status == "firing",
        unseen=group.truncated_alerts > 0,
        said=Said(
            title=title_of(alert.annotations.get("summary", "") or labels.get("alertname", "")),
            severity=severity_of_label(labels.get("severity")),
            signal=_signal(labels.get("signal", "")),
            url=web_page(alert.generator_url) or web_page(group.external_url),
            **blamed(labels),
        ),
    )


def severity_of_label(label: str | None) -> Severity:
    """How bad it is by the word somebody wrote down."""
    return (
        UNKNOWN_SEVERITY
        if label is None
        else severity_of(Labelled(label=label)) or UNKNOWN_SEVERITY
    )


def _signal(label: str) -> SignalName:
    known: dict[str, SignalName] = {
        "slo.breach": "slo.breach",
        "eval.drop": "eval.drop",
        "safety.violation": "safety.violation",
        "budget.overrun": "budget.overrun",
    }
    return known.get(label, "alert")


def blamed(labels: dict[str, str]) -> dict[str, Any]:
    """Whom labels blame; what is not written like a number, SHA or name blames nobody."""
    number = _NUMBER.fullmatch(labels.get("pull_request", ""))
    if number:
        return {"pull_request": int(number[1])}
    commit = labels.get("commit", "")
    if _COMMIT.fullmatch(commit):
        return {"commit": commit.lower()}
    capability = labels.get("capability", "")
    return {"capability": capability} if re.fullmatch(CAPABILITY, capability) else {}


def title_of(text: str) -> str:
    """One line of at most 200 characters, without control characters."""
    return one_line(text)[:_LONGEST_TITLE] or "an alert without words"


def web_page(address: object) -> str | None:
    """The address, if it is one of the web."""
    return web_address({"url": address}, "url")
