"""Who acts through what: playbooks and requests get their parts.

May this be asked for now? Answered before a Run begins, for programs that wait for the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import LazyModule
from bot.commands.handler import Playbooks
from bot.config import Config
from bot.git.mirror import Mirror
from bot.github.client import GitHub, RepositoryClient
from bot.intake.api.incidents import Accepted, DeclinedRequest
from bot.intake.inbox import Inbox
from bot.pictures.addresses import PictureAddresses
from bot.playbooks.autorevert.decide import Purpose
from bot.playbooks.autorevert.ports import PauseSelfWork
from bot.playbooks.incident.context import first_place
from bot.playbooks.plan import CannotPlan, Weigh
from bot.playbooks.rollout.capability import UnknownName, policy_in_force
from bot.playbooks.run import Ending, Patience, Run, Signal
from bot.records import runs
from bot.records.branch_record import RecordStore
from bot.safety.admission import Refused, admit
from bot.safety.admission_facts import limits_of
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import founders_of, is_founder
from bot.safety.self_work import hold_self_work
from bot.safety.severity import severity_of_check
from bot.traffic.evaluation import Evaluations
from bot.trials.pool import TrialPool
from bot.triggers import (
    ActorKind,
    BisectRequest,
    JudgeRequest,
    RampRequest,
    Repository,
    RevertRequest,
    RollbackRequest,
    Severity,
    ShadowRequest,
    TriageRequest,
    Trigger,
    derived_id,
)
from bot.wiring.background import Mirrors

if TYPE_CHECKING:
    from bot.playbooks.alerts import playbook as alerts
    from bot.playbooks.autorevert import playbook as autorevert
    from bot.playbooks.bisect import playbook as bisect
    from bot.playbooks.ramp import plan as ramps
    from bot.playbooks.ramp import playbook as ramp
    from bot.playbooks.revert import playbook as revert
    from bot.playbooks.rollback import messages as rollbacks
    from bot.playbooks.rollback import playbook as rollback
    from bot.playbooks.rollback import traffic_back
    from bot.playbooks.shadow import plan as shadows
    from bot.playbooks.shadow import playbook as shadow
else:
    # A playbook is loaded by its first Run: a server at rest has none.
    alerts = LazyModule("bot.playbooks.alerts.playbook")
    autorevert = LazyModule("bot.playbooks.autorevert.playbook")
    bisect = LazyModule("bot.playbooks.bisect.playbook")
    ramp = LazyModule("bot.playbooks.ramp.playbook")
    revert = LazyModule("bot.playbooks.revert.playbook")
    rollback = LazyModule("bot.playbooks.rollback.playbook")
    shadow = LazyModule("bot.playbooks.shadow.playbook")
    ramps = LazyModule("bot.playbooks.ramp.plan")
    rollbacks = LazyModule("bot.playbooks.rollback.messages")
    traffic_back = LazyModule("bot.playbooks.rollback.traffic_back")
    shadows = LazyModule("bot.playbooks.shadow.plan")

ASKED = (ShadowRequest, RampRequest, RollbackRequest)
"""The requests that can be answered before they begin."""


async def make_sure(
    conn: AsyncConnection, trigger: Trigger, config: Config, *, no_counters: str | None
) -> None:
    """Make sure that a Run for this Trigger could begin; one that has begun is not asked again.

    `no_counters`: why Prometheus cannot be asked; None: it can.

    Raises:
        CannotPlan: it would be declined.
    """
    if await runs.find_by_trigger(conn, trigger.key) is not None:
        return
    repository_id, request = trigger.repository.id, trigger.request
    match request:
        case ShadowRequest():
            known_shadow = await shadows.know_shadow(conn, repository_id, request)
            shadows.may_begin(request, known_shadow, config)
        case RampRequest():
            known = await ramps.know_ramp(
                conn, repository_id, request.capability, trigger.source.subject
            )
            if known.live is not None:
                ramps.onward(request, known.live, known.issue)
            else:
                ramps.may_begin(request, known, config, no_counters=no_counters)
        case RollbackRequest(capability=capability):
            if await traffic_back.what_would_go_back(conn, repository_id, capability):
                return
            # That a capability is not known is said first.
            policy_in_force(config, capability, None)
            promoted = await traffic_back.standing_promotion(conn, repository_id, capability)
            raise rollbacks.nothing_to_take_back(capability, promoted)
        case _:
            return


STARTED_S = 0.3
"""How long whoever asks over HTTP waits for the start of their Run."""


@dataclass(frozen=True)
class RequestWiring:
    """Starts Runs for callers who want to know which.

    Attributes:
        start: starts the Run of a Trigger; started twice it is the same one.
        records: the database, which is only read.
        config: the configuration in force.
        mirrors: the configuration as it was fetched last, for where reports will be.
        no_counters: tells why Prometheus cannot be asked; None: it can.
        clock: tells the time (UTC).
    """

    start: Callable[[Trigger], Awaitable[None]]
    records: AsyncEngine
    config: ConfigInForce
    mirrors: Mirrors
    no_counters: Callable[[], str | None]
    clock: Callable[[], datetime]

    async def begin(self, trigger: Trigger) -> str:
        """Start the Run of a Trigger that is in the inbox, and give its id.

        Where much is asked for at once that takes a while. Nobody waits for it: the dispatcher
        starts whatever is in the inbox.
        """
        starting = asyncio.ensure_future(self.start(trigger))
        done, _ = await asyncio.wait([starting], timeout=STARTED_S)
        if done:
            starting.result()
        else:
            starting.add_done_callback(lambda late: late.cancelled() or late.exception())
        return derived_id(trigger.key, trigger.received_at)

    async def accept(self, trigger: Trigger) -> Accepted:
        """Start the Run of a Trigger and say where its report will be."""
        config = await self._known_config(trigger)
        run = await self.begin(trigger)
        place = first_place(trigger.request, run, config.artifacts.root)
        return Accepted(run=run, incident=run, artifact_path=place.path, ref=place.ref)

    async def may_begin(self, trigger: Trigger) -> None:
        """Look whether its Run could begin as things stand, as far as that can be told at once.

        Raises:
            DeclinedRequest: it could not.
        """
        if isinstance(trigger.request, ASKED):
            await self._make_sure(trigger)
        await self._within_limits(trigger, await self._known_config(trigger))

    async def _known_config(self, trigger: Trigger) -> Config:
        config = self.config.read_last(trigger.repository.id)
        if config is not None:
            return config
        known = await self.mirrors.known_config(trigger.repository)
        return await self.config.settled(trigger.repository.id, known)

    async def _within_limits(self, trigger: Trigger, config: Config) -> None:
        """Say at once what would refuse the Run, without asking GitHub: it may be away.

        Raises:
            DeclinedRequest: a cap or a budget is used up, or what is asked for is paused.
        """
        async with self.records.connect() as conn:
            if await runs.find_by_trigger(conn, trigger.key) is not None:
                return
            decision = admit(await limits_of(conn, trigger, config, self.clock()))
        if trigger.actor.kind is ActorKind.MACHINE and isinstance(decision, Refused):
            raise DeclinedRequest(f"{decision.reason} {decision.remedy}")

    async def _make_sure(self, trigger: Trigger) -> None:
        found = await self.config.soon(trigger.repository)
        if found is None:
            # The Run will say so.
            return
        async with self.records.connect() as conn:
            try:
                await make_sure(conn, trigger, found.config, no_counters=self.no_counters())
            except UnknownName as unknown:
                raise DeclinedRequest(
                    f"{unknown.reason} {unknown.remedy}", unknown.field
                ) from unknown
            except CannotPlan as stop:
                raise DeclinedRequest(f"{stop.reason} {stop.remedy}") from stop


ANNOUNCED_AT_ONCE = 6
"""Incidents about alerts that are announced at the same time."""


@dataclass(frozen=True)
class PlaybookResources:
    """What playbooks act through, bound to one repository.

    Each sees of it what the Protocols in its `ports.py` say, which also say what each part is for.
    """

    github: RepositoryClient
    mirror: Mirror
    signing_key: Ed25519PrivateKey
    store: RecordStore
    web_url: str
    """The repository's page on GitHub."""
    patience: Patience
    put: Callable[[Trigger], Awaitable[object]]
    settled: Callable[[Config], Awaitable[Config]]
    pool: TrialPool
    pictures: PictureAddresses
    cockpit_url: str | None
    records: AsyncEngine
    evaluations: Evaluations
    ask: Callable[[Trigger], Awaitable[None]]
    wake: Callable[[str, Signal, str], Awaitable[None]]
    is_founder: Callable[[str], Awaitable[bool]]
    clock: Callable[[], datetime]
    no_counters: Callable[[], str | None]
    severity: Callable[[Purpose], Severity]
    hold: PauseSelfWork
    recording: asyncio.Lock
    turns: asyncio.Semaphore

    def page_of(self, incident: str) -> str | None:
        """The address of an incident's page in the cockpit; None where that is not known."""
        return None if self.cockpit_url is None else f"{self.cockpit_url}/ui/incidents/{incident}"


@dataclass(frozen=True)
class PlaybookWiring:
    """Hands each playbook its parts, bound to the repository it plays on."""

    github: GitHub
    mirrors: Mirrors
    records: AsyncEngine
    """For reading."""
    inbox: Inbox
    config: ConfigInForce
    evaluations: Evaluations
    pool: TrialPool
    pictures: PictureAddresses
    cockpit_url: str | None
    """Where people reach the cockpit, where that was configured."""
    signing_key: Ed25519PrivateKey
    store: RecordStore
    patience: Patience
    founders: Sequence[str]
    wake: Callable[[str, Signal, str], Awaitable[None]]
    clock: Callable[[], datetime]
    no_counters: Callable[[], str | None]

    _recording: dict[int, asyncio.Lock] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ANNOUNCED_AT_ONCE))

    def by_request(self) -> Playbooks:
        """Say what carries out which request."""
        return {
            RevertRequest: self._revert,
            BisectRequest: self._bisect,
            ShadowRequest: self._shadow,
            RampRequest: self._ramp,
            RollbackRequest: self._rollback,
            TriageRequest: self._triage,
        }

    async def judge(self, run: Run, trigger: Trigger, request: JudgeRequest) -> None:
        """Judge a failing check of the default branch."""
        await autorevert.autorevert(run, trigger, request, self._parts(trigger.repository, "judge"))

    async def _revert(
        self, run: Run, trigger: Trigger, request: RevertRequest, weigh: Weigh
    ) -> Ending:
        parts = self._parts(trigger.repository, "revert")
        return await revert.revert(run, trigger, request, parts, weigh)

    async def _bisect(self, run: Run, trigger: Trigger, request: BisectRequest, _: Weigh) -> Ending:
        return await bisect.bisect(run, trigger, request, self._parts(trigger.repository, "bisect"))

    async def _triage(self, run: Run, trigger: Trigger, request: TriageRequest, _: Weigh) -> Ending:
        parts = self._parts(trigger.repository, "triage")
        return await alerts.follow_alerts(run, trigger, request, parts)

    async def _shadow(self, run: Run, trigger: Trigger, request: ShadowRequest, _: Weigh) -> Ending:
        parts = self._parts(trigger.repository, "rollout")
        return await shadow.shadow(run, trigger, request, parts)

    async def _ramp(self, run: Run, trigger: Trigger, request: RampRequest, _: Weigh) -> Ending:
        return await ramp.ramp(run, trigger, request, self._parts(trigger.repository, "rollout"))

    async def _rollback(
        self, run: Run, trigger: Trigger, request: RollbackRequest, _: Weigh
    ) -> Ending:
        parts = self._parts(trigger.repository, "rollout")
        return await rollback.rollback(run, trigger, request, parts)

    async def _ask(self, trigger: Trigger) -> None:
        # A step cannot start a Run; what is in the inbox is started, whatever happens to us.
        await self.inbox.put(trigger)

    def _parts(self, repository: Repository, playbook: str) -> PlaybookResources:
        github = self.github.repository(repository, playbook=playbook)

        async def is_a_founder(login: str) -> bool:
            config = (await self.config.of(repository)).config
            return is_founder(login, await founders_of(github, config, self.founders))

        return PlaybookResources(
            github=github,
            mirror=self.mirrors.of(repository),
            signing_key=self.signing_key,
            store=self.store,
            web_url=f"{self.github.addresses.web}/{repository.full_name}",
            patience=self.patience,
            put=self.inbox.put,
            pool=self.pool,
            pictures=self.pictures,
            cockpit_url=self.cockpit_url,
            settled=partial(self.config.settled, repository.id),
            records=self.records,
            evaluations=self.evaluations,
            ask=self._ask,
            wake=self.wake,
            is_founder=is_a_founder,
            clock=self.clock,
            no_counters=self.no_counters,
            severity=severity_of_check,
            hold=hold_self_work,
            recording=self._recording.setdefault(repository.id, asyncio.Lock()),
            turns=self._turns,
        )
