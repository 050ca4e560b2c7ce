"""Which playbook carries out which request, and the parts it acts through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.client import GitHub
from bot.intake.answering.playing import Playbooks
from bot.intake.inbox import Inbox
from bot.pictures.address import PictureAddresses
from bot.playbooks.bisect.playbook import bisect
from bot.playbooks.candidate.capability import RolloutResources
from bot.playbooks.judge.playbook import AutorevertResources, autorevert
from bot.playbooks.parts import Patience, Resources
from bot.playbooks.planning.weighing import Weigh
from bot.playbooks.ramp.playbook import ramp
from bot.playbooks.revert.playbook import revert
from bot.playbooks.rollback.playbook import rollback
from bot.playbooks.run import Ending, Run, Signal
from bot.playbooks.shadow.playbook import shadow
from bot.playbooks.triage.playbook import follow_alerts
from bot.playbooks.triage.work import AlertResources
from bot.records.recovery.record_store import RecordStore
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import founders_of, is_founder
from bot.safety.holding import hold_self_work
from bot.safety.severity import severity_of_check
from bot.traffic.evaluation import Evaluations
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
)
from bot.wiring.mirrors import Mirrors

ANNOUNCED_AT_ONCE = 6
"""Incidents about alerts that are announced at the same time."""


@dataclass(frozen=True)
class PlaybookWiring:
    """Hands each playbook its parts, bound to the repository it plays on."""

    github: GitHub
    mirrors: Mirrors
    records: AsyncEngine
    """For reading."""
    inbox: Inbox
    config: ConfigInForce
    courses: Evaluations
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
        parts = AutorevertResources(
            parts=self._parts(trigger.repository, "judge"),
            put=self.inbox.put,
            severity=severity_of_check,
            hold=hold_self_work,
        )
        await autorevert(run, trigger, request, parts)

    async def _revert(
        self, run: Run, trigger: Trigger, request: RevertRequest, weigh: Weigh
    ) -> Ending:
        parts = self._parts(trigger.repository, "revert")
        return await revert(run, trigger, request, parts, weigh)

    async def _bisect(self, run: Run, trigger: Trigger, request: BisectRequest, _: Weigh) -> Ending:
        return await bisect(run, trigger, request, self._parts(trigger.repository, "bisect"))

    async def _triage(self, run: Run, trigger: Trigger, request: TriageRequest, _: Weigh) -> Ending:
        parts = AlertResources(
            parts=self._parts(trigger.repository, "triage"),
            put=self.inbox.put,
            hold=hold_self_work,
            recording=self._recording.setdefault(trigger.repository.id, asyncio.Lock()),
            turns=self._turns,
            records=self.records,
        )
        return await follow_alerts(run, trigger, request, parts)

    async def _shadow(self, run: Run, trigger: Trigger, request: ShadowRequest, _: Weigh) -> Ending:
        return await shadow(run, trigger, request, self._candidate_parts(trigger.repository))

    async def _ramp(self, run: Run, trigger: Trigger, request: RampRequest, _: Weigh) -> Ending:
        return await ramp(run, trigger, request, self._candidate_parts(trigger.repository))

    async def _rollback(
        self, run: Run, trigger: Trigger, request: RollbackRequest, _: Weigh
    ) -> Ending:
        return await rollback(run, trigger, request, self._candidate_parts(trigger.repository))

    def _candidate_parts(self, repository: Repository) -> RolloutResources:
        parts = self._parts(repository, "rollout")

        async def founder(login: str) -> bool:
            config = (await self.config.of(repository)).config
            named = await founders_of(parts.github, config, self.founders)
            return is_founder(login, named)

        return RolloutResources(
            **vars(parts),
            records=self.records,
            courses=self.courses,
            ask=self._ask,
            wake=self.wake,
            is_founder=founder,
            clock=self.clock,
            no_counters=self.no_counters,
        )

    async def _ask(self, trigger: Trigger) -> None:
        # A step cannot start a Run; what is in the inbox is started, whatever happens to us.
        await self.inbox.put(trigger)

    def _parts(self, repository: Repository, playbook: str) -> Resources:
        return Resources(
            github=self.github.repository(repository, playbook=playbook),
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
        )
