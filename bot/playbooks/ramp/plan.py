"""What a ramp will do, settled before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, RootModel
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.canary.baseline import Arms, ArmsState, FrozenBaseline
from bot.canary.counters import CounterSource
from bot.canary.policy import Policy
from bot.canary.sample_size import seen_within
from bot.config import Config
from bot.playbooks.plan import CannotPlan, Declined
from bot.playbooks.ramp.decide import Needed, needed
from bot.playbooks.ramp.ports import RampResources, allocation, incidents, ledgers, pauses
from bot.playbooks.rollout.capability import (
    CapabilitySettings,
    known_candidate,
    not_paused,
    not_rolled_back,
    open_rollback,
    policy_in_force,
    read_configured,
)
from bot.playbooks.rollout.evidence import live_ledger, read_course
from bot.playbooks.rollout.messages import subject_of
from bot.playbooks.rollout.ports import runs
from bot.records.documents.artifacts import artifact_path
from bot.records.incidents import CAME_TO_NOTHING, Incident
from bot.records.lifecycle import IncidentStatus
from bot.records.pauses import Pause
from bot.traffic.evaluation import ShadowEvaluation
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import Allocation
from bot.triggers import RampRequest, Trigger, Value


@dataclass(frozen=True, slots=True)
class OutOfOrder:
    """This stage cannot be asked for now. Both texts are Markdown."""

    reason: str
    remedy: str


def check_stage(
    policy: Policy, capability: str, asked: int | None, serving: int | None
) -> OutOfOrder | None:
    """Say why a stage cannot be asked for now; None if it can.

    Args:
        policy: the capability's.
        capability: its name, for the sentence.
        asked: the stage that is wanted; None means whichever comes next.
        serving: the stage served now; None: nothing is ramped yet.
    """
    stages = [stage.percent for stage in policy.stages]
    coming = next_stage(policy, serving)
    if coming is None:
        return OutOfOrder(
            f"The last stage, {serving}%, is served already.",
            "It is promoted by itself once it has soaked; `/rollback` takes it back.",
        )
    if asked is None or asked == coming:
        return None
    command = markdown.code(f"/ramp {capability} {coming}")
    if asked not in stages:
        allowed = ", ".join(str(stage) for stage in stages)
        return OutOfOrder(
            f"{asked}% is not a stage of {markdown.code(capability)}. Its stages: {allowed}.",
            f"The next one is {coming}%: {command}.",
        )
    now = "Nothing is ramped yet" if serving is None else f"{serving}% is served now"
    what = "cannot come again" if serving is not None and asked <= serving else "would skip a stage"
    return OutOfOrder(
        f"{now}, so {asked}% {what}.",
        f"The next stage is {coming}%: {command}.",
    )


def next_stage(policy: Policy, serving: int | None) -> int | None:
    """Name the stage that follows; None after the last."""
    stages = [stage.percent for stage in policy.stages]
    if serving is None:
        return stages[0]
    return next((stage for stage in stages if stage > serving), None)


class RampPlan(CapabilitySettings):
    """A new ramp.

    Attributes:
        shadow: the id of the shadow that proposed it.
        shadow_report: the path of its report.
        frozen: what the shadow taught of the baseline.
        source: the counters it is judged by; None: observations that clients report.
        salt: of the split.
        rate: requests a second while the shadow looked; None: too little was seen.
        seen_within: by metric: how long it takes to see a candidate that is worse.
    """

    kind: Literal["plan"] = "plan"
    shadow: str
    shadow_report: str
    frozen: FrozenBaseline
    source: CounterSource | None = None
    salt: str
    rate: float | None = None
    seen_within: dict[str, timedelta] = Field(default_factory=dict)


class Onward(Value):
    """A ramp is under way, and its next stage was asked for.

    Attributes:
        run: its Run.
        incident: its id.
        issue: its issue, once it is open.
        stage: the stage; None: none was named.
        capability: the capability's name.
        needed: who has to agree to the stage besides the evidence.
    """

    kind: Literal["onward"] = "onward"
    run: str
    incident: str
    issue: int | None
    stage: int | None
    capability: str = ""
    needed: Needed = None


class RampPlanned(RootModel[Annotated[RampPlan | Onward | Declined, Field(discriminator="kind")]]):
    """What planning gave, as one storable type."""


class RampKnown(Value):
    """What the records know of the capability."""

    serving: Allocation | None
    pause: Pause | None
    live: EvidenceLog | None
    issue: int | None
    shadow: str | None
    candidate: str | None
    frozen: FrozenBaseline | None
    ramps: int
    rate: float | None = None
    arms: ArmsState | None = None
    rollback: Incident | None = None


async def make_ramp_plan(
    request: RampRequest, repository_id: int, parts: RampResources, *, place: int | None = None
) -> RampPlanned:
    """Work out what a request for a ramp means now.

    Args:
        request: the capability, and the stage that is wanted, if one was named.
        repository_id: GitHub's id of the repository that has the capability.
        parts: what is acted through.
        place: the issue or pull request where it was asked for.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    found = await read_configured(parts)
    async with parts.records.connect() as conn:
        known = await know_ramp(conn, repository_id, request.capability, place)
    try:
        if known.live is not None:
            return RampPlanned(onward(request, known.live, known.issue))
        policy = may_begin(request, known, found.config, no_counters=parts.no_counters())
    except CannotPlan as stop:
        return RampPlanned(stop.declined)
    if known.shadow is None or known.candidate is None or known.frozen is None:
        raise LookupError("a ramp may begin only after a shadow")
    report = artifact_path(found.config.artifacts.root, "shadow", known.shadow)
    source = found.config.capabilities[request.capability].prometheus
    return RampPlanned(
        RampPlan(
            **dict(found),
            capability=request.capability,
            policy=policy,
            candidate=known.candidate,
            shadow=known.shadow,
            shadow_report=report,
            frozen=known.frozen if source is None else source.frozen(known.frozen),
            source=source,
            salt=str(known.ramps + 1),
            rate=known.rate,
            seen_within={}
            if known.rate is None or known.arms is None
            else seen_within(policy, Arms.restored(known.arms), known.rate),
        )
    )


def onward(request: RampRequest, live: EvidenceLog, issue: int | None) -> Onward:
    """Take a request about the ramp under way: only its next stage can be asked for.

    Args:
        request: the capability, and the stage that is wanted, if one was named.
        live: the head of the ledger that the capability has now.
        issue: the number of its incident's issue; None: it is not open yet.

    Raises:
        CannotPlan: a stage is skipped or repeated, or it is a shadow that is under way.
    """
    where = f"#{issue}" if issue else markdown.code(live.attempt[-8:])
    if live.mode == "shadow":
        raise CannotPlan(
            f"{markdown.code(request.capability)} is still being shadowed: {where}.",
            "The ramp is proposed there once the evidence is in; `/cancel` there ends the shadow.",
        )
    serving = live.policy.phases[live.phase].stage
    _in_order(live.policy, request, serving)
    stage = request.stage and next_stage(live.policy, serving)
    return Onward(
        run=live.run_id,
        incident=live.attempt,
        issue=issue,
        stage=stage,
        capability=request.capability,
        needed=None if stage is None else needed(live.policy, stage),
    )


def may_begin(
    request: RampRequest, known: RampKnown, config: Config, *, no_counters: str | None
) -> Policy:
    """Make sure that a new ramp may begin, and give the policy it is judged by.

    Args:
        request: the capability, and the stage that is wanted, if one was named.
        known: what the records know of the capability.
        config: the repository's configuration, as it counts.
        no_counters: why Prometheus cannot be asked; None: it can.

    Raises:
        CannotPlan: it may not.
    """
    capability = request.capability
    policy = policy_in_force(config, capability, known.serving)
    not_rolled_back(capability, known.rollback)
    not_paused(capability, known.pause)
    _in_order(policy, request, None)
    if known.shadow is None or known.candidate is None or known.frozen is None:
        raise CannotPlan(
            f"No candidate for {markdown.code(capability)} has been shadowed with a good result "
            "since the last ramp.",
            f"Shadow one first: `/shadow {capability} CANDIDATE`, where CANDIDATE is one of "
            f"{', '.join(map(markdown.code, policy.candidates))}.",
        )
    known_candidate(policy, capability, known.candidate)
    if no_counters is not None and config.capabilities[capability].prometheus is not None:
        raise CannotPlan(
            f"{markdown.code(capability)} is judged by Prometheus, which this bot cannot ask: "
            f"{no_counters}.",
            "Whoever runs the bot sets it and restarts; or take `prometheus` out of the capability "
            "in `.github/playbooks.yml`, and have clients report to `/providers/observations`.",
        )
    return policy


def _in_order(policy: Policy, request: RampRequest, serving: int | None) -> None:
    found = check_stage(policy, request.capability, request.stage, serving)
    if found is not None:
        raise CannotPlan(found.reason, found.remedy)


async def know_ramp(
    conn: AsyncConnection, repository_id: int, capability: str, place: int | None = None
) -> RampKnown:
    """Read what the records know of a capability that is to be ramped.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository that has the capability.
        capability: its name in the configuration.
        place: the issue or pull request where the ramp was asked for.
    """
    live = await live_ledger(conn, repository_id, capability)
    incident = None if live is None else await incidents.find(conn, live.attempt)
    history = await allocation.history(conn, repository_id, capability)
    ramps = {each.split.attempt for each in history if each.split.mode == "ramp"}
    shadow = await proposing_shadow(conn, repository_id, capability, place)
    candidate, frozen, rate, arms = None, None, None, None
    if shadow is not None and (kept := await ledgers.find(conn, shadow.id)) is not None:
        course = await read_course(conn, kept)
        served = await allocation.of_attempt(conn, shadow.id)
        holds = not history or history[-1].split.baseline == kept.policy.baseline
        if isinstance(course, ShadowEvaluation) and served and holds:
            candidate = served[0].split.candidate
            frozen, arms = course.frozen(), course.evidence.arms.save()
            rate = _rate(course, served[0].split.sample_rate)
    return RampKnown(
        serving=history[-1] if history else None,
        pause=await pauses.in_force(conn, repository_id, capability),
        live=live,
        issue=None if incident is None else incident.issue,
        shadow=None if shadow is None else shadow.id,
        candidate=candidate,
        frozen=frozen,
        ramps=len(ramps),
        rate=rate,
        arms=arms,
        rollback=await open_rollback(conn, repository_id, capability),
    )


def _rate(course: ShadowEvaluation, sampled: float) -> float | None:
    """Requests a second, by what the shadow saw of them."""
    if course.seen is None or sampled <= 0:
        return None
    seconds = (course.seen - course.started).total_seconds()
    return course.evidence.pairs / sampled / seconds if seconds > 0 else None


async def proposing_shadow(
    conn: AsyncConnection, repository_id: int, capability: str, place: int | None = None
) -> Incident | None:
    """Read the shadow that proposes a ramp, if its proposal has not been used up since.

    That is the one of this place, whose candidate people read about there; elsewhere the latest.
    One that came to nothing takes nothing from the proposal before it.
    """
    subject = subject_of(capability)
    for shadow in await incidents.resolved_about(conn, repository_id, "shadow", subject):
        asked_on = [
            Trigger.model_validate(run.trigger).source.subject
            for run in await runs.of_incident(conn, shadow.id)
        ]
        if place is not None and place in (shadow.issue, *asked_on):
            return shadow
    found = await incidents.latest_about(
        conn, repository_id, "shadow", subject, besides=CAME_TO_NOTHING
    )
    stands = found is not None and found.status is IncidentStatus.RESOLVED
    return found if stands else None
