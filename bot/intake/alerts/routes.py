"""`POST /alerts/…`: alerts in their senders' own formats, each entry of a request by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Protocol, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel

from bot.intake.alerts import cloudevents
from bot.intake.alerts.cloudevents import BATCH, EVENT, CloudEvent, event_report
from bot.intake.alerts.formats import (
    MOST_ALERTS,
    Alert,
    AlertGroup,
    AlertmanagerBody,
    GrafanaBody,
    UnreadableAlert,
    alert_report,
    is_about_its_rule,
    is_heartbeat,
    is_test,
    read_as,
    read_json,
    repository_of,
)
from bot.intake.alerts.mappings import AlertMapping
from bot.intake.http.auth import ApiToken, Callers, may_blame
from bot.intake.http.bodies import CALLERS, STRANGERS, Room, TooLarge, read_body
from bot.intake.http.openapi import Endpoint
from bot.intake.http.problems import FieldProblem, HttpProblem
from bot.records.alerts import ConditionReport
from bot.triggers import Repository, Role

LARGEST_BODY = 8 * 1024 * 1024
_ABOUT_THE_RULE = "an alert of the service: here Grafana could not evaluate its rule"
_TEST = "an alert of the service: this is the sender's test. It came through; nothing follows"
_HEARTBEAT = "how bad it is: where that is none, nothing is wrong and nothing follows"
T = TypeVar("T")


class RejectedAlert(BaseModel):
    """An alert that does not count: its place in the request, and what is allowed."""

    index: int
    field: str
    problem: str


class AlertsAnswer(BaseModel):
    """What became of the alerts. What was accepted is on disk."""

    accepted: int
    rejected: list[RejectedAlert]


class AlertSink(Protocol):
    """Stores reports before it returns."""

    async def __call__(self, reports: Sequence[ConditionReport], sender: str) -> None:
        """Take reports in; see `AlertIntake.take`."""


@dataclass
class _Sorted:
    """The entries of one request: those that count, and why the others do not."""

    reports: list[ConditionReport] = field(default_factory=list)
    unreadable: list[RejectedAlert] = field(default_factory=list)
    elsewhere: list[RejectedAlert] = field(default_factory=list)
    passed_over: list[RejectedAlert] = field(default_factory=list)

    @property
    def told(self) -> list[RejectedAlert]:
        """Whatever does not count, in its order."""
        every = [*self.unreadable, *self.elsewhere, *self.passed_over]
        return sorted(every, key=lambda each: each.index)

    def within_limit(self, entries: list[object], where: str) -> list[object]:
        """As many as one request may hold; that more came is told, and costs only those.

        No sender would send them again in smaller parts.
        """
        if (beyond := len(entries) - MOST_ALERTS) > 0:
            limit = f"at most {MOST_ALERTS:,} in one request; {beyond:,} were left out"
            self.unreadable.append(_rejected(MOST_ALERTS, where, limit))
        return entries[:MOST_ALERTS]


class AlertRoutes:
    """Serves the routes."""

    def __init__(
        self,
        callers: Callers,
        take: AlertSink,
        clock: Callable[[], datetime],
        mappings: Mapping[str, AlertMapping],
    ) -> None:
        """Take who may call, what stores reports, the clock, and what is read by pointers."""
        self._callers = callers
        self._take = take
        self._clock = clock
        self._mappings = mappings
        self.endpoints = (
            Endpoint("POST", "/alerts/alertmanager",
                     "Take Alertmanager's webhook. The alert label `repository` (owner/name) says "
                     "whose it is; `pull_request`, `commit` or `capability` say what it blames.",
                     self.alertmanager, Role.WRITE, body=AlertmanagerBody, answer=AlertsAnswer,
                     status=202),
            Endpoint("POST", "/alerts/grafana",
                     "Take the webhook of Grafana's alerting; labels as for Alertmanager. That a "
                     "rule could not be evaluated (DatasourceError, DatasourceNoData) says nothing "
                     "of the repository, and is not counted; nor is a contact point's test.",
                     self.grafana, Role.WRITE, body=GrafanaBody, answer=AlertsAnswer,
                     status=202),
            Endpoint("POST", "/alerts/cloudevents",
                     "Take CloudEvents of the types slo.breach, eval.drop, safety.violation and "
                     "budget.overrun: structured, binary or a batch.",
                     self.cloudevents, Role.WRITE, body=CloudEvent, answer=AlertsAnswer,
                     status=202),
            Endpoint("OPTIONS", "/alerts/cloudevents",
                     "Answer the validation request with which senders of CloudEvents ask whether "
                     "they may send. Events themselves need a token.",
                     self.validation),
            Endpoint("POST", "/alerts/mapped/{name}",
                     "Take what any sender sends, such as Datadog or Sentry, read by the pointers "
                     "of PLAYBOOKS_ALERT_MAPPINGS. With a token, or signed as configured there.",
                     self.mapped, Role.WRITE, answer=AlertsAnswer, status=202),
        )  # fmt: skip

    async def alertmanager(self, request: web.Request) -> web.Response:
        """`POST /alerts/alertmanager`."""
        return await self._group(request, AlertmanagerBody)

    async def grafana(self, request: web.Request) -> web.Response:
        """`POST /alerts/grafana`."""
        return await self._group(request, GrafanaBody)

    async def _group(
        self, request: web.Request, model: type[AlertmanagerBody | GrafanaBody]
    ) -> web.Response:
        token = await self._callers.caller(request, Role.WRITE)
        _check_json(request)
        group, alerts = _read_group(await _body(request), model)
        found = _Sorted()
        taken = found.within_limit(alerts, "alerts")
        if len(taken) < len(alerts):
            # Those may be firing.
            group = group.model_copy(update={"truncated_alerts": len(alerts) - len(taken)})
        for index, given in enumerate(taken):
            try:
                alert = read_as(Alert, given)
            except UnreadableAlert as fault:
                found.unreadable.append(_rejected(index, fault.field, fault.problem))
                continue
            if is_test(alert, group.group_key):
                found.passed_over.append(_rejected(index, "labels.alertname", _TEST))
                continue
            if is_heartbeat(alert):
                found.passed_over.append(_rejected(index, "labels.severity", _HEARTBEAT))
                continue
            if model is GrafanaBody and is_about_its_rule(alert):
                found.passed_over.append(_rejected(index, "labels.alertname", _ABOUT_THE_RULE))
                continue
            repository = await self._repository(token, repository_of(alert, group))
            if isinstance(repository, str):
                found.elsewhere.append(_rejected(index, "labels.repository", repository))
            else:
                found.reports.append(alert_report(alert, group, repository))
        return await self._stored(token, found, "alerts.")

    async def validation(self, request: web.Request) -> web.Response:
        """`OPTIONS /alerts/cloudevents`: section 4 of the CloudEvents webhook specification."""
        headers: dict[str, str] = {hdrs.ALLOW: "POST"}
        if "WebHook-Request-Origin" in request.headers:
            headers |= {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "*"}
        return web.Response(headers=headers)

    async def cloudevents(self, request: web.Request) -> web.Response:
        """`POST /alerts/cloudevents`."""
        token = await self._callers.caller(request, Role.WRITE, is_report=True)
        now = self._clock()
        found = _Sorted()
        events = found.within_limit(await _events(request), "body")
        for index, given in enumerate(events):
            event = _event(given)
            if isinstance(event, UnreadableAlert):
                found.unreadable.append(_rejected(index, event.field, event.problem))
                continue
            if event.data.blames and (why := may_blame(token)):
                found.unreadable.append(_rejected(index, f"data.{event.data.blames}", why))
                continue
            repository = await self._repository(token, event.data.repository)
            if isinstance(repository, str):
                found.elsewhere.append(_rejected(index, "data.repository", repository))
            else:
                found.reports.append(event_report(event, repository, now))
        return await self._stored(token, found)

    async def mapped(self, request: web.Request) -> web.Response:
        """`POST /alerts/mapped/{name}`."""
        name = request.match_info["name"]
        mapping = self._mappings.get(name)
        sender, body = await self._sender(request, name, mapping)
        if mapping is None:
            known = ", ".join(sorted(self._mappings)) or "none: set PLAYBOOKS_ALERT_MAPPINGS"
            raise HttpProblem(
                HTTPStatus.NOT_FOUND, f"There is no mapping of that name. Known: {known}."
            )
        given = _whole(lambda: read_json(body))
        now = self._clock()
        found = _Sorted()
        entries = given if isinstance(given, list) else [given]
        for index, entry in enumerate(found.within_limit(entries, "body")):
            try:
                await self._map(found, index, entry, name, mapping, sender, now)
            except UnreadableAlert as fault:
                found.unreadable.append(_rejected(index, fault.field, fault.problem))
        return await self._stored(sender, found)

    async def _map(
        self,
        found: _Sorted,
        index: int,
        entry: object,
        name: str,
        mapping: AlertMapping,
        sender: ApiToken,
        now: datetime,
    ) -> None:
        if mapping.is_test(entry):
            found.passed_over.append(_rejected(index, "state", _TEST))
            return
        firing = mapping.is_firing(entry)
        if isinstance(firing, str):
            word = firing[:50]
            neither = f"a word for firing or resolved; {word!r} says neither, so nothing follows"
            found.passed_over.append(_rejected(index, "state", neither))
            return
        repository = await self._repository(sender, mapping.repository_of(entry))
        if isinstance(repository, str):
            found.elsewhere.append(_rejected(index, "repository", repository))
        else:
            report = mapping.report(name, entry, repository, now, firing=firing)
            found.reports.append(report)

    async def _sender(
        self, request: web.Request, name: str, mapping: AlertMapping | None
    ) -> tuple[ApiToken, bytes]:
        """Who sends, by signature or token, and the body."""
        signs = mapping is not None and mapping.secret and mapping.signature
        signature = request.headers.get(signs) if signs else None
        if mapping is None or signature is None:
            token = await self._callers.caller(request, Role.WRITE)
            _check_json(request)
            return token, await _body(request)
        _check_json(request)
        body = await _body(request, STRANGERS)
        signer = mapping.signer(name, signature, body)
        if signer is None:
            raise HttpProblem(
                HTTPStatus.UNAUTHORIZED,
                f"The signature in {signs} does not fit the body. Is the secret of this mapping "
                "the sender's?",
            )
        return signer, body

    async def _repository(self, token: ApiToken, name: str | None) -> Repository | str:
        """The repository of this name, or what may be named instead."""
        try:
            return await self._callers.repository(token, name)
        except HttpProblem as problem:
            if problem.status is HTTPStatus.CONFLICT:
                raise
            return problem.fields[0].detail

    async def _stored(self, sender: ApiToken, found: _Sorted, where: str = "") -> web.Response:
        """Store what counts, and answer.

        Raises:
            Problem: 400 where nothing could be read, 422 where nothing concerns a repository that
                the sender reaches.
        """
        bad = sorted([*found.unreadable, *found.elsewhere], key=lambda each: each.index)
        if bad and not found.reports:
            fields = [
                FieldProblem(field=f"{where}{each.index}.{each.field}", detail=each.problem)
                for each in bad[:20]
            ]
            if not found.elsewhere:
                said = "; ".join(f"{each.field}: {each.detail}" for each in fields[:3])
                detail = f"The request cannot be read. {said}"
                raise HttpProblem(HTTPStatus.BAD_REQUEST, detail, fields)
            raise HttpProblem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"None of the {len(bad)} names a repository this token reaches: "
                f"{bad[0].field} must be {bad[0].problem}.",
                fields,
            )
        if found.reports:
            await self._take(found.reports, sender.name)
        answer = AlertsAnswer(accepted=len(found.reports), rejected=found.told)
        return web.json_response(text=answer.model_dump_json(), status=HTTPStatus.ACCEPTED)


def _read_group(
    body: bytes, model: type[AlertmanagerBody | GrafanaBody]
) -> tuple[AlertGroup, list[object]]:
    """The group and its alerts, those not read yet.

    Raises:
        Problem: the body is none of this sender's.
    """

    def read() -> tuple[AlertGroup, list[object]]:
        given = read_json(body)
        if not isinstance(given, dict):
            raise UnreadableAlert("body", "a JSON object")
        alerts = given.get("alerts")
        if not isinstance(alerts, list) or not alerts:
            raise UnreadableAlert("alerts", "a list of at least one alert")
        return read_as(model, {**given, "alerts": [_ANY_ALERT]}), alerts

    return _whole(read)


_ANY_ALERT = {"status": "firing", "startsAt": "2000-01-01T00:00:00Z", "fingerprint": "0"}
"""Stands for the alerts while what is around them is read."""


async def _events(request: web.Request) -> list[object]:
    """One event, or those of a batch, which are read one by one; it may be empty."""
    # The binding's rule: the content type tells structured from binary, whatever headers there are.
    if request.content_type == BATCH:
        body = await _body(request)
        given = _whole(lambda: read_json(body))
        if not isinstance(given, list):
            raise _not("a JSON list of CloudEvents")
        return list[object](given)
    if request.content_type == EVENT:
        body = await _body(request)
        return [_whole(lambda: cloudevents.read_structured(body))]
    if "ce-specversion" in request.headers and cloudevents.has_json_data(request.content_type):
        body = await _body(request)
        return [_whole(lambda: cloudevents.read_binary(request.headers, body))]
    raise _wrong_type(f"{EVENT}, {BATCH}, or application/json with ce- headers")


def _event(given: object) -> CloudEvent | UnreadableAlert:
    if isinstance(given, CloudEvent):
        return given
    try:
        return cloudevents.read_member(given)
    except UnreadableAlert as fault:
        return fault


def _whole(read: Callable[[], T]) -> T:
    """Read what the whole request depends on."""
    try:
        return read()
    except UnreadableAlert as fault:
        raise HttpProblem(
            HTTPStatus.BAD_REQUEST,
            f"The request cannot be read. {fault}",
            [FieldProblem(field=fault.field, detail=fault.problem)],
        ) from fault


async def _body(request: web.Request, room: web.AppKey[Room] = CALLERS) -> bytes:
    try:
        return await read_body(request, LARGEST_BODY, room)
    except TooLarge as error:
        raise HttpProblem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Too large: {error}.") from error


def _check_json(request: web.Request) -> None:
    if request.content_type != "application/json":
        raise _wrong_type("application/json")


def _wrong_type(allowed: str) -> HttpProblem:
    return HttpProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {allowed}.")


def _not(what: str) -> HttpProblem:
    return HttpProblem(
        HTTPStatus.BAD_REQUEST,
        f"The body is not {what}.",
        [FieldProblem(field="body", detail=what)],
    )


def _rejected(index: int, field: str, problem: str) -> RejectedAlert:
    return RejectedAlert(index=index, field=field, problem=problem)
