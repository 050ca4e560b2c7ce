"""What an admission rests on, read just now: role, configuration, pauses, caps and labels.

What somebody means who says `/revert` on a hotfix or on the issue of an incident.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

from cachetools import TTLCache
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.config import Config, SelfWork
from bot.github.client import GitHub, RepositoryClient
from bot.names import typed_numeric
from bot.playbooks.plan import is_opted_out
from bot.playbooks.steps import planned, worst
from bot.records import budgets, incidents, pauses, runs
from bot.records.budgets import Budget, BudgetState
from bot.records.database import reading
from bot.records.incidents import Incident
from bot.safety.admission import (
    AdmissionFacts,
    HoldingPause,
    Initiative,
    initiative_of,
)
from bot.safety.budgets import DRAWN, caps, every_budget, said
from bot.safety.config_in_force import ConfigInForce
from bot.safety.founders import founders_of
from bot.safety.self_workers import Lifting, judge_lifting, marked_in, read_held
from bot.slash_commands import ADVANCING, PLAYBOOKS
from bot.triggers import (
    SELF_WORK,
    ActorKind,
    Autonomy,
    BisectRequest,
    CancelRequest,
    CloseRequest,
    CommitTarget,
    PullRequestTarget,
    RampRequest,
    RejectRequest,
    Request,
    RevertRequest,
    Role,
    RollbackRequest,
    Severity,
    SeverityRequest,
    ShadowRequest,
    Target,
    Trigger,
)

_RECENT = 500


async def our_incidents(
    conn: AsyncConnection, repository_id: int, request: RevertRequest
) -> dict[int, Incident]:
    """Read the newest incident for each number in a request that is its issue or hotfix."""
    named = {each.number for each in request.targets if isinstance(each, PullRequestTarget)}
    if not named:
        return {}
    recent = await incidents.list_recent(conn, repository_id, limit=_RECENT)
    found: dict[int, Incident] = {}
    for number in named:
        here = [each for each in recent if each.issue == number or number in each.prs]
        if not here:
            continue
        cause = _cause(here[0], recent)
        if cause.kind == "revert" or any(
            run.is_live for run in await runs.of_incident(conn, cause.id)
        ):
            found[number] = cause
    return found


async def meant(
    client: RepositoryClient, request: RevertRequest, ours: dict[int, Incident]
) -> tuple[str | None, tuple[Target, ...]]:
    """Say what a request means where it names what is ours: the incident it joins, or its targets.

    Args:
        client: the repository.
        request: what was asked for.
        ours: the incidents that it names by their issue or hotfix.

    Raises:
        GitHubError: GitHub could not be read.
    """
    targets: list[Target] = []
    for target in request.targets:
        number = target.number if isinstance(target, PullRequestTarget) else None
        incident = None if number is None else ours.get(number)
        if number is None or incident is None or await _is_merged(client, incident, number):
            targets.append(target)
        elif incident.kind == "revert":
            targets += _subjects(incident)
        elif incident.kind == "bisect" and incident.is_open and len(request.targets) == 1:
            return incident.id, ()
        else:
            targets.append(target)
    changed = tuple(dict.fromkeys(targets))
    return None, changed if changed != request.targets else ()


def _cause(incident: Incident, recent: list[Incident]) -> Incident:
    """The incident of the revert that an alert's led to, else itself."""
    if incident.kind in ("revert", "bisect") or not incident.group_key:
        return incident
    same = [each for each in recent if each.group_key == incident.group_key]
    return next((each for each in same if each.kind in ("revert", "bisect")), incident)


async def _is_merged(client: RepositoryClient, incident: Incident, number: int) -> bool:
    if number not in incident.prs:
        return False
    pull = await client.pulls.find(number)
    return pull is not None and pull.is_merged


def _subjects(incident: Incident) -> list[Target]:
    found: list[Target] = []
    for subject in incident.subject.split("+"):
        kind, _, name = subject.partition(":")
        if kind == "pull_request":
            found.append(PullRequestTarget(number=int(name)))
        else:
            found.append(CommitTarget(sha=name))
    return found


_NO_RIGHTS_S = 10.0
"""For how long somebody without rights is not asked about again: a flood costs GitHub nothing."""
_ONE_COMMENT_S = 60.0
"""For how long a role that was read holds, for what else was said in the same breath."""


class AdmissionReader:
    """Reads the Facts of any Trigger."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        config: ConfigInForce,
        clock: Callable[[], datetime],
        founders: Sequence[str] = (),
    ) -> None:
        """Read from these; `founders` are those of the process settings."""
        self._founders = founders
        self._github = github
        self._records = records
        self._config = config
        self._clock = clock
        self._roles: TTLCache[str, asyncio.Task[Role]] = TTLCache(1000, ttl=_ONE_COMMENT_S)
        self._without_rights: TTLCache[tuple[int, str], Role] = TTLCache(1000, ttl=_NO_RIGHTS_S)

    async def role_of(self, trigger: Trigger, *, as_stranger: bool = False) -> Role:
        """Read what the person may do; once for all commands of a comment, and in no cap.

        Args:
            trigger: what they asked for.
            as_stranger: they most likely have no rights: once for all that they say, and not from
                the requests that are kept for recovery.

        Raises:
            GitHubError: GitHub could not be read.
        """
        source, login = trigger.source, trigger.actor.login
        said = "talk" if as_stranger else f"{source.kind}:{source.object_id}"
        asked = f"{trigger.repository.id}:{said}:{login}"
        stranger = (trigger.repository.id, login)
        if (known := self._without_rights.get(stranger)) is not None:
            return known
        reading_it = self._roles.get(asked)
        if reading_it is None:
            client = self._github.repository(
                trigger.repository,
                playbook=trigger.request.command,
                recovery=False if as_stranger else None,
                metered=False,
            )
            reading_it = asyncio.create_task(client.permissions.role_of(login))
            # Whoever waits may have given up before it fails: then nobody else asks why.
            reading_it.add_done_callback(lambda read: read.cancelled() or read.exception())
            self._roles[asked] = reading_it
        try:
            role = await asyncio.shield(reading_it)
        except BaseException:
            if reading_it.done():
                self._roles.pop(asked, None)
            raise
        if not role.at_least(Role.WRITE):
            self._without_rights[stranger] = role
        return role

    def is_without_rights(self, repository_id: int, login: str) -> bool:
        """Tell whether somebody was seen a moment ago to have no write access."""
        return (repository_id, login) in self._without_rights

    async def of_stranger(self, trigger: Trigger, role: Role) -> AdmissionFacts:
        """Give what the answer to somebody without write access rests on; nothing is read for it.

        Raises:
            GitHubError: the configuration is not known, and could not be read.
        """
        commands = (await self._config.of(trigger.repository)).config.commands
        command = trigger.request.command
        return AdmissionFacts(
            command=command,
            initiative=Initiative.PERSON,
            role=role,
            needed=commands.needed(command),
            prefix_only=commands.prefix_only,
            targets=_targets(trigger.request),
        )

    async def _easing(
        self, client: RepositoryClient, trigger: Trigger, config: Config, role: Role
    ) -> Lifting | None:
        """Judge whether somebody may ease a pause; None where there is none, or nothing eases it.

        No bot may: a program can speak for whoever is held.

        Raises:
            GitHubError: GitHub could not be read.
        """
        here, is_bot = trigger.repository.id, trigger.actor.kind is ActorKind.BOT
        if not _eases(trigger.request) or not (is_bot or role.at_least(Role.WRITE)):
            return None
        async with reading(self._records).connect() as conn:
            if await pauses.in_force(conn, here, SELF_WORK) is None:
                return None
        if is_bot:
            return Lifting(has_right=False)
        held = await read_held(client, config, marked_in(self._records, here), trigger.received_at)
        founders = await founders_of(client, config, self._founders)
        return await judge_lifting(
            client, held, trigger.actor.login, needed=Role.WRITE, founders=founders
        )

    async def prefix_only(self, trigger: Trigger) -> bool:
        """Whether comments count only where they name us.

        Raises:
            GitHubError: GitHub could not be read.
        """
        return (await self._config.of(trigger.repository)).config.commands.prefix_only

    async def needed(self, trigger: Trigger, command: str) -> Role:
        """Read the weakest role that the repository's configuration asks for to say a command.

        Raises:
            GitHubError: GitHub could not be read.
        """
        config = (await self._config.of(trigger.repository)).config
        return config.commands.needed(command) or Role.NONE

    async def of(self, trigger: Trigger) -> AdmissionFacts:
        """Read what an admission rests on.

        Raises:
            GitHubError: GitHub could not be read.
        """
        request, command = trigger.request, trigger.request.command
        client = self._github.repository(trigger.repository, playbook=command)
        initiative = initiative_of(trigger)
        role = Role.NONE
        if initiative is Initiative.PERSON:
            role = await self.role_of(trigger)
        facts = AdmissionFacts(
            command=command,
            initiative=initiative,
            role=role,
            reversibility=worst(planned(command)),
            targets=_targets(request),
        )
        config = (await self._config.of(trigger.repository)).config
        facts = facts.model_copy(
            update={
                "needed": config.commands.needed(command),
                "prefix_only": config.commands.prefix_only,
            }
        )
        if command not in PLAYBOOKS:
            easing = await self._easing(client, trigger, config, role)
            return facts if easing is None else facts.model_copy(update={"easing": easing})
        if isinstance(request, RevertRequest) and initiative is not Initiative.AUTOMATIC:
            async with reading(self._records).connect() as conn:
                ours = await our_incidents(conn, trigger.repository.id, request)
            incident, targets = await meant(client, request, ours)
            facts = facts.model_copy(update={"joins": incident, "meant": targets})
        async with reading(self._records).connect() as conn:
            limits = await limits_of(conn, trigger, config, self._clock())
        if initiative is Initiative.PERSON:
            return facts.model_copy(update={"held": limits.held, "draws_on": limits.draws_on})
        is_automatic = initiative is Initiative.AUTOMATIC
        opted_out = is_automatic and await _opted_out(client, request, config.self_work)
        return facts.model_copy(
            update={
                "held": limits.held,
                "draws_on": limits.draws_on,
                "cap": limits.cap,
                "budget": limits.budget,
                "opted_out": opted_out,
                "autonomy": limits.autonomy,
            }
        )


def _eases(request: Request) -> bool:
    """Whether it would bring the end of a pause nearer."""
    if isinstance(request, SeverityRequest):
        return request.severity in (Severity.LOW, Severity.MEDIUM)
    return isinstance(request, CloseRequest | CancelRequest | RejectRequest)


async def limits_of(
    conn: AsyncConnection, trigger: Trigger, config: Config, now: datetime
) -> AdmissionFacts:
    """Read what binds a playbook that no person asked for, as far as the records tell.

    Args:
        conn: the caller's transaction.
        trigger: what is asked for.
        config: the repository's configuration in force.
        now: the time.
    """
    command = trigger.request.command
    known = caps(config.caps)
    drawn = tuple(known[name] for name in DRAWN.get(command, ()))
    return AdmissionFacts(
        command=command,
        initiative=initiative_of(trigger),
        reversibility=worst(planned(command)),
        targets=_targets(trigger.request),
        held=await _held(conn, trigger),
        draws_on=drawn,
        cap=await _cap_reached(conn, trigger, drawn, now),
        budget=await _fullest(conn, trigger, config, now),
        autonomy=_autonomy(trigger.request, config),
    )


async def _held(conn: AsyncConnection, trigger: Trigger) -> HoldingPause | None:
    match trigger.request:
        case ShadowRequest() | RampRequest() | RollbackRequest() as request:
            pause = await pauses.in_force(conn, trigger.repository.id, request.capability)
        case _:
            return None
    if pause is None:
        return None
    return HoldingPause(scope=pause.scope, reason=pause.reason, by=pause.set_by)


async def _cap_reached(
    conn: AsyncConnection, trigger: Trigger, drawn: Sequence[Budget], now: datetime
) -> str | None:
    for cap in drawn:
        balance = await budgets.balance_of(conn, trigger.repository.id, cap, now)
        is_full = balance.used + 1 > cap.limit
        if is_full and not await budgets.is_entered(
            conn, trigger.repository.id, cap.name, trigger.key
        ):
            return said(cap)
    return None


async def _fullest(
    conn: AsyncConnection, trigger: Trigger, config: Config, now: datetime
) -> BudgetState:
    """The fullest of the configured budgets, for what spends on new things.

    A recovery draws on caps only: an overrun is itself a reason to revert.
    """
    if trigger.request.command not in ADVANCING:
        return BudgetState.OK
    configured = [every_budget(config)[name] for name in config.budgets]
    states = [
        (await budgets.balance_of(conn, trigger.repository.id, each, now)).state
        for each in configured
    ]
    return max(states, key=list(BudgetState).index, default=BudgetState.OK)


async def _opted_out(client: RepositoryClient, request: Request, marks: SelfWork) -> bool:
    if not isinstance(request, RevertRequest):
        return False
    for target in request.targets:
        if isinstance(target, PullRequestTarget):
            pull = await client.pulls.find(target.number)
            if pull is not None and await is_opted_out(pull, marks, client):
                return True
    return False


def _autonomy(request: Request, config: Config) -> Autonomy:
    if isinstance(request, RevertRequest) and request.autonomy is not None:
        return request.autonomy.at_most(config.triggers.autonomy)
    return config.triggers.autonomy


def _targets(request: Request) -> tuple[str, ...]:
    """What a playbook is asked for about, as a person writes it after its command."""
    match request:
        case RevertRequest(targets=targets):
            return tuple(
                f"#{each.number}" if isinstance(each, PullRequestTarget) else each.sha
                for each in targets
            )
        case BisectRequest(good=good, bad=bad, check=check, numeric=numeric):
            ends = f"{good or 'GOOD'}..{bad or 'HEAD'}"
            metric = ("numeric", typed_numeric(numeric)) if numeric else ()
            return (ends, *metric, *(("check", check) if check else ()))
        case RollbackRequest(capability=capability):
            return (capability,)
        case _:
            return ()
