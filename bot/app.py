"""The composition root: every part is made and wired here, and nowhere else."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import sqlalchemy as sa
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from bot.cockpit.anchored import AnchorsInGit
from bot.cockpit.deciding import founders_from
from bot.cockpit.previews.planner import Planner
from bot.cockpit.rights import roles_from
from bot.cockpit.site import Cockpit
from bot.cockpit.site import Parts as CockpitParts
from bot.config import Config
from bot.engine import HINT_EVERY, Engine, Observer
from bot.faults import Passing
from bot.github.client import GitHub
from bot.github.served import Served
from bot.heartbeat import Heartbeat, Rhythm
from bot.intake.alerts.groups import AlertIntake
from bot.intake.alerts.routes import AlertRoutes
from bot.intake.answering.approving import Approving
from bot.intake.answering.closing import Closing
from bot.intake.answering.config_approving import ConfigApproving
from bot.intake.answering.holding import Holding
from bot.intake.answering.reception import Reception
from bot.intake.api.flags import FlagRoutes
from bot.intake.api.observations import ObservationRoutes
from bot.intake.api.recoveries import Api
from bot.intake.api.safety import SafetyApi
from bot.intake.api.stored_records import StoredRecords
from bot.intake.dispatcher import Dispatcher
from bot.intake.github.meanings import OurApp
from bot.intake.github.missed import Missed
from bot.intake.github.webhooks import LARGEST_BODY, Webhooks
from bot.intake.http.callers import Callers
from bot.intake.http.tokens import read_tokens
from bot.intake.inbox import Inbox
from bot.notify import Courier, read_addresses
from bot.pictures import routes as pictures
from bot.pictures.address import PictureAddresses
from bot.playbooks.parts import Patience
from bot.playbooks.run import Signal, SignalKind
from bot.records.audit_chain import anchors
from bot.records.database import migrate, open_database, reading, url_from
from bot.records.safety import pauses
from bot.safety.agents import ForAgents, told
from bot.safety.circumstances import Circumstances
from bot.safety.config_in_force import ConfigInForce
from bot.safety.config_watch import ConfigWatch
from bot.safety.flag_keeper import FlagKeeper
from bot.safety.gatekeeper import Gatekeeper
from bot.safety.metering import RequestMeter
from bot.safety.overrun import Overruns
from bot.safety.resumer import Resumer
from bot.settings import Settings
from bot.specs.keeper import SpecKeeper
from bot.traffic.courses import Courses
from bot.traffic.guard import Guard
from bot.traffic.newest import Newest
from bot.traffic.observing import Observing
from bot.traffic.prometheus import Prometheus
from bot.traffic.scraper import Scraper
from bot.trials.pool import TrialPool
from bot.triggers import (
    SELF_WORK,
    Repository,
    Trigger,
    derived_id,
)
from bot.wiring.accepting import Accepting
from bot.wiring.hinting import Hinting
from bot.wiring.lasting import lasting
from bot.wiring.mirrors import Mirrors
from bot.wiring.playbooks import PlaybookWiring

log = structlog.get_logger(__name__)

RUN = "trigger"
"""The one kind of durable execution: a Trigger, from receipt to answer."""

_LAST_ANSWERS_S = 5.0
"""Seconds that answers under way get at a stop: `docker stop` kills after ten."""


def wall_clock() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


class Bot:
    """The whole bot on one port. `start`, then `stop`; a crash in between loses nothing."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = wall_clock,
        patience: Patience | None = None,
        observers: Sequence[Observer] = (),
        longest_outage: timedelta = timedelta(hours=6),
        rhythm: Rhythm | None = None,
        look_for_missed: timedelta = timedelta(minutes=1),
        hint_every: float = HINT_EVERY,
    ) -> None:
        """Make the parts; nothing is opened before `start`."""
        self.settings = settings
        self.clock = clock
        self.patience = patience or Patience()
        data = settings.playbooks_data
        data.mkdir(parents=True, exist_ok=True)
        self.database_url = (
            settings.database_url.get_secret_value() if settings.database_url else url_from(data)
        )
        self.records: AsyncEngine = open_database(self.database_url)
        self.read_only = reading(self.records)
        self.registry = CollectorRegistry()
        self.github = GitHub(
            app_id=settings.github_app_id,
            private_key=settings.github_private_key.get_secret_value(),
            api_url=settings.github_api_url,
            graphql_url=settings.github_graphql_url,
            url=settings.github_url,
        )
        self.registry.register(self.github.requests)
        self.meter = RequestMeter(self.records, clock, lambda: str(ULID()).lower())
        self.github.meter(self.meter)
        given = settings.playbooks_signing_key
        self.signing_key = (
            anchors.private_key(given.get_secret_value().encode())
            if given
            else anchors.signing_key(data / "signing-key.pem")
        )
        self.engine = Engine(
            records=self.records,
            replica=settings.replica,
            clock=clock,
            observers=tuple(observers),
            system_database=data / "engine.db" if self.records.dialect.name == "sqlite" else None,
            longest_outage=longest_outage,
            hint_every=hint_every,
        )
        self.heartbeat = Heartbeat(
            self.records,
            settings.replica,
            clock=clock,
            take_over=self.engine.take_over,
            give_up=_exit_at_once,
            rhythm=rhythm,
        )
        self.served = Served(self.github, clock)
        self.mirrors = Mirrors(data / "mirrors", self.github)
        self.config = ConfigInForce(
            self.github, self.records, last_good=self.mirrors.known_config, clock=clock
        )
        # Only an address that was given is one that GitHub can fetch from.
        given_url = settings.public_url if settings.playbooks_url else None
        self.pictures = PictureAddresses(self.signing_key, given_url)
        self.pool = TrialPool(
            workers=max(1, (os.cpu_count() or 2) // 2), ended=self._hint, root=data / "trials"
        )
        self.inbox = Inbox(self.records)
        self.alerts = AlertIntake(self.records, self.inbox, wake=self._hint, clock=clock)
        self._watch_traffic()
        self._keep_repositories()
        self.playbooks = PlaybookWiring(
            github=self.github,
            mirrors=self.mirrors,
            records=self.read_only,
            inbox=self.inbox,
            config=self.config,
            courses=self.courses,
            pool=self.pool,
            pictures=self.pictures,
            signing_key=self.signing_key,
            patience=self.patience,
            founders=settings.playbooks_founders,
            wake=self.engine.wake,
            clock=clock,
            no_counters=self.scraper.hindrance,
        )
        self.reception = self._reception()
        self.engine.register(RUN, Trigger, self.reception.receive, self.reception.broke)
        self.dispatcher = Dispatcher(
            self.inbox, self._start_run, replica=settings.replica, clock=clock
        )
        self.accepting = Accepting(
            self._start_run,
            self.read_only,
            self.config,
            self.mirrors,
            self.scraper.hindrance,
        )
        self.courier = Courier(
            self.records,
            read_addresses([each.get_secret_value() for each in settings.notify_urls]),
            clock=clock,
            web_url=self.github.addresses.web,
        )
        self.cockpit = self._cockpit()
        self._look_for_missed = look_for_missed
        self._tasks: list[asyncio.Task[None]] = []
        self._runner: web.AppRunner | None = None
        self.port = settings.playbooks_port

    async def start(self) -> None:
        """Open the databases, resume what was under way, and listen."""
        await migrate(self.database_url)
        await self.heartbeat.begin()
        us = await self._ourselves()
        application = web.Application(client_max_size=LARGEST_BODY)
        application.add_routes(self._webhooks(us).routes())
        application.add_routes(pictures.routes(self.pictures))
        application.add_routes(self._api().routes())
        application.add_routes(self.cockpit.routes())
        await self.engine.launch()
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=_LAST_ANSWERS_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.playbooks_host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        parts = {
            "dispatcher": self.dispatcher.run,
            "heartbeat": self.heartbeat.run,
            "courier": self.courier.run,
            "guard": self.guard.run,
            "counters": self.scraper.run,
            "gatekeeper": self.gatekeeper.run,
            "missed deliveries": self._missed(us).run,
            "spec reports": self.specs.run,
            "flag documents": self.flag_keeper.run,
        }
        self._tasks = [
            asyncio.create_task(lasting(part, run), name=part) for part, run in parts.items()
        ]
        log.info("listening", url=self.settings.public_url, port=self.port)

    async def stop(self) -> None:
        """Stop; what is under way resumes at the next start."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.cockpit.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.engine.close()
        await self.pool.close()
        await self.heartbeat.leave()
        await self.meter.close()
        await self.github.close()
        if self.prometheus is not None:
            await self.prometheus.close()
        await self.records.dispose()

    # --- parts that need each other ---

    def _watch_traffic(self) -> None:
        self.courses = Courses(self.records)
        self.prometheus = _prometheus(self.settings)
        self.scraper = Scraper(
            self.records,
            None if self.prometheus is None else self.prometheus.query,
            clock=self.clock,
            heard=lambda attempt: self.guard.heard(attempt),
        )
        self.guard = Guard(
            self.records,
            self.courses,
            wake=self._hint,
            clock=self.clock,
            fault=self.scraper.fault,
        )
        self.observing = Observing(self.records, clock=self.clock, heard=self.guard.heard)

    def _keep_repositories(self) -> None:
        self.specs = SpecKeeper(
            self.github,
            web_url=self.github.addresses.web,
            clock=self.clock,
            served=self.served.served,
        )
        self.flag_keeper = FlagKeeper(
            self.github,
            self.records,
            config=self._config_in_force,
            served=self.served.served,
            clock=self.clock,
        )
        self.overruns = Overruns(self.records, self.alerts.take, self.clock)
        self.gatekeeper = Gatekeeper(
            github=self.github,
            records=self.records,
            config=self.config,
            resumer=Resumer(self.records, self.clock),
            look_at_budgets=self._look_at_budgets,
            served=self.served.served,
            clock=self.clock,
            config_watch=ConfigWatch(
                self.records,
                self.config,
                clock=self.clock,
                no_counters=self.scraper.hindrance,
            ),
        )
        self.hinting = Hinting(
            self.read_only,
            specs=self.specs,
            gatekeeper=self.gatekeeper,
            flag_keeper=self.flag_keeper,
            hint=self._hint,
        )

    def _reception(self) -> Reception:
        safety = (self.github, self.records, self.config, self.settings.playbooks_founders)
        return Reception(
            github=self.github,
            records=self.read_only,
            playbooks=self.playbooks.by_request(),
            judge=self.playbooks.judge,
            wake=self.engine.wake,
            circumstances=Circumstances(self.github, self.records, self.config, self.clock),
            holding=Holding(*safety),
            approving=Approving(*safety),
            config_approving=ConfigApproving(*safety, no_counters=self.scraper.hindrance),
            closing=Closing(self.read_only, self.signing_key),
        )

    def _webhooks(self, us: OurApp) -> Webhooks:
        return Webhooks(
            secrets=[each.get_secret_value() for each in self.settings.github_webhook_secret],
            us=us,
            inbox=self.inbox,
            wake=self.hinting.pass_on,
            clock=self.clock,
            registry=self.registry,
        )

    def _missed(self, us: OurApp) -> Missed:
        return Missed(
            github=self.github,
            us=us,
            inbox=self.inbox,
            records=self.records,
            served=self.served.served,
            clock=self.clock,
            rng=random.Random(),  # noqa: S311 - an order, not a secret
            every=self._look_for_missed,
        )

    def _api(self) -> Api:
        tokens = [each.get_secret_value() for each in self.settings.playbooks_api_tokens]
        callers = Callers(read_tokens(tokens), self.served)
        safety = SafetyApi(
            callers=callers,
            records=self.records,
            config=self.config,
            clock=self.clock,
            new_id=lambda: str(ULID()).lower(),
            look=self.overruns.look,
            self_work=self._self_work,
        )
        return Api(
            callers=callers,
            records=StoredRecords(self.read_only),
            inbox=self.inbox,
            accept=self.accepting.accept,
            ready=self._ready,
            clock=self.clock,
            new_id=lambda: str(ULID()).lower(),
            registry=self.registry,
            public_url=self.settings.public_url,
            version=version("incident-playbooks"),
            more=(
                *FlagRoutes(callers, Newest(self.records).servings, self._self_work).endpoints,
                *safety.endpoints(),
                *ObservationRoutes(callers, self.observing.put).endpoints,
                *AlertRoutes(callers, self.alerts.take, self.clock).endpoints,
            ),
        )

    def _cockpit(self) -> Cockpit:
        settings, flow = self.settings, None
        if settings.github_client_id and settings.github_client_secret:
            flow = self.github.web_flow(settings.github_client_id, settings.github_client_secret)
        return Cockpit(
            CockpitParts(
                records=self.records,
                read_only=self.read_only,
                served=self.served.served,
                role_of=roles_from(self.github),
                flow=flow,
                inbox=self.inbox,
                accept=self.accepting.begin,
                preview=Planner(
                    self.github,
                    self.mirrors.of,
                    self.read_only,
                    self.config,
                    self.scraper.hindrance,
                ).preview,
                anchors=AnchorsInGit(self.github).read,
                config_of=self._config_in_force,
                founders_of=founders_from(self.github, self.config, settings.playbooks_founders),
                signing_key=self.signing_key,
                web_url=self.github.addresses.web,
                url=lambda: settings.url_at(self.port),
                clock=self.clock,
            )
        )

    async def _ourselves(self) -> OurApp:
        pause = 1.0
        while True:
            try:
                app = await self.github.ourselves.app()
            except Passing as fault:
                log.warning("GitHub cannot be reached; trying again", why=str(fault))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 60.0)
            else:
                return OurApp(id=app.id, slug=app.slug)

    # --- what the parts call ---

    async def _config_in_force(self, repository: Repository) -> Config:
        return (await self.config.of(repository)).config

    async def _look_at_budgets(self, repository: Repository, config: Config) -> None:
        self.meter.limit(repository.id, config.caps)
        await self.overruns.look(repository, config)

    async def _self_work(self, repository: Repository) -> ForAgents:
        async with self.read_only.connect() as conn:
            pause = await pauses.in_force(conn, repository.id, SELF_WORK)
        return told(pause, (await self.config.of(repository)).config.self_work)

    async def _start_run(self, trigger: Trigger) -> None:
        self.served.heard(trigger.repository)
        await self.engine.start(RUN, derived_id(trigger.key, trigger.received_at), trigger)

    async def _hint(self, run: str) -> None:
        await self.engine.wake(run, Signal(kind=SignalKind.HINT))

    async def _ready(self) -> Mapping[str, str | None]:
        try:
            async with self.read_only.connect() as conn:
                await conn.execute(sa.text("SELECT 1"))
        except Exception as error:  # whatever it is, it is the answer
            return {"database": type(error).__name__}
        return {"database": None}


def _prometheus(settings: Settings) -> Prometheus | None:
    if settings.prometheus_url is None:
        return None
    token = settings.prometheus_token
    return Prometheus(settings.prometheus_url, None if token is None else token.get_secret_value())


def _exit_at_once() -> None:
    # Siblings may soon do what this process is doing: not one more step, not even a clean stop.
    log.error("the heartbeat could not be renewed in time: this process ends itself")
    os._exit(70)
