"""The composition root: every part is made and wired here, and nowhere else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version

import sqlalchemy as sa
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine
from ulid import ULID

from bot.cockpit.anchored import AnchorsInGit
from bot.cockpit.previews import Planner
from bot.cockpit.rights import roles_from
from bot.cockpit.site import Cockpit
from bot.cockpit.site import Parts as CockpitParts
from bot.config import Config
from bot.engine import Engine, Observer
from bot.faults import Passing
from bot.git.errors import GitError
from bot.git.mirror import Mirror
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.github.served import Served
from bot.heartbeat import Heartbeat, Rhythm
from bot.intake.alert_intake import AlertIntake
from bot.intake.alerts import AlertRoutes
from bot.intake.api import Accepted, Api, Declined
from bot.intake.approving import Approving
from bot.intake.callers import Callers
from bot.intake.config_approving import ConfigApproving
from bot.intake.dispatcher import Dispatcher
from bot.intake.flags import FlagRoutes
from bot.intake.holding import Holding
from bot.intake.inbox import Inbox
from bot.intake.meanings import Hint, OurApp
from bot.intake.missed import Missed
from bot.intake.observations import ObservationRoutes
from bot.intake.reception import Reception
from bot.intake.safety_api import SafetyApi
from bot.intake.stored_records import StoredRecords
from bot.intake.tokens import read_tokens
from bot.intake.webhooks import LARGEST_BODY, Webhooks
from bot.notify import Courier, read_addresses
from bot.pictures import routes as pictures
from bot.pictures.address import PictureAddresses
from bot.playbooks import preflight
from bot.playbooks.bisect.playbook import bisect
from bot.playbooks.capability import CandidateParts, UnknownName
from bot.playbooks.declined import Stop
from bot.playbooks.judge.playbook import JudgeParts, judge
from bot.playbooks.parts import Parts, Patience
from bot.playbooks.places import first_place
from bot.playbooks.ramp.playbook import ramp
from bot.playbooks.repository_config import read_config
from bot.playbooks.revert.playbook import revert
from bot.playbooks.rollback.playbook import rollback
from bot.playbooks.run import Ending, Run, Signal, SignalKind
from bot.playbooks.shadow.playbook import shadow
from bot.playbooks.triage.playbook import TriageParts, triage
from bot.records import anchors, runs
from bot.records.database import migrate, open_database, reading, url_from
from bot.safety.circumstances import Circumstances
from bot.safety.config_in_force import ConfigInForce
from bot.safety.flag_keeper import FlagKeeper
from bot.safety.founders import founders_of, is_founder
from bot.safety.gatekeeper import Gatekeeper
from bot.safety.holding import hold_self_work
from bot.safety.resumer import Resumer
from bot.safety.severity import severity_of_check
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
    BisectRequest,
    JudgeRequest,
    RampRequest,
    Repository,
    RevertRequest,
    RollbackRequest,
    ShadowRequest,
    TriageRequest,
    Trigger,
    derived_id,
)

log = structlog.get_logger(__name__)

RUN = "trigger"
"""The one kind of durable execution: a Trigger, from receipt to answer."""


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
        )
        self.inbox = Inbox(self.records)
        self.dispatcher = Dispatcher(
            self.inbox, self._start_run, replica=settings.replica, clock=clock
        )
        self.config = ConfigInForce(
            self.github, self.records, last_good=self._known_config, clock=clock
        )
        self.reception = Reception(
            github=self.github,
            records=self.read_only,
            playbooks={
                RevertRequest: self._revert,
                BisectRequest: self._bisect,
                ShadowRequest: self._shadow,
                RampRequest: self._ramp,
                RollbackRequest: self._rollback,
                TriageRequest: self._triage,
            },
            judge=self._judge,
            wake=self.engine.wake,
            circumstances=Circumstances(self.github, self.records, self.config, clock),
            holding=Holding(self.github, self.records, self.config, settings.playbooks_founders),
            approving=Approving(
                self.github, self.records, self.config, settings.playbooks_founders
            ),
            config_approving=ConfigApproving(
                self.github, self.records, self.config, settings.playbooks_founders
            ),
        )
        self.engine.register(RUN, Trigger, self.reception.receive, self.reception.broke)
        self.courses = Courses(self.records)
        self.prometheus = _prometheus(settings)
        self.scraper = Scraper(
            self.records,
            None if self.prometheus is None else self.prometheus.query,
            clock=clock,
            heard=lambda attempt: self.guard.heard(attempt),
        )
        self.guard = Guard(
            self.records, self.courses, wake=self._hint, clock=clock, fault=self.scraper.fault
        )
        self.observing = Observing(self.records, clock=clock, heard=self.guard.heard)
        self.heartbeat = Heartbeat(
            self.records,
            settings.replica,
            clock=clock,
            take_over=self.engine.take_over,
            give_up=_exit_at_once,
            rhythm=rhythm,
        )
        self.served = Served(self.github, clock)
        self.pool = TrialPool(
            workers=max(1, (os.cpu_count() or 2) // 2),
            ended=self._trial_ended,
            root=data / "trials",
        )
        # Only an address that was given is one that GitHub can fetch from.
        given_url = self.settings.public_url if settings.playbooks_url else None
        self.pictures = PictureAddresses(self.signing_key, given_url)
        self.flag_keeper = FlagKeeper(
            self.github,
            self.records,
            config=self._config_in_force,
            served=self.served.served,
            clock=clock,
        )
        self.specs = SpecKeeper(
            self.github,
            web_url=self.github.addresses.web,
            clock=clock,
            served=self.served.served,
        )
        self.cockpit = self._cockpit()
        self.gatekeeper = Gatekeeper(
            github=self.github,
            records=self.records,
            config=self.config,
            resumer=Resumer(self.records, clock),
            served=self.served.served,
            clock=clock,
        )
        self.alerts = AlertIntake(self.records, self.inbox, wake=self._wake_at_once, clock=clock)
        self._recording: dict[int, asyncio.Lock] = {}
        self.courier = Courier(
            self.records,
            read_addresses([each.get_secret_value() for each in settings.notify_urls]),
            clock=clock,
            web_url=self.github.addresses.web,
        )
        self._look_for_missed = look_for_missed
        self._mirrors: dict[int, Mirror] = {}
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
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.playbooks_host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._tasks = [
            asyncio.create_task(self.dispatcher.run(), name="dispatcher"),
            asyncio.create_task(self.heartbeat.run(), name="heartbeat"),
            asyncio.create_task(self.courier.run(), name="courier"),
            asyncio.create_task(self.guard.run(), name="guard"),
            asyncio.create_task(self.scraper.run(), name="counters"),
            asyncio.create_task(self.gatekeeper.run(), name="gatekeeper"),
            asyncio.create_task(self._missed(us).run(), name="missed deliveries"),
            asyncio.create_task(self.specs.run(), name="spec reports"),
            asyncio.create_task(self.flag_keeper.run(), name="flag documents"),
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
        await self.github.close()
        if self.prometheus is not None:
            await self.prometheus.close()
        await self.records.dispose()

    # --- parts that need each other ---

    def _webhooks(self, us: OurApp) -> Webhooks:
        return Webhooks(
            secrets=[each.get_secret_value() for each in self.settings.github_webhook_secret],
            us=us,
            inbox=self.inbox,
            wake=self._wake_watching,
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
        )
        return Api(
            callers=callers,
            records=StoredRecords(self.read_only),
            inbox=self.inbox,
            accept=self._accept,
            ready=self._ready,
            clock=self.clock,
            new_id=lambda: str(ULID()).lower(),
            registry=self.registry,
            public_url=self.settings.public_url,
            version=version("incident-playbooks"),
            more=(
                *FlagRoutes(callers, Newest(self.records).servings).endpoints,
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
                accept=self._begin,
                preview=Planner(self.github, self.mirror).preview,
                anchors=AnchorsInGit(self.github).read,
                config_of=self._config_in_force,
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

    def mirror(self, repository: Repository) -> Mirror:
        """The mirror of one repository; the same object each time, since it holds a lock."""
        client = self.github.repository(repository, playbook="mirror", recovery=True)
        mirror = self._mirrors.get(repository.id)
        if mirror is None:
            mirror = Mirror(
                self.settings.playbooks_data / "mirrors",
                repository.id,
                client.clone_url,
                client.clone_token,
                client.discard_clone_token,
            )
            self._mirrors[repository.id] = mirror
        mirror.url = client.clone_url
        return mirror

    # --- what the parts call ---

    async def _config_in_force(self, repository: Repository) -> Config:
        return (await self.config.of(repository)).config

    async def _begin(self, trigger: Trigger) -> str:
        await self._start_run(trigger)
        return derived_id(trigger.key, trigger.received_at)

    async def _start_run(self, trigger: Trigger) -> None:
        await self.engine.start(RUN, derived_id(trigger.key, trigger.received_at), trigger)

    async def _ask(self, trigger: Trigger) -> None:
        # A step cannot start a Run; what is in the inbox is started, whatever happens to us.
        await self.inbox.put(trigger)

    async def _revert(self, run: Run, trigger: Trigger, request: RevertRequest) -> Ending:
        return await revert(run, trigger, request, self._parts(trigger.repository, "revert"))

    async def _bisect(self, run: Run, trigger: Trigger, request: BisectRequest) -> Ending:
        return await bisect(run, trigger, request, self._parts(trigger.repository, "bisect"))

    async def _triage(self, run: Run, trigger: Trigger, request: TriageRequest) -> Ending:
        parts = TriageParts(
            parts=self._parts(trigger.repository, "triage"),
            put=self.inbox.put,
            hold=hold_self_work,
            recording=self._recording.setdefault(trigger.repository.id, asyncio.Lock()),
        )
        return await triage(run, trigger, request, parts)

    async def _judge(self, run: Run, trigger: Trigger, request: JudgeRequest) -> None:
        parts = JudgeParts(
            parts=self._parts(trigger.repository, "judge"),
            put=self.inbox.put,
            severity=severity_of_check,
            hold=hold_self_work,
        )
        await judge(run, trigger, request, parts)

    async def _shadow(self, run: Run, trigger: Trigger, request: ShadowRequest) -> Ending:
        return await shadow(run, trigger, request, self._candidate_parts(trigger.repository))

    async def _ramp(self, run: Run, trigger: Trigger, request: RampRequest) -> Ending:
        return await ramp(run, trigger, request, self._candidate_parts(trigger.repository))

    async def _rollback(self, run: Run, trigger: Trigger, request: RollbackRequest) -> Ending:
        return await rollback(run, trigger, request, self._candidate_parts(trigger.repository))

    def _candidate_parts(self, repository: Repository) -> CandidateParts:
        parts = self._parts(repository, "rollout")

        async def founder(login: str) -> bool:
            config = (await self.config.of(repository)).config
            named = await founders_of(parts.github, config, self.settings.playbooks_founders)
            return is_founder(login, named)

        return CandidateParts(
            **vars(parts),
            records=self.read_only,
            courses=self.courses,
            ask=self._ask,
            wake=self.engine.wake,
            is_founder=founder,
            clock=self.clock,
        )

    def _parts(self, repository: Repository, playbook: str) -> Parts:
        return Parts(
            github=self.github.repository(repository, playbook=playbook),
            mirror=self.mirror(repository),
            signing_key=self.signing_key,
            web_url=f"{self.github.addresses.web}/{repository.full_name}",
            patience=self.patience,
            put=self.inbox.put,
            pool=self.pool,
            pictures=self.pictures,
            settled=partial(self.config.settled, repository.id),
        )

    async def _wake_at_once(self, run: str) -> None:
        await self.engine.wake(run, Signal(kind=SignalKind.HINT))

    async def _trial_ended(self, run: str) -> None:
        await self.engine.wake(run, Signal(kind=SignalKind.HINT))

    async def _wake_watching(self, hint: Hint) -> None:
        self.specs.heard(hint.repository, hint.pull_requests, hint.head_sha)
        self._stir_gatekeeper(hint)
        async with self.read_only.connect() as conn:
            woken = {
                run.id
                for number in (hint.pull_requests or (None,))
                for run in await runs.watching(
                    conn, hint.repository.id, head_sha=hint.head_sha, pull_request=number
                )
            }
        for run in sorted(woken):
            await self._hint(run)

    async def _hint(self, run: str) -> None:
        await self.engine.wake(run, Signal(kind=SignalKind.HINT))

    def _stir_gatekeeper(self, hint: Hint) -> None:
        ref = hint.ref or ""
        if hint.head_sha and "gh-readonly-queue/" in ref:
            self.gatekeeper.merge_group(hint.repository, hint.head_sha, ref)
        elif ref.startswith("refs/heads/"):
            self.gatekeeper.pushed(hint.repository)
            self.flag_keeper.pushed(hint.repository)
        elif hint.about_pull_request:
            self.gatekeeper.pull_request(hint.repository, hint.pull_requests, hint.labels)
        else:
            self.gatekeeper.stirred(hint.repository)

    async def _accept(self, trigger: Trigger) -> Accepted:
        run = derived_id(trigger.key, trigger.received_at)
        if isinstance(trigger.request, preflight.ASKED):
            await self._make_sure(trigger)
        await self._start_run(trigger)
        config = await self._known_config(trigger.repository)
        place = first_place(trigger.request, run, config.artifacts.root)
        return Accepted(run=run, incident=run, artifact_path=place.path, ref=place.ref)

    async def _make_sure(self, trigger: Trigger) -> None:
        config = (await self.config.of(trigger.repository)).config
        async with self.read_only.connect() as conn:
            try:
                await preflight.make_sure(conn, trigger, config)
            except UnknownName as unknown:
                raise Declined(f"{unknown.reason} {unknown.remedy}", unknown.field) from unknown
            except Stop as stop:
                raise Declined(f"{stop.reason} {stop.remedy}") from stop

    async def _known_config(self, repository: Repository) -> Config:
        """The configuration as the mirror has it; the defaults before the first fetch."""
        mirror = self.mirror(repository)
        if not mirror.path.exists():
            return Config()
        try:
            about = await self.github.repository(repository, playbook="api").about()
            head = await mirror.branch_head(about.default_branch)
            config, _ = await read_config(mirror.git, head)
        except (GitError, GitHubError):
            return Config()
        return config

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
