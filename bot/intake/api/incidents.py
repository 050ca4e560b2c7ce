"""The HTTP API of incidents and recoveries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.command_arguments import STAGES
from bot.intake.api.models import (
    AcceptedAnswer,
    ArtifactPlace,
    AuditAnswer,
    AuditQuery,
    BisectBody,
    IncidentAnswer,
    IncidentsAnswer,
    IncidentsQuery,
    RampBody,
    RevertBody,
    RollbackBody,
    RunAnswer,
    ShadowBody,
    identity_of,
)
from bot.intake.http import openapi
from bot.intake.http.auth import ApiToken, Callers
from bot.intake.http.bodies import as_json, read_model, read_query
from bot.intake.http.openapi import Endpoint
from bot.intake.http.problems import FieldProblem, Handler, HttpProblem
from bot.intake.inbox import Inbox
from bot.records import dashboard, incidents, runs
from bot.records.audit import chain
from bot.records.audit.chain import AuditEntry, UnreadableRow
from bot.records.dashboard import Filter
from bot.records.database import reading
from bot.records.incidents import Incident
from bot.records.runs import StoredRun
from bot.triggers import (
    RUN_ID,
    Actor,
    ActorKind,
    BisectRequest,
    RampRequest,
    Repository,
    Request,
    RevertRequest,
    Role,
    RollbackRequest,
    ShadowRequest,
    Source,
    SourceKind,
    Trigger,
    Value,
)


class StoredRecords:
    """The API's `Records`; every read is a transaction of its own that waits for no writer."""

    def __init__(self, database: AsyncEngine) -> None:
        """Read from this database."""
        self._database = reading(database)

    async def incidents(self, repository_id: int, before: str | None, limit: int) -> list[Incident]:
        """Return the latest Incidents of a repository, or those before one, newest first."""
        async with self._database.begin() as connection:
            return await dashboard.newest(
                connection, [repository_id], Filter(), before=before, limit=limit
            )

    async def incident(self, incident_id: str) -> Incident | None:
        """Return one Incident; by the id of a request that joined one: that one."""
        async with self._database.begin() as connection:
            found = await incidents.find(connection, incident_id)
            if found is None and (asked := await runs.find(connection, incident_id)):
                joined = asked.joined_incident
                found = None if joined is None else await incidents.find(connection, joined)
            return found

    async def run(self, run_id: str) -> StoredRun | None:
        """Return one Run."""
        async with self._database.begin() as connection:
            return await runs.find(connection, run_id)

    async def audit(
        self, repository_id: int, after: int, limit: int
    ) -> list[AuditEntry | UnreadableRow]:
        """Return up to `limit` audit entries that follow number `after`, damaged ones as such."""
        async with self._database.begin() as connection:
            return await chain.read(connection, repository_id, after=after, limit=limit)


_STAGES = {str(stage): stage for stage in STAGES}


class Accepted(Value):
    """What a Trigger became. `ref` is the branch that has the artifact in the end."""

    run: str
    incident: str
    artifact_path: str
    ref: str
    issue_url: str | None = None


class DeclinedRequest(Exception):
    """The request was understood and will not be carried out; the message says why.

    `field` is set where a name in the request is not known.
    """

    def __init__(self, why: str, field: str | None = None) -> None:
        """Say why, and which field is at fault."""
        super().__init__(why.strip())
        self.field = field


class Records(Protocol):
    """What the API reads; it never writes."""

    async def incidents(
        self, repository_id: int, before: str | None, limit: int
    ) -> Sequence[Incident]:
        """Return the latest Incidents of a repository, or those before one, newest first."""

    async def incident(self, incident_id: str) -> Incident | None:
        """Return one Incident."""

    async def run(self, run_id: str) -> StoredRun | None:
        """Return one Run."""

    async def audit(
        self, repository_id: int, after: int, limit: int
    ) -> Sequence[AuditEntry | UnreadableRow]:
        """Return up to `limit` audit entries that follow number `after`, damaged ones as such."""


class Api:
    """Serves the routes of the contract that are for machines."""

    def __init__(
        self,
        *,
        callers: Callers,
        records: Records,
        inbox: Inbox,
        may_begin: Callable[[Trigger], Awaitable[None]],
        accept: Callable[[Trigger], Awaitable[Accepted]],
        ready: Callable[[], Awaitable[Mapping[str, str | None]]],
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        registry: CollectorRegistry,
        public_url: str,
        version: str,
        warnings: Callable[[], Mapping[str, str]],
        measure: Callable[[], Awaitable[None]] | None = None,
        more: Sequence[Endpoint] = (),
    ) -> None:
        """Prepare the handlers.

        Args:
            callers: who may call, and what they may name.
            records: what happened.
            inbox: stores Triggers before they are answered.
            may_begin: raises DeclinedRequest where a Trigger that is not stored cannot be carried
                out; of one whose Run has begun it says nothing.
            accept: starts the Run of a stored Trigger, or finds the one it started; idempotent.
            ready: each part the bot needs, with None or what is wrong with it.
            clock: tells the time (UTC).
            new_id: makes the identity of a request that brought no Idempotency-Key.
            registry: the metrics to publish.
            public_url: this server's address, for links.
            version: of the product, for the description.
            warnings: what cannot be served just now while all else is, and why.
            measure: brings what is published up to date.
            more: endpoints that are served and described beside these.
        """
        self._callers = callers
        self._measure = measure
        self._records = records
        self._inbox = inbox
        self._may_begin = may_begin
        self._accept = accept
        self._ready = ready
        self._warnings = warnings
        self._clock = clock
        self._new_id = new_id
        self._registry = registry
        self._public_url = public_url.rstrip("/")
        self.endpoints = (*self._table(), *more)
        self._version = version

    @cached_property
    def _description(self) -> dict[str, Any]:
        # Only once somebody asks: describing a model costs memory for as long as the server runs.
        return openapi.document(self.endpoints, server=self._public_url, version=self._version)

    def _table(self) -> tuple[Endpoint, ...]:
        write, read = Role.WRITE, Role.READ
        return (
            Endpoint("POST", "/incidents/revert", "Revert a merged pull request or a commit.",
                     self.revert, write, body=RevertBody, answer=AcceptedAnswer, status=202),
            Endpoint("POST", "/incidents/bisect", "Find what broke a check, or changed a number.",
                     self.bisect, write, body=BisectBody, answer=AcceptedAnswer, status=202),
            Endpoint("POST", "/incidents/rollback", "Give all traffic back to the baseline.",
                     self.rollback, write, body=RollbackBody, answer=AcceptedAnswer, status=202),
            Endpoint("POST", "/providers/shadow/start", "Run a candidate beside the baseline.",
                     self.shadow, write, body=ShadowBody, answer=AcceptedAnswer, status=202),
            Endpoint("POST", "/providers/ramp/{stage}", "Give the candidate the next stage.",
                     self.ramp, write, body=RampBody, answer=AcceptedAnswer, status=202),
            Endpoint("GET", "/incidents", "The latest incidents, newest first.",
                     self.incidents, read, query=IncidentsQuery, answer=IncidentsAnswer),
            Endpoint("GET", "/incidents/{id}", "One incident.",
                     self.incident, read, answer=IncidentAnswer),
            Endpoint("GET", "/runs/{id}", "One run.", self.run, read, answer=RunAnswer),
            Endpoint("GET", "/audit", "The audit chain of a repository, in order.",
                     self.audit, read, query=AuditQuery, answer=AuditAnswer),
            Endpoint("GET", "/healthz", "The process lives.", self.healthz),
            Endpoint("GET", "/readyz", "Everything it needs is there.", self.readyz),
            Endpoint("GET", "/metrics", "Metrics for Prometheus.", self.metrics),
            Endpoint("GET", "/openapi.json", "This API, for programs.", self.openapi_json),
            Endpoint("GET", "/api-docs", "This API, for people.", self.api_docs),
        )  # fmt: skip

    def routes(self) -> list[web.RouteDef]:
        """Return all routes; another method on one of the paths is answered 405."""
        by_path: dict[str, list[Endpoint]] = {}
        for each in self.endpoints:
            by_path.setdefault(each.path, []).append(each)
        return [_route(each) for each in self.endpoints] + [
            web.route("*", path, _wrong_method(those)) for path, those in by_path.items()
        ]

    async def revert(self, request: web.Request) -> web.Response:
        """`POST /incidents/revert`."""
        token = await self._callers.caller(request, Role.WRITE)
        body = await read_model(request, RevertBody)
        repository = await self._callers.repository(token, body.repository)
        asked = RevertRequest(targets=(body.target,), reason=body.reason, severity=body.severity)
        return await self._take(request, token, repository, asked)

    async def bisect(self, request: web.Request) -> web.Response:
        """`POST /incidents/bisect`."""
        token = await self._callers.caller(request, Role.WRITE)
        body = await read_model(request, BisectBody)
        repository = await self._callers.repository(token, body.repository)
        asked = BisectRequest(
            good=body.good,
            bad=body.bad,
            check=body.check,
            numeric=body.numeric,
            reason=body.reason or "",
        )
        return await self._take(request, token, repository, asked)

    async def rollback(self, request: web.Request) -> web.Response:
        """`POST /incidents/rollback`."""
        token = await self._callers.caller(request, Role.WRITE)
        body = await read_model(request, RollbackBody)
        repository = await self._callers.repository(token, body.repository)
        asked = RollbackRequest(
            capability=body.capability, reason=body.reason, severity=body.severity
        )
        return await self._take(request, token, repository, asked)

    async def shadow(self, request: web.Request) -> web.Response:
        """`POST /providers/shadow/start`."""
        token = await self._callers.caller(request, Role.WRITE)
        body = await read_model(request, ShadowBody)
        repository = await self._callers.repository(token, body.repository)
        asked = ShadowRequest(capability=body.capability, candidate=body.candidate)
        return await self._take(request, token, repository, asked)

    async def ramp(self, request: web.Request) -> web.Response:
        """`POST /providers/ramp/{stage}`; a percent sign may follow the stage."""
        token = await self._callers.caller(request, Role.WRITE)
        stage = _STAGES.get(request.match_info["stage"].removesuffix("%"))
        if stage is None:
            detail = f"one of {', '.join(_STAGES)}"
            raise HttpProblem(
                HTTPStatus.BAD_REQUEST,
                f"The stage must be {detail}.",
                [FieldProblem(field="stage", detail=detail)],
            )
        body = await read_model(request, RampBody)
        repository = await self._callers.repository(token, body.repository)
        asked = RampRequest(capability=body.capability, stage=stage)
        return await self._take(request, token, repository, asked)

    async def incidents(self, request: web.Request) -> web.Response:
        """`GET /incidents`."""
        token = await self._callers.caller(request, Role.READ)
        query = read_query(request, IncidentsQuery)
        repository = await self._callers.repository(token, query.repository)
        found = await self._records.incidents(repository.id, query.before, query.limit)
        more = found[-1].id if len(found) == query.limit else None
        named = [_named(each, repository) for each in found]
        return as_json(IncidentsAnswer(incidents=named, next=more))

    async def incident(self, request: web.Request) -> web.Response:
        """`GET /incidents/{id}`."""
        token = await self._callers.caller(request, Role.READ)
        id_ = request.match_info["id"]
        found = await self._records.incident(id_) if RUN_ID.fullmatch(id_) else None
        here = None if found is None else await self._callers.reached(token, found.repository_id)
        if found is None or here is None:
            raise HttpProblem(
                HTTPStatus.NOT_FOUND,
                await self._why_none_is_open(token, id_)
                or "No such incident in the repositories you reach.",
            )
        return as_json(IncidentAnswer(incident=_named(found, here)))

    async def _why_none_is_open(self, token: ApiToken, id_: str) -> str | None:
        """Say what became of a request that was answered with this id; None: there was none."""
        run = await self._records.run(id_) if RUN_ID.fullmatch(id_) else None
        if run is None or not await self._callers.reached(token, run.repository_id):
            return None
        if run.joined_incident is not None:
            return f"That request joined the incident {run.joined_incident}."
        if run.is_live:
            return f"No incident is opened yet: /runs/{id_} says how far it is."
        return f"No incident was opened. {run.reason or f'See /runs/{id_}.'}"

    async def run(self, request: web.Request) -> web.Response:
        """`GET /runs/{id}`."""
        token = await self._callers.caller(request, Role.READ)
        id_ = request.match_info["id"]
        found = await self._records.run(id_) if len(id_) <= 100 and id_.isprintable() else None
        if found is None or not await self._callers.reached(token, found.repository_id):
            raise HttpProblem(HTTPStatus.NOT_FOUND, "No such run in the repositories you reach.")
        return as_json(RunAnswer(run=found))

    async def audit(self, request: web.Request) -> web.Response:
        """`GET /audit`."""
        token = await self._callers.caller(request, Role.READ)
        query = read_query(request, AuditQuery)
        repository = await self._callers.repository(token, query.repository)
        found = await self._records.audit(repository.id, query.after, query.limit)
        more = found[-1].seq if len(found) == query.limit else None
        return as_json(AuditAnswer(entries=list(found), next=more))

    async def healthz(self, request: web.Request) -> web.Response:
        """`GET /healthz`."""
        del request
        return web.json_response({"ok": True})

    async def readyz(self, request: web.Request) -> web.Response:
        """`GET /readyz`: 200 when every part is there, else 503 naming those that are not.

        What only one installation lacks is a warning: the others are served.
        """
        del request
        parts = await self._ready()
        missing = {name: fault for name, fault in parts.items() if fault}
        answer = {
            "ok": not missing,
            "parts": {name: fault or "ok" for name, fault in parts.items()},
            **({"warnings": dict(warnings)} if (warnings := self._warnings()) else {}),
        }
        return web.json_response(answer, status=503 if missing else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        """`GET /metrics`."""
        del request
        if self._measure is not None:
            await self._measure()
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def openapi_json(self, request: web.Request) -> web.Response:
        """`GET /openapi.json`."""
        del request
        return web.json_response(self._description)

    async def api_docs(self, request: web.Request) -> web.Response:
        """`GET /api-docs`."""
        del request
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return web.Response(
            text=openapi.page(self._description),
            content_type="text/html",
            headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"},
        )

    async def _take(
        self, request: web.Request, token: ApiToken, repository: Repository, asked: Request
    ) -> web.Response:
        """Store the Trigger, start its Run, and answer 202; or decline it, and store nothing."""
        trigger = Trigger(
            source=Source(kind=SourceKind.API, object_id=identity_of(request, token, self._new_id)),
            repository=repository,
            actor=Actor(kind=ActorKind.MACHINE, login=token.name),
            received_at=self._clock(),
            request=asked,
        )
        try:
            # What is stored is carried out, whatever was answered: things may look otherwise then.
            await self._may_begin(trigger)
        except DeclinedRequest as declined:
            raise _declined(declined) from declined
        stored = (await self._inbox.put(trigger)).trigger
        if (stored.request, stored.repository.id) != (trigger.request, repository.id):
            raise HttpProblem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "This Idempotency-Key was used with another body. Use a new key.",
                [FieldProblem(field="Idempotency-Key", detail="a new key for a new request")],
            )
        accepted = await self._accept(stored)
        links = {
            "incident": f"{self._public_url}/incidents/{accepted.incident}",
            "run": f"{self._public_url}/runs/{accepted.run}",
        }
        if accepted.issue_url:
            links["issue"] = accepted.issue_url
        answer = AcceptedAnswer(
            run=accepted.run,
            incident=accepted.incident,
            links=links,
            artifact=ArtifactPlace(path=accepted.artifact_path, ref=accepted.ref),
        )
        return as_json(answer, HTTPStatus.ACCEPTED)


def _named(incident: Incident, repository: Repository) -> Incident:
    """The incident, with its repository's name of today: it may have been renamed since."""
    return incident.model_copy(update={"repository": repository.full_name})


def _declined(declined: DeclinedRequest) -> HttpProblem:
    if declined.field is None:
        return HttpProblem(HTTPStatus.CONFLICT, str(declined))
    unknown = [FieldProblem(field=declined.field, detail=str(declined))]
    return HttpProblem(HTTPStatus.UNPROCESSABLE_ENTITY, str(declined), unknown)


def _route(endpoint: Endpoint) -> web.RouteDef:
    if endpoint.method == "GET":
        return web.get(endpoint.path, endpoint.handler)
    return web.route(endpoint.method, endpoint.path, endpoint.handler)


def _wrong_method(endpoints: Sequence[Endpoint]) -> Handler:
    allowed = ", ".join("GET, HEAD" if each.method == "GET" else each.method for each in endpoints)

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise HttpProblem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{request.path} takes {allowed}.",
            headers={"Allow": allowed},
        )

    return refuse
