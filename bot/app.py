"""The composition root: every part is made and wired here, and nowhere else."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from ulid import ULID

from bot.cockpit.actions import founders_from
from bot.cockpit.audit import AnchorsInGit
from bot.cockpit.preview_planner import Planner
from bot.cockpit.site import Cockpit, CockpitParts
from bot.commands.answer import ReplyPolicy, Writing
from bot.commands.approve import ApproveCommands
from bot.commands.approve_config import ConfigApprovals
from bot.commands.close_issue import IssueClosings
from bot.commands.command_context import ContextReader
from bot.commands.handler import CommandHandler
from bot.commands.pause import PauseCommands
from bot.commands.stranded_runs import StrandedRun, StrandedRuns
from bot.commands.strangers import Strangers
from bot.config import Config
from bot.engine import HINT_EVERY, Engine, Observer, Stuck
from bot.engine.storage import ENGINE_FILE
from bot.errors import Passing
from bot.github.client import GitHub
from bot.github.errors import GitHubError, Unavailable
from bot.github.served import Served
from bot.github.transport.redaction import keep_secret
from bot.intake.activity import ActivityWatch
from bot.intake.alerts.groups import AlertIntake
from bot.intake.alerts.routes import AlertRoutes
from bot.intake.api.budgets import SafetyApi
from bot.intake.api.incidents import Api, StoredRecords
from bot.intake.api.traffic import FlagRoutes, ObservationRoutes
from bot.intake.catch_up import CatchUp
from bot.intake.dispatcher import Dispatcher
from bot.intake.event_payloads import OurApp
from bot.intake.http.auth import Callers, KnownTokens
from bot.intake.http.entrance import Entrance, prefix_of
from bot.intake.http.oidc import WorkflowPolicy, WorkflowTokens, issuer_of
from bot.intake.http.problems import put_off
from bot.intake.inbox import Inbox
from bot.intake.webhooks import LARGEST_BODY, Webhooks
from bot.metrics import BuildInfo, RecordsCollector, publish, watch_event_loop
from bot.notify import Courier
from bot.pictures import addresses as pictures
from bot.pictures.addresses import PictureAddresses
from bot.playbooks.run import Patience, Signal, SignalKind
from bot.records import pauses, runs, sensitive_config
from bot.records.audit.anchors import private_pem
from bot.records.audit.keys import (
    FILE,
    InstallationKey,
    KeyFileDamaged,
    SigningKeyRefused,
    keep_files,
    settle_key,
)
from bot.records.branch_record import RecordStore
from bot.records.database import reading
from bot.records.github_answers import GitHubMemory
from bot.records.private_files import keep_private
from bot.records.replicas import living, time_there
from bot.records.schema import UnfitDatabase, migrate
from bot.replicas import AnotherApp, Heartbeat, HeartbeatRhythm, NameTaken
from bot.retention import Retention
from bot.safety.admission_facts import AdmissionReader
from bot.safety.budgets import Overruns
from bot.safety.config_check import ConfigWatch
from bot.safety.config_in_force import ConfigInForce, counting_sections, with_sections
from bot.safety.flag_sync import FlagSync
from bot.safety.gate_reporter import GateReporter
from bot.safety.records_branch import RecordsBranch
from bot.safety.request_meter import RequestMeter
from bot.safety.self_work import AgentFlags, SelfWorkResumer, told
from bot.settings import InvalidSettings, SettingFault, Settings
from bot.spec_reports import SpecReports
from bot.traffic.allocation import NewestAllocations
from bot.traffic.circuit_breaker import CircuitBreaker
from bot.traffic.evaluation import Evaluations
from bot.traffic.ingest import Ingest
from bot.traffic.prometheus import Prometheus, Scraper
from bot.trials.pool import TrialPool
from bot.trials.sandbox import Showing
from bot.triggers import (
    SELF_WORK,
    Repository,
    Trigger,
    derived_id,
)
from bot.wiring.background import Mirrors, OrphanedRuns, RunHints, keep_running
from bot.wiring.beginnings import Beginnings
from bot.wiring.composition import PlaybookWiring, RequestWiring
from bot.wiring.database_faults import database_fault
from bot.wiring.readiness import Introduction, Readiness, RightOfWay, WaitingRoom
from bot.wiring.readings import another_app, app_of, free_port, port_fault, read_settings

log = structlog.get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

RUN = "trigger"
SETTLE = "settle"
"""The one kind of durable execution: a Trigger, from receipt to answer."""

PAGE_S = 5.0
"""How long a page or a caller waits for GitHub."""
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
        rhythm: HeartbeatRhythm | None = None,
        look_for_missed: timedelta = timedelta(minutes=1),
        hint_every: float = HINT_EVERY,
        beside: Callable[[GitHub], Sequence[web.RouteDef]] = lambda _: (),
        make_way: Callable[[], Awaitable[socket.socket | None]] | None = None,
    ) -> None:
        """Make the parts; nothing is opened before `start`.

        `beside` gives pages that are served beside the bot's own; `make_way` has whoever answers
        at the port so far, and brought us here, leave it, and may give the socket.

        Raises:
            InvalidSettings: something cannot be read or used; says which and why.
        """
        self.settings = settings
        self.clock = clock
        self.patience = patience or Patience()
        data = settings.playbooks_data
        keep_secret(settings.secrets())
        found = read_settings(settings)
        self._tokens, self._alert_mappings = found.tokens, found.mappings
        for mapping in self._alert_mappings.values():
            keep_secret(each.get_secret_value() for each in mapping.secret)
        self.database_url, self.records = found.database_url, found.records
        self.read_only = reading(self.records)
        self.registry = CollectorRegistry()
        self.github = found.github
        self.memory = GitHubMemory(self.records, settings.github_app_id, clock)
        self.listening_since = clock()
        self.introduction = Introduction(self.github, settings, self.memory)
        self.meter = RequestMeter(self.records, clock, lambda: str(ULID()).lower())
        self.github.meter(self.meter)
        self.signing_key = InstallationKey()
        self.record_store = RecordStore(self.records, clock, self.signing_key)
        engine_file = data / ENGINE_FILE if self.records.dialect.name == "sqlite" else None
        if engine_file is not None:
            keep_private(engine_file)
        self.right_of_way = RightOfWay()
        self.beginnings = Beginnings(lambda run: self.engine.finished(run))
        self.engine = Engine(
            records=self.records,
            replica=settings.replica,
            clock=clock,
            observers=(self.right_of_way, self.beginnings, *observers),
            system_database=engine_file,
            longest_outage=longest_outage,
            hint_every=hint_every,
        )
        self.measured = RecordsCollector(self.read_only, clock)
        publish(
            self.registry,
            self.github.requests,
            self.github.limits,
            self.measured,
            BuildInfo(version("incident-playbooks"), self.engine.code),
        )
        self.readiness = Readiness(
            self.read_only, self.engine.answers, data, engine_file, self.introduction.hindrance
        )
        self.orphans = OrphanedRuns(self.engine.take_up_orphans, self.engine.interrupted)
        self.heartbeat = Heartbeat(
            self.records,
            settings.replica,
            clock=clock,
            take_over=self.engine.take_over,
            give_up=_exit_at_once,
            rhythm=rhythm,
            code=self.engine.code,
            app=app_of(settings),
            counted=lambda living: self.github.pace(1 / living),
        )
        self.served = Served(self.github, clock, self.memory)
        self.watch = ActivityWatch(
            self.records,
            served=self.served.readable,
            is_first=self.heartbeat.is_first,
            clock=clock,
            every=look_for_missed,
        )
        self.mirrors = Mirrors(data / "mirrors", self.github)
        self.config = ConfigInForce(
            self.github, self.records, last_good=self.mirrors.last_good_config, clock=clock
        )
        # Only an address that was given is one that GitHub can fetch from.
        given_url = settings.public_url if settings.playbooks_url else None
        self.pictures = PictureAddresses(self.signing_key, given_url)
        self.pool = TrialPool(
            workers=max(1, (os.cpu_count() or 2) // 2),
            ended=self._hint,
            root=data / "trials",
            showing=Showing(settings.playbooks_sandbox_readable, settings.secret_places()),
            is_off=settings.playbooks_sandbox == "off",
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
            evaluations=self.evaluations,
            pool=self.pool,
            pictures=self.pictures,
            cockpit_url=given_url,
            signing_key=self.signing_key,
            store=self.record_store,
            patience=self.patience,
            founders=settings.playbooks_founders,
            wake=self.engine.wake,
            clock=clock,
            no_counters=self.scraper.hindrance,
        )
        self.talk = ReplyPolicy(self.records, self.clock, self.patience.other_bots)
        self.writing = Writing(self.records, self.talk, self.clock)
        self.admission_reader = AdmissionReader(
            self.github, self.records, self.config, self.clock, settings.playbooks_founders
        )
        self.reception = self._reception()
        self.strangers = Strangers(
            self.admission_reader,
            self.reception.answer_stranger,
            self.records,
            self.clock,
            self.right_of_way.give,
        )
        self.engine.register(
            RUN, Trigger, self.reception.receive, self.reception.broke, self._about
        )
        stranding = StrandedRuns(self.github, self.inbox.put, self.writing)
        self.engine.register(
            SETTLE,
            StrandedRun,
            stranding.tell,
            stranding.broke,
            lambda stranded: self._about(stranded.trigger),
        )
        self.dispatcher = Dispatcher(
            self.inbox,
            self._start,
            partial(self._start, must_know=True),
            replica=settings.replica,
            clock=clock,
            in_turn=self.beginnings.in_turn,
        )
        self.accepting = RequestWiring(
            self._start_run,
            self.read_only,
            self.config,
            self.mirrors,
            self.scraper.hindrance,
            clock,
        )
        self.courier = Courier(
            self.records,
            found.addresses,
            clock=clock,
            web_url=self.github.addresses.web,
            cockpit_url=given_url,
        )
        self.retention = Retention(
            self.records,
            data,
            keep=timedelta(days=settings.playbooks_keep),
            clock=clock,
            also=(self._drop_mirrors,),
        )
        self.cockpit = self._cockpit()
        self._look_for_missed = look_for_missed
        self._beside, self._make_way = beside, make_way
        self._tasks: list[asyncio.Task[None]] = []
        self._entrance: Entrance | None = None
        self.port = settings.playbooks_port

    async def start(self) -> None:
        """Open the databases, resume what was under way, and listen; GitHub may be away.

        Raises:
            InvalidSettings: another replica has this name or key, the port is taken, or GitHub
                says that the App's id, key or address is wrong.
        """
        log.info(
            "starting",
            version=version("incident-playbooks"),
            replica=self.settings.replica,
            code=self.engine.code,
            settings=self.settings.shown(),
        )
        host = self.settings.playbooks_host
        if self._make_way is None:
            free_port(host, self.port)
        room = WaitingRoom(host, self.port, is_taken=self._make_way is not None)
        await room.until(self._begin)
        self.port = room.port
        application = web.Application(client_max_size=LARGEST_BODY)
        application.add_routes(self._webhooks().routes())
        application.add_routes(pictures.routes(self.pictures))
        application.add_routes(self._api().routes())
        application.add_routes(self._beside(self.github))
        application.add_routes(self.cockpit.routes())
        listener = None if self._make_way is None else await self._make_way()
        self._entrance = Entrance(
            application, last_answers=_LAST_ANSWERS_S, url=self.settings.public_url
        )
        try:
            self.port = await self._entrance.open(host, self.port, listener)
        except OSError as error:
            raise port_fault(host, self.port, error) from error
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "dispatcher": self.dispatcher.run,
            "heartbeat": self.heartbeat.run,
            "orphans": self.orphans.run,
            "runs": partial(self.engine.tend, self.heartbeat.living, self._stranded),
            "courier": self.courier.run,
            "guard": self.guard.run,
            "counters": self.scraper.run,
            "gatekeeper": self.gate_reporter.run,
            "introduction": self.introduction.run,
            "missed deliveries": self._ask_for_missed,
            "spec reports": self.specs.run,
            "flag documents": self.flag_keeper.run,
            "records branches": self.records_keeper.run,
            "mirrors": self.mirrors.run,
            "event loop": watch_event_loop,
            "retention": self.retention.run,
        }
        self._tasks = [
            asyncio.create_task(keep_running(part, run), name=part) for part, run in parts.items()
        ]
        log.info(
            "listening",
            url=self.settings.url_at(self.port),
            port=self.port,
            app_id=self.settings.github_app_id,
        )

    async def _begin(self) -> None:
        try:
            await self._begin_on_record()
        except (sa.exc.DBAPIError, OSError) as error:
            is_given = self.settings.database_url is not None
            if fault := database_fault(error, is_given=is_given):
                raise InvalidSettings(fault) from error
            raise

    async def _begin_on_record(self) -> None:
        try:
            await migrate(self.database_url)
        except UnfitDatabase as refusal:
            raise InvalidSettings(SettingFault("DATABASE_URL", str(refusal))) from refusal
        await self._settle_signing_key()
        try:
            await self.heartbeat.begin()
        except NameTaken as taken:
            raise InvalidSettings(
                SettingFault(
                    "PLAYBOOKS_REPLICA",
                    f"another process is alive under the name {taken}.",
                    "Stop it, or give each process a name of its own.",
                )
            ) from taken
        except AnotherApp as sibling:
            raise InvalidSettings(another_app(str(sibling))) from sibling
        self.listening_since = await self.memory.listening_since()
        await self.served.recall()
        await self.introduction.begin()
        await self.engine.launch()

    async def _ask_for_missed(self) -> None:
        await self.introduction.known.wait()
        if (us := self.introduction.us) is not None:
            counted = await self._count_installations()
            log.info("GitHub knows the App", app=us.slug, installations=counted)
            await self._missed(us).run()

    async def _count_installations(self) -> int | None:
        try:
            return len([each async for each in self.github.installations.list()])
        except Exception as error:
            log.warning("the installations are not known yet", why=str(error))
            return None

    async def _settle_signing_key(self) -> None:
        settings, given = self.settings, self.settings.playbooks_signing_key
        file = settings.playbooks_data / FILE
        try:
            async with self.records.begin() as conn:
                alive = await living(conn, await time_there(conn, self.clock()))
                key = await settle_key(
                    conn,
                    given=given.get_secret_value() if given else None,
                    file=file,
                    siblings=alive.keys() - {settings.replica},
                    at=self.clock(),
                )
        except (SigningKeyRefused, ValueError) as refusal:
            is_file = isinstance(refusal, KeyFileDamaged)
            name = "PLAYBOOKS_DATA" if is_file else "PLAYBOOKS_SIGNING_KEY"
            fault = SettingFault(name, str(refusal))
            raise InvalidSettings(fault) from refusal
        await asyncio.to_thread(keep_files, file, key, is_given=given is not None)
        keep_secret([private_pem(key).decode()])
        self.signing_key.settle(key)

    async def stop(self) -> None:
        """Stop; what is under way resumes at the next start."""
        log.info("stopping", replica=self.settings.replica)
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.strangers.close()
        await self.served.close()
        await self.cockpit.close()
        if self._entrance is not None:
            await self._entrance.close()
        await self.engine.close()
        await self.pool.close()
        await self.heartbeat.leave()
        await self.meter.close()
        await self.github.close()
        if self.prometheus is not None:
            await self.prometheus.close()
        await self.records.dispose()
        log.info("stopped", replica=self.settings.replica)

    # --- parts that need each other ---

    def _watch_traffic(self) -> None:
        self.evaluations = Evaluations(self.records)
        self.prometheus = _prometheus(self.settings)
        self.scraper = Scraper(
            self.records,
            None if self.prometheus is None else self.prometheus.query,
            clock=self.clock,
            heard=lambda attempt: self.guard.heard(attempt),
        )
        self.guard = CircuitBreaker(
            self.records,
            self.evaluations,
            wake=self._hint,
            clock=self.clock,
            fault=self.scraper.fault,
        )
        self.observing = Ingest(self.records, clock=self.clock, heard=self.guard.heard)

    def _keep_repositories(self) -> None:
        self.specs = SpecReports(
            self.github,
            web_url=self.github.addresses.web,
            clock=self.clock,
            served=self.watch.due,
            make_way=self.right_of_way.give,
        )
        self.flag_keeper = FlagSync(
            self.github,
            self.records,
            self.record_store,
            config=self._config_in_force,
            served=self.watch.due,
            clock=self.clock,
        )
        self.records_keeper = RecordsBranch(self.github, self.record_store, served=self.watch.due)
        self.overruns = Overruns(self.records, self.alerts.take, self.clock)
        self.gate_reporter = GateReporter(
            github=self.github,
            records=self.records,
            config=self.config,
            resumer=SelfWorkResumer(self.records, self.clock),
            look_at_budgets=self._look_at_budgets,
            served=self.watch.due,
            clock=self.clock,
            config_watch=ConfigWatch(
                self.records,
                self.config,
                clock=self.clock,
                no_counters=self.scraper.hindrance,
                make_way=self.right_of_way.give,
            ),
            make_way=self.right_of_way.give,
        )
        self.hinting = RunHints(
            self.read_only,
            specs=self.specs,
            gate_reporter=self.gate_reporter,
            flag_keeper=self.flag_keeper,
            records_keeper=self.records_keeper,
            hint=self._hint,
            serves=self.served.serves,
            is_known=self.served.is_known,
            heard=self.watch.heard,
        )

    def _reception(self) -> CommandHandler:
        safety = (self.github, self.records, self.config, self.settings.playbooks_founders)
        return CommandHandler(
            github=self.github,
            context=ContextReader(self.read_only, self.engine),
            playbooks=self.playbooks.by_request(),
            judge=self.playbooks.judge,
            wake=self.engine.wake,
            admission_reader=self.admission_reader,
            holding=PauseCommands(*safety),
            approving=ApproveCommands(*safety),
            config_approving=ConfigApprovals(*safety, no_counters=self.scraper.hindrance),
            closing=IssueClosings(self.read_only, self.signing_key, self.record_store),
            writing=self.writing,
        )

    def _webhooks(self) -> Webhooks:
        return Webhooks(
            secrets=[each.get_secret_value() for each in self.settings.github_webhook_secret],
            us=lambda: self.introduction.us,
            inbox=self.inbox,
            wake=self.hinting.pass_on,
            clock=self.clock,
            registry=self.registry,
            turns_away=self.strangers.turns_away,
            at_github=self.github.now,
        )

    def _missed(self, us: OurApp) -> CatchUp:
        return CatchUp(
            github=self.github,
            us=us,
            inbox=self.inbox,
            records=self.records,
            served=self.served.readable,
            clock=self.clock,
            rng=random.Random(),  # noqa: S311 - an order, not a secret
            watch=self.watch,
            stir=self.hinting.moved,
            cannot_keep=self.readiness.hindrance,
            listening_since=self.listening_since,
            every=self._look_for_missed,
        )

    def _api(self) -> Api:
        self.workflow_tokens = WorkflowTokens(
            issuer=self.settings.github_oidc_issuer or issuer_of(self.github.addresses.web),
            audience=self.settings.public_url if self.settings.playbooks_url else None,
            repositories=self.served,
            policy_of=self._workflow_policy,
            clock=self.clock,
        )
        callers = Callers(
            KnownTokens(self._tokens, self.records), self.served, self.workflow_tokens
        )
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
            may_begin=self.accepting.may_begin,
            accept=self.accepting.accept,
            ready=self.readiness.parts,
            warnings=lambda: self.served.unreadable,
            clock=self.clock,
            new_id=lambda: str(ULID()).lower(),
            registry=self.registry,
            measure=self.measured.look,
            public_url=self.settings.public_url,
            version=version("incident-playbooks"),
            more=(
                *FlagRoutes(
                    callers, NewestAllocations(self.records).servings, self._self_work
                ).endpoints,
                *safety.endpoints(),
                *ObservationRoutes(callers, self.observing.put).endpoints,
                *AlertRoutes(callers, self.alerts.take, self.clock, self._alert_mappings).endpoints,
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
                anchors=self._at_once(AnchorsInGit(self.github).read),
                config_of=self._at_once(self._config_in_force),
                founders_of=self._at_once(
                    founders_from(self.github, self.config, settings.playbooks_founders)
                ),
                signing_key=self.signing_key,
                web_url=self.github.addresses.web,
                url=lambda: settings.url_at(self.port),
                prefix=prefix_of(settings.public_url),
                clock=self.clock,
            )
        )

    # --- what the parts call ---

    def _at_once(
        self, ask: Callable[P, Awaitable[T]], seconds: float = PAGE_S
    ) -> Callable[P, Awaitable[T]]:
        """The same for pages: nobody waits for a GitHub that does not answer, or for its limits."""

        async def asked(*given: P.args, **named: P.kwargs) -> T:
            if self.github.is_silent:
                raise Unavailable("GitHub does not answer")
            try:
                async with asyncio.timeout(seconds):
                    return await ask(*given, **named)
            except TimeoutError as late:
                raise Unavailable("GitHub does not answer soon enough") from late

        return asked

    async def _config_in_force(self, repository: Repository) -> Config:
        return (await self.config.of(repository)).config

    async def _drop_mirrors(self) -> None:
        async with self.read_only.connect() as conn:
            busy = {run.repository_id for run in await runs.list_live(conn)}
        served = {each.id for each in await self.served.served()}
        await self.mirrors.drop_unserved(served | busy, self.clock())

    async def _workflow_policy(self, repository: Repository) -> WorkflowPolicy:
        try:
            async with asyncio.timeout(PAGE_S):
                about = await self.github.repository(repository, playbook="api").about()
                config = await self._config_in_force(repository)
        except (Passing, GitHubError, TimeoutError) as fault:
            why = str(fault) or "it does not answer soon enough"
            raise put_off(f"GitHub does not tell of {repository.full_name}: {why}") from fault
        return WorkflowPolicy(about.default_branch, config.callers.workflows)

    async def _look_at_budgets(self, repository: Repository, config: Config) -> None:
        self.meter.limit(repository.id, config.caps)
        await self.overruns.look(repository, config)

    async def _self_work(self, repository: Repository) -> AgentFlags:
        async with self.read_only.connect() as conn:
            pause = await pauses.in_force(conn, repository.id, SELF_WORK)
            approved = await sensitive_config.in_force(conn, repository.id)
        # How long a pause lasts is protected, so what counts of it is known without GitHub.
        return told(pause, with_sections(Config(), counting_sections(approved)).self_work)

    async def _about(self, trigger: Trigger) -> dict[str, Any]:
        """The ids that every line of a Run carries, in whatever life of whichever replica."""
        delivery = None
        # Where the database is away, a line less is known of it.
        with suppress(Exception):
            delivery = await self.inbox.delivery_of(trigger.key)
        return {
            "playbook": trigger.request.command,
            "delivery": delivery,
            "trigger": trigger.key,
            "repository": trigger.repository.full_name,
            "repository_id": trigger.repository.id,
        }

    async def _start(self, trigger: Trigger, *, must_know: bool = False) -> bool:
        """Begin what is asked for, unless it is somebody without rights who asks; whether it is."""
        if await self.served.serves(trigger.repository) and await self.strangers.heard(
            trigger, must_know=must_know
        ):
            return True
        await self._start_run(trigger)
        return False

    async def _start_run(self, trigger: Trigger) -> None:
        if not await self.served.serves(trigger.repository):
            name = trigger.repository.full_name
            log.debug("nothing is done where the App is not installed", repository=name)
            return
        self.served.heard(trigger.repository)
        self.watch.heard(trigger.repository)
        await self.engine.start(RUN, derived_id(trigger.key, trigger.received_at), trigger)

    async def _stranded(self, run: str, given: Any, fate: Stuck) -> None:
        try:
            trigger = Trigger.model_validate(given)
        except ValidationError:
            log.exception("a run that cannot go on was asked for in terms nobody knows", run=run)
            return
        given_up = fate == "given up"
        stranded = StrandedRun(
            run=run,
            trigger=trigger,
            fate="parked" if fate == "parked" else "over",
            given_up=given_up,
        )
        await self.engine.start(SETTLE, stranded.id, stranded)

    async def _hint(self, run: str) -> None:
        await self.engine.wake(run, Signal(kind=SignalKind.HINT))


def _prometheus(settings: Settings) -> Prometheus | None:
    if settings.prometheus_url is None:
        return None
    token = settings.prometheus_token
    return Prometheus(settings.prometheus_url, None if token is None else token.get_secret_value())


def _exit_at_once() -> None:
    # Siblings may soon do what this process is doing: not one more step, not even a clean stop.
    log.error("the heartbeat could not be renewed in time: this process ends itself")
    os._exit(70)
