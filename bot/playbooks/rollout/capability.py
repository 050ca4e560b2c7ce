"""What shadow, ramp and rollback settle about a capability before they touch anything.

Splits a capability's traffic, and keeps the flag document in step.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.canary.baseline import FrozenBaseline
from bot.canary.counters import CounterSource
from bot.canary.policy import Policy
from bot.config import Config
from bot.github.models import RepositoryFacts
from bot.playbooks.incident import record_files
from bot.playbooks.incident.ports import IncidentGitHub, IncidentStore
from bot.playbooks.incident.record_files import BroughtHome, RecordFile
from bot.playbooks.plan import CannotPlan, read_config
from bot.playbooks.rollout.messages import subject_of, where
from bot.playbooks.rollout.ports import (
    ConfiguredResources,
    allocation,
    incidents,
    ledgers,
    pauses,
    runs,
)
from bot.playbooks.run import Run
from bot.playbooks.steps import Step
from bot.records.incidents import Incident
from bot.records.lifecycle import RunState
from bot.records.pauses import Pause
from bot.traffic.allocation import AttemptOver, CandidatePaused, Decided
from bot.traffic.flagd import Allocation, Split, flag_document, written
from bot.triggers import OURSELVES, Value


class Configured(Value):
    """The repository and its configuration.

    Attributes:
        base: the default branch.
        base_head: its head.
        facts: the repository's settings.
        config: its configuration.
        config_fault: why the newest one was passed over, if it was.
    """

    base: str
    base_head: str
    facts: RepositoryFacts
    config: Config
    config_fault: str | None


class CapabilitySettings(Configured):
    """What the configuration says of a capability.

    Attributes:
        capability: the capability's name.
        policy: by which a candidate is judged; its baseline is who serves now.
        candidate: the provider that is on trial.
    """

    capability: str
    policy: Policy
    candidate: str


class UnknownName(CannotPlan):
    """A name that the configuration does not know. `field`: of the request."""

    def __init__(self, field: str, reason: str, remedy: str) -> None:
        """Say which, why, and what to do."""
        super().__init__(reason, remedy)
        self.field = field


async def read_configured(parts: ConfiguredResources) -> Configured:
    """Read the configuration from the head of the default branch.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    facts = await parts.github.about()
    await parts.mirror.refresh()
    head = await parts.mirror.branch_head(facts.default_branch)
    newest, fault = await parts.mirror.read(lambda git: read_config(git, head))
    # Where flags and reports are committed counts only as a Founder approved it.
    config = await parts.settled(newest)
    return Configured(
        base=facts.default_branch,
        base_head=head,
        facts=facts,
        config=config,
        config_fault=fault,
    )


def policy_in_force(config: Config, capability: str, serving: Allocation | None) -> Policy:
    """The configured policy, with whoever serves now as its baseline.

    Args:
        config: the repository's configuration, as it counts.
        capability: the name that is looked up in it.
        serving: who serves by the records; None: nothing was decided yet, the baseline does.

    Raises:
        UnknownName: the capability is not configured.
    """
    return policy_for(config, capability, None if serving is None else serving.split.baseline)


def policy_for(config: Config, capability: str, active: str | None) -> Policy:
    """The configured policy, with the active provider as its baseline.

    After a promotion the configuration may still name the provider that served before: then that
    one is a candidate, and can be ramped back.

    Args:
        config: the repository's configuration, as it counts.
        capability: the name that is looked up in it.
        active: the provider that serves now; None: the baseline that is configured.

    Raises:
        UnknownName: the capability is not configured.
    """
    known = config.capabilities.get(capability)
    if known is None:
        raise UnknownName("capability", _unknown(capability, config), _add_it(config))
    if active is None or active == known.baseline:
        return known.policy
    others = tuple(each for each in (known.baseline, *known.candidates) if each != active)
    return known.policy.model_copy(update={"baseline": active, "candidates": others})


def known_candidate(policy: Policy, capability: str, candidate: str) -> None:
    """Make sure that a provider may take over.

    Args:
        policy: the capability's; its baseline is who serves now.
        capability: its name, for the sentence that refuses.
        candidate: the provider that is asked for.

    Raises:
        CannotPlan: it serves already, or the configuration does not name it (`UnknownName`).
    """
    if candidate == policy.baseline:
        raise CannotPlan(
            f"{markdown.code(candidate)} serves {markdown.code(capability)} already.", ""
        )
    if candidate not in policy.candidates:
        allowed = ", ".join(map(markdown.code, policy.candidates))
        raise UnknownName(
            "candidate",
            f"{markdown.code(candidate)} is not a candidate for {markdown.code(capability)}. Its "
            f"candidates: {allowed}.",
            "Add it to `candidates` in `.github/playbooks.yml`, then ask again.",
        )


def not_paused(capability: str, pause: Pause | None) -> None:
    """Make sure that candidates may get something.

    Raises:
        CannotPlan: the capability is paused.
    """
    if pause is not None:
        raise CannotPlan(
            f"{markdown.code(capability)} is paused: {markdown.text(pause.reason)}",
            f"Lift the pause first: `/unpause {capability} because …`.",
        )


async def open_rollback(
    conn: AsyncConnection, repository_id: int, capability: str
) -> Incident | None:
    """Read the incident of the rollback that is at work; None where none is.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository that has the capability.
        capability: its name in the configuration.
    """
    last = await incidents.latest_about(conn, repository_id, "rollback", subject_of(capability))
    at_work = last is not None and any(run.is_live for run in await runs.of_incident(conn, last.id))
    return last if at_work else None


def not_rolled_back(capability: str, rollback: Incident | None) -> None:
    """Make sure that no fix waits that would take the flag from the next candidate again.

    An anomaly of that one would have no incident of its own either: it would join the open one.

    Raises:
        CannotPlan: a rollback is under way.
    """
    if rollback is None:
        return
    there = where(rollback.issue, rollback.id)
    fix = f"Merge #{rollback.prs[-1]}, or comment" if rollback.prs else "Comment"
    raise CannotPlan(
        f"The rollback of {markdown.code(capability)} is not over: {there}.",
        f"{fix} `/approve` or `/cancel` there; then ask again.",
    )


async def lift_latch(
    conn: AsyncConnection, repository_id: int, capability: str, *, at: datetime, why: str
) -> None:
    """Let candidates get traffic again, unless the capability is paused.

    The latch stays after a rollback until somebody lifts the pause and asks for a candidate.
    """
    if await pauses.in_force(conn, repository_id, capability) is None:
        decided = Decided(at=at, actor=OURSELVES.login, why=why)
        await allocation.lift_pause(conn, repository_id, capability, decided)


def _unknown(capability: str, config: Config) -> str:
    names = ", ".join(map(markdown.code, sorted(config.capabilities))) or "none"
    return f"There is no capability {markdown.code(capability)}. Configured: {names}."


def _add_it(config: Config) -> str:
    if config.capabilities:
        return "Capabilities are listed under `capabilities` in `.github/playbooks.yml`."
    return (
        "Add it under `capabilities` in `.github/playbooks.yml`, with its `baseline` and its "
        "`candidates`."
    )


async def document(records: AsyncEngine, repository_id: int) -> str:
    """Write the document of a repository as it is served now."""
    async with records.connect() as conn:
        return written(flag_document(await allocation.of_repository(conn, repository_id)))


async def commit(
    github: IncidentGitHub,
    store: IncidentStore,
    records: AsyncEngine,
    repository_id: int,
    path: str,
    message: str,
    *,
    look_first: bool,
) -> BroughtHome:
    """Commit the document to the default branch, or to the rolling pull request of outcomes."""
    rules = await github.branch_rules(await github.default_branch())
    file = RecordFile(path=path, content=await document(records, repository_id))
    return await record_files.bring_home(
        github, store, [file], message, rules=rules, look_first=look_first
    )


class TrafficControl:
    """Moves the traffic of one capability while a candidate is on trial."""

    def __init__(
        self, run: Run, repository_id: int, attempt: str, plan: CapabilitySettings
    ) -> None:
        """Take it in hand; nothing is moved yet."""
        self._run = run
        self._repository = repository_id
        self._attempt = attempt
        self._settled = plan

    async def open(
        self,
        step: Step,
        split: Split,
        now: datetime,
        *,
        asked_for: str,
        why: str,
        frozen: FrozenBaseline | None = None,
        source: CounterSource | None = None,
    ) -> None:
        """Open the ledger, and serve the first split.

        Args:
            step: what this is called among the Run's steps.
            split: what is served from now on.
            now: the time.
            asked_for: why a latch left by a rollback may be lifted.
            why: the split is served.
            frozen: what the shadow taught of the baseline; None: this is the shadow.
            source: the counters it is judged by; None: observations that clients report.

        Raises:
            StepFailed: the capability is paused, has another shadow or ramp, or is served by
                another baseline by now.
        """
        plan = self._settled

        async def change(conn: AsyncConnection) -> Allocation:
            await runs.move(conn, self._run.id, RunState.VERIFYING, at=now)
            # Somebody may have paused it since this was planned: people may be waited for between.
            held = await pauses.in_force(conn, self._repository, plan.capability)
            if held is not None:
                raise CandidatePaused(
                    f"{plan.capability} is paused ({held.reason}): lift the pause before a "
                    "candidate gets traffic"
                )
            # Nor may who was rolled back meanwhile serve again as the baseline of another one.
            serving = await allocation.find(conn, self._repository, plan.capability)
            if serving is not None and serving.split.baseline != plan.policy.baseline:
                raise AttemptOver(
                    f"{serving.split.baseline} serves {plan.capability} now, and "
                    f"{plan.policy.baseline} does not any more: {plan.candidate} was to be "
                    "compared with that one, so shadow it again"
                )
            await lift_latch(conn, self._repository, plan.capability, at=now, why=asked_for)
            await ledgers.open_log(
                conn,
                attempt=self._attempt,
                run_id=self._run.id,
                repository_id=self._repository,
                capability=plan.capability,
                policy=plan.policy,
                frozen=frozen,
                source=source,
                at=now,
            )
            return await self.serve(conn, split, now, why)

        await self._run.write(step, Allocation, change)

    async def close(self, step: Step, split: Split, now: datetime, *, why: str) -> bool:
        """Close the ledger although nothing is wrong, and serve this; False if it is over."""

        async def change(conn: AsyncConnection) -> bool:
            ledger = await ledgers.locked(conn, self._attempt)
            if ledger.closed_at is not None:
                return False
            await ledgers.close(conn, self._attempt, at=now)
            await self.serve(conn, split, now, why)
            return True

        return await self._run.write(step, bool, change)

    async def serve(
        self, conn: AsyncConnection, split: Split, now: datetime, why: str
    ) -> Allocation:
        """Serve a split from now on, within the caller's transaction."""
        return await allocation.set_traffic(
            conn,
            self._repository,
            self._settled.capability,
            split,
            Decided(
                at=now,
                actor=OURSELVES.login,
                why=why,
                run=self._run.id,
                incident=self._attempt,
            ),
        )
