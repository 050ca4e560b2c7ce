"""What agents ask before they spend, and where they report what they spent."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, model_validator
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import Config, config_schema
from bot.intake.api.models import WHICH_REPOSITORY, RepositoryName, identity_of
from bot.intake.api.traffic import SelfWorkOf
from bot.intake.http.auth import Callers, may_blame
from bot.intake.http.bodies import as_json, read_model, read_query
from bot.intake.http.openapi import Endpoint
from bot.intake.http.problems import FieldProblem, HttpProblem, put_off
from bot.records.budgets import BudgetState, window_end
from bot.records.database import ahead
from bot.records.lifecycle import IllegalMove
from bot.records.tables.columns import Instant
from bot.safety.budgets import Look, as_budget, book
from bot.safety.config_in_force import ConfigInForce
from bot.safety.self_work import AgentFlags
from bot.triggers import Repository, Role

_SCHEMA = config_schema()
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def _as_written(value: object) -> object:
    """Take a number as its digits: what a float would make of it is nobody's money."""
    return str(value) if isinstance(value, float) else value


class SpendBody(BaseModel):
    """What was spent, in the budget's unit, and on what, if that is known."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)
    amount: Annotated[Decimal, BeforeValidator(_as_written)] = Field(
        ge=0, allow_inf_nan=False, max_digits=20, description="As a number or text: `0.25`."
    )
    unit: str | None = Field(
        default=None, max_length=16, description="If given, it must be the budget's own."
    )
    pull_request: StrictInt | None = Field(
        default=None, gt=0, lt=10**9, description="The merged pull request that spends it."
    )
    commit: str | None = Field(
        default=None, pattern=r"^[0-9A-Fa-f]{40}$", description="Or its commit, the full SHA."
    )

    @model_validator(mode="after")
    def _at_most_one_cause(self) -> SpendBody:
        if self.pull_request is not None and self.commit is not None:
            raise ValueError("give at most one of pull_request and commit")
        return self

    @property
    def attributed_to(self) -> str | None:
        """The cause as records name it."""
        if self.pull_request is not None:
            return f"pull_request:{self.pull_request}"
        return None if self.commit is None else f"commit:{self.commit.lower()}"


class SpendAnswer(BaseModel):
    """How full the budget is now. Amounts are decimal text in the budget's unit."""

    budget: str
    unit: str
    state: BudgetState
    spent: str
    reserved: str
    limit: str
    window_ends: Instant


class SelfWorkQuery(BaseModel):
    """Which repository."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    repository: RepositoryName | None = Field(default=None, description=WHICH_REPOSITORY)


class SafetyApi:
    """`GET /self-work`, `POST /budgets/{name}/spend` and `GET /schema/playbooks.json`."""

    def __init__(
        self,
        *,
        callers: Callers,
        records: AsyncEngine,
        config: ConfigInForce,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        look: Look,
        self_work: SelfWorkOf,
    ) -> None:
        """Prepare the handlers.

        Args:
            callers: who may call.
            records: of pauses and budgets.
            config: has the limits.
            clock: tells the time (UTC).
            new_id: makes the identity of a report that brought no Idempotency-Key.
            self_work: tells how self-work stands.
            look: looks whether a budget has something to say after it was drawn on.
        """
        self._callers = callers
        self._records = records
        self._config = config
        self._clock = clock
        self._new_id = new_id
        self._look = look
        self._self_work = self_work

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The rows of the route table."""
        return (
            Endpoint("GET", "/schema/playbooks.json", "The configuration's JSON Schema.",
                     self.schema),
            Endpoint("GET", "/self-work", "Whether self-work is paused: look before you spend.",
                     self.self_work, Role.READ, query=SelfWorkQuery, answer=AgentFlags),
            Endpoint("POST", "/budgets/{name}/spend", "Report what was spent of a budget.",
                     self.spend, Role.WRITE, body=SpendBody, answer=SpendAnswer),
        )  # fmt: skip

    async def schema(self, request: web.Request) -> web.Response:
        """`GET /schema/playbooks.json`."""
        del request
        return web.json_response(_SCHEMA, content_type="application/schema+json")

    async def self_work(self, request: web.Request) -> web.Response:
        """`GET /self-work`."""
        token = await self._callers.caller(request, Role.READ)
        query = read_query(request, SelfWorkQuery)
        repository = await self._callers.repository(token, query.repository)
        return as_json(await self._self_work(repository))

    async def spend(self, request: web.Request) -> web.Response:
        """`POST /budgets/{name}/spend`."""
        token = await self._callers.caller(request, Role.WRITE, is_report=True)
        body = await read_model(request, SpendBody)
        if body.attributed_to and (why := may_blame(token)):
            raise _wrong("pull_request" if body.pull_request else "commit", why)
        repository = await self._callers.repository(token, body.repository)
        name = request.match_info["name"]
        config = await self._config_with(repository, name)
        limit = config.budgets[name]
        if body.unit is not None and body.unit.lower() != limit.unit:
            raise _wrong("unit", f"this budget counts {limit.unit}; leave it out, or say so")
        try:
            amount = limit.units(body.amount)
        except ValueError as error:
            raise _wrong("amount", str(error)) from error
        now = self._clock()
        try:
            async with ahead(self._records).begin() as conn:
                change = await book(
                    conn,
                    repository,
                    as_budget(name, limit),
                    key=identity_of(request, token, self._new_id),
                    amount=amount,
                    by=token.name,
                    at=now,
                    attributed_to=body.attributed_to,
                )
        except IllegalMove as error:
            raise _wrong("Idempotency-Key", "a new key for a new report") from error
        await self._look(repository, config)
        balance = change.balance
        return as_json(
            SpendAnswer(
                budget=name,
                unit=limit.unit,
                state=balance.state,
                spent=limit.said(balance.spent),
                reserved=limit.said(balance.reserved),
                limit=limit.said(balance.budget.limit),
                window_ends=window_end(limit.window, balance.began_at),
            )
        )

    async def _config_with(self, repository: Repository, name: str) -> Config:
        found = await self._config.soon(repository)
        config = self._config.read_last(repository.id) if found is None else found.config
        if config is not None and name in config.budgets:
            return config
        if found is None:
            # What was read last may be of before the budget was approved.
            raise put_off("GitHub does not tell what the budgets are")
        known = sorted(found.config.budgets)
        allowed = ", ".join(known) or "none is configured (`budgets` in playbooks.yml)"
        shown = name if _NAME.fullmatch(name) else "that"
        raise HttpProblem(HTTPStatus.NOT_FOUND, f"There is no budget {shown}. Allowed: {allowed}.")


def _wrong(field: str, allowed: str) -> HttpProblem:
    return HttpProblem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{field}: {allowed}.",
        [FieldProblem(field=field, detail=allowed)],
    )
