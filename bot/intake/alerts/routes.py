"""`POST /alerts/alertmanager`, `…/grafana` and `…/cloudevents`: the senders' own formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Protocol, TypeVar
from urllib.parse import unquote

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from bot.intake.alerts.formats import (
    MOST_ALERTS,
    AlertGroup,
    AlertmanagerBody,
    CloudEvent,
    GrafanaBody,
    alert_report,
    event_report,
    is_about_its_rule,
    repository_of,
)
from bot.intake.http.bodies import TooLarge, read_body
from bot.intake.http.callers import Callers
from bot.intake.http.openapi import Endpoint
from bot.intake.http.problems import FieldProblem, Problem, invalid
from bot.intake.http.tokens import ApiToken
from bot.records.intake.alerts import Report
from bot.triggers import Repository, Role

LARGEST_BODY = 8 * 1024 * 1024
_EVENT, _BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time")
_ABOUT_THE_RULE = "an alert of the service: here Grafana could not evaluate its rule"
Model = TypeVar("Model", bound=BaseModel)


class RejectedAlert(BaseModel):
    """An alert that does not count: its place in the request, and what is allowed."""

    index: int
    field: str
    problem: str


class AlertsAnswer(BaseModel):
    """What became of the alerts. What was accepted is on disk."""

    accepted: int
    rejected: list[RejectedAlert]


class Takes(Protocol):
    """Stores reports before it returns."""

    async def __call__(self, reports: Sequence[Report], sender: str) -> None:
        """Take reports in; see `AlertIntake.take`."""


class AlertRoutes:
    """Serves the routes."""

    def __init__(self, callers: Callers, take: Takes, clock: Callable[[], datetime]) -> None:
        """Take who may call, what stores reports, and the clock."""
        self._callers = callers
        self._take = take
        self._clock = clock
        self.endpoints = (
            Endpoint("POST", "/alerts/alertmanager",
                     "Take Alertmanager's webhook. The alert label `repository` (owner/name) says "
                     "whose it is; `pull_request`, `commit` or `capability` say what it blames.",
                     self.alertmanager, Role.WRITE, body=AlertmanagerBody, answer=AlertsAnswer,
                     status=202),
            Endpoint("POST", "/alerts/grafana",
                     "Take the webhook of Grafana's alerting; labels as for Alertmanager. That a "
                     "rule could not be evaluated (DatasourceError, DatasourceNoData) says nothing "
                     "of the repository, and is not counted.",
                     self.grafana, Role.WRITE, body=GrafanaBody, answer=AlertsAnswer,
                     status=202),
            Endpoint("POST", "/alerts/cloudevents",
                     "Take CloudEvents of the types slo.breach, eval.drop, safety.violation and "
                     "budget.overrun: structured, binary or a batch.",
                     self.cloudevents, Role.WRITE, body=CloudEvent, answer=AlertsAnswer,
                     status=202),
        )  # fmt: skip

    async def alertmanager(self, request: web.Request) -> web.Response:
        """`POST /alerts/alertmanager`."""
        return await self._group(request, AlertmanagerBody)

    async def grafana(self, request: web.Request) -> web.Response:
        """`POST /alerts/grafana`."""
        return await self._group(request, GrafanaBody)

    async def _group(self, request: web.Request, model: type[AlertGroup]) -> web.Response:
        token = self._callers.caller(request, Role.WRITE)
        if request.content_type != "application/json":
            raise _wrong_type("application/json")
        body = _read(await _body(request), model)
        reports, rejected, passed_over = [], [], []
        for index, alert in enumerate(body.alerts):
            if model is GrafanaBody and is_about_its_rule(alert):
                passed_over.append(_rejected(index, "labels.alertname", _ABOUT_THE_RULE))
                continue
            repository = await self._repository(token, repository_of(alert, body))
            if isinstance(repository, str):
                rejected.append(_rejected(index, "labels.repository", repository))
            else:
                reports.append(alert_report(alert, body, repository))
        return await self._stored(token, reports, rejected, passed_over)

    async def cloudevents(self, request: web.Request) -> web.Response:
        """`POST /alerts/cloudevents`."""
        token = self._callers.caller(request, Role.WRITE)
        now = self._clock()
        reports, rejected = [], []
        for index, event in enumerate(await _events(request)):
            repository = await self._repository(token, event.data.repository)
            if isinstance(repository, str):
                rejected.append(_rejected(index, "data.repository", repository))
            else:
                reports.append(event_report(event, repository, now))
        return await self._stored(token, reports, rejected)

    async def _repository(self, token: ApiToken, name: str | None) -> Repository | str:
        """The repository of this name, or what may be named instead."""
        try:
            return await self._callers.repository(token, name)
        except Problem as problem:
            if problem.status is HTTPStatus.CONFLICT:
                raise
            return problem.fields[0].detail

    async def _stored(
        self,
        token: ApiToken,
        reports: Sequence[Report],
        rejected: list[RejectedAlert],
        passed_over: Sequence[RejectedAlert] = (),
    ) -> web.Response:
        if rejected and not reports:
            fields = [
                FieldProblem(field=f"{each.index}.{each.field}", detail=each.problem)
                for each in rejected[:20]
            ]
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"None of the {len(rejected)} names a repository this token reaches: "
                f"{rejected[0].field} must be {rejected[0].problem}.",
                fields,
            )
        if reports:
            await self._take(reports, token.name)
        told = sorted([*rejected, *passed_over], key=lambda each: each.index)
        answer = AlertsAnswer(accepted=len(reports), rejected=told)
        return web.json_response(text=answer.model_dump_json(), status=HTTPStatus.ACCEPTED)


async def _events(request: web.Request) -> list[CloudEvent]:
    body = await _body(request)
    if request.content_type == _BATCH:
        try:
            given = TypeAdapter(list[object]).validate_json(body)
        except ValidationError as error:
            raise _not("a JSON list of CloudEvents") from error
        if not 0 < len(given) <= MOST_ALERTS:
            raise _not(f"a list of 1 to {MOST_ALERTS:,} CloudEvents")
        return [
            _read(json.dumps(each).encode(), CloudEvent, f"{n}.") for n, each in enumerate(given)
        ]
    if request.content_type == _EVENT:
        return [_read(body, CloudEvent)]
    if "ce-specversion" in request.headers and request.content_type == "application/json":
        # The HTTP binding's binary mode: attributes are headers, percent-encoded; data is the body.
        said = {name: unquote(request.headers[f"ce-{name}"])
                for name in _ATTRIBUTES if f"ce-{name}" in request.headers}  # fmt: skip
        try:
            data = json.loads(body) if body.strip() else {}
        except (ValueError, RecursionError) as error:
            raise _not("JSON") from error
        return [_read(json.dumps({**said, "data": data}).encode(), CloudEvent)]
    raise _wrong_type(f"{_EVENT}, {_BATCH}, or application/json with ce- headers")


async def _body(request: web.Request) -> bytes:
    try:
        return await read_body(request, LARGEST_BODY)
    except TooLarge as error:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Too large: {error}.") from error


def _read(body: bytes, model: type[Model], where: str = "") -> Model:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problem = invalid(error, model)
        fields = [
            FieldProblem(field=f"{where}{each.field}", detail=each.detail)
            for each in problem.fields
        ]
        raise Problem(problem.status, str(problem), fields) from error


def _wrong_type(allowed: str) -> Problem:
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type must be {allowed}.")


def _not(what: str) -> Problem:
    return Problem(
        HTTPStatus.BAD_REQUEST,
        f"The body is not {what}.",
        [FieldProblem(field="body", detail=what)],
    )


def _rejected(index: int, field: str, problem: str) -> RejectedAlert:
    return RejectedAlert(index=index, field=field, problem=problem)
