"""What a shadow, a ramp and a rollback would do."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.canary.policy import Policy
from bot.cockpit.preview import Preview, as_declared, step
from bot.cockpit.text import duration
from bot.config import Config
from bot.playbooks.ramp import plan as ramps
from bot.playbooks.rollback.messages import nothing_to_take_back
from bot.playbooks.rollback.plan import severity_of
from bot.playbooks.rollback.traffic_back import standing_promotion, what_would_go_back
from bot.playbooks.rollout.capability import policy_in_force
from bot.playbooks.shadow import plan as shadows
from bot.playbooks.steps import Step
from bot.records.steps import Reversibility
from bot.traffic import allocation
from bot.triggers import RampRequest, RollbackRequest, Severity, ShadowRequest

_WRITTEN_DOWN = (Step.OPEN_INCIDENT_ISSUE, Step.RECORD_OUTCOME)
_FIXED = (
    Step.OPEN_INCIDENT_ISSUE,
    Step.PUBLISH_FIX,
    Step.OPEN_FIX_PULL_REQUEST,
    Step.MERGE_PULL_REQUEST,
)


async def of_shadow(
    conn: AsyncConnection, repository_id: int, request: ShadowRequest, config: Config
) -> Preview:
    """What would be mirrored, to whom, and until when.

    Raises:
        CannotPlan: it may not begin.
    """
    known = await shadows.know_shadow(conn, repository_id, request)
    policy = shadows.may_begin(request, known, config)
    capability, candidate = markdown.code(request.capability), markdown.code(request.candidate)
    shadow, pairs = policy.shadow, max(policy.shadow.min_pairs, known.min_pairs)
    lines = (
        f"{markdown.code(policy.baseline)} goes on serving everybody; {candidate} answers copies "
        f"of {shadow.sample_rate:.0%} of the requests for {capability}, and no user sees them.",
        f"A verdict needs {pairs:,} pairs of answers. Without one after {shadow.max_hours:g} h, a "
        "person is asked.",
        f"It is stopped when the copies have cost {shadow.max_extra_cost_usd:g} USD.",
        "Nothing is ramped by itself: if it is good enough, a ramp is proposed.",
    )
    undo = "/cancel ends it; what the copies cost stays spent"
    steps = (
        step(f"Send copies of requests to {candidate}", Reversibility.COMPENSATABLE, undo),
        *as_declared(_WRITTEN_DOWN),
    )
    return Preview("This shadow would", lines, goes_on=True, steps=steps)


async def of_ramp(
    conn: AsyncConnection,
    repository_id: int,
    request: RampRequest,
    config: Config,
    *,
    no_counters: str | None,
) -> Preview:
    """Which share the candidate would get, and what comes after.

    `no_counters`: why Prometheus cannot be asked; None: it can.

    Raises:
        CannotPlan: it may not begin, or not with this stage.
    """
    known = await ramps.know_ramp(conn, repository_id, request.capability)
    if known.live is not None:
        found = ramps.onward(request, known.live, known.issue)
        serving = known.live.policy.phases[known.live.phase].stage
        return _onward(request.capability, found, serving, known.live.policy)
    policy = ramps.may_begin(request, known, config, no_counters=no_counters)
    capability = markdown.code(request.capability)
    candidate, baseline = markdown.code(known.candidate or ""), markdown.code(policy.baseline)
    first, *later = policy.stages
    lines = [
        f"{candidate} serves {first.percent}% of {capability}, {baseline} the rest.",
        f"Then {', '.join(f'{each.percent}%' for each in later) or 'it is promoted'}, each after "
        f"at least {duration(first.min_bake)} and only on evidence that every metric is within "
        "its margin.",
        *_approvals(policy),
        f"Any anomaly, or {duration(policy.max_silence)} without observations, gives everything "
        "back at once, without asking.",
        f"{baseline} is not retired: it can be called as before.",
    ]
    steps = (
        step(
            f"Give {candidate} {first.percent}% of the traffic, later more",
            Reversibility.COMPENSATABLE,
            f"/rollback {request.capability} gives all of it back within a second; what users "
            "were answered meanwhile stays answered",
        ),
        *as_declared(_WRITTEN_DOWN),
    )
    return Preview("This ramp would", tuple(lines), goes_on=True, steps=steps)


def _onward(capability: str, found: ramps.Onward, serving: int, policy: Policy) -> Preview:
    where = f"#{found.issue}" if found.issue else markdown.code(found.incident[-8:])
    now = f"The ramp under way ({where}) is at its stage of {serving}%."
    if found.stage is None:
        hint = "It goes on by itself, on evidence. Name the next stage to agree to it."
        return Preview("Nothing would be done", (now, hint), goes_on=False)
    lines = (
        now,
        f"This is your yes to {found.stage}%. Where the evidence is inconclusive, or the stage "
        "needs an approval, it goes on with it; else it goes on by itself when it is time.",
        *_approvals(policy),
    )
    undo = f"/rollback {capability} gives all of it back within a second"
    more = f"Let the candidate have {found.stage}% of the traffic"
    steps = (step(more, Reversibility.COMPENSATABLE, undo),)
    return Preview("This would", lines, goes_on=True, steps=steps)


def _approvals(policy: Policy) -> list[str]:
    return [
        f"{stage}% waits for {'a Founder' if needed == 'founder' else f'{needed} people'} to "
        "approve it."
        for stage, needed in sorted(policy.approvals.items())
    ]


async def of_rollback(
    conn: AsyncConnection, repository_id: int, request: RollbackRequest, config: Config
) -> Preview:
    """What would be taken back from whom.

    Raises:
        CannotPlan: there is nothing to take back.
    """
    capability = request.capability
    history = await allocation.history(conn, repository_id, capability)
    ledger = await what_would_go_back(conn, repository_id, capability)
    if ledger is None:
        policy_in_force(config, capability, None)  # that it is not known is said first
        promoted = await standing_promotion(conn, repository_id, capability)
        raise nothing_to_take_back(capability, promoted)
    last = next(e.split for e in reversed(history) if e.split.attempt == ledger.attempt)
    baseline = markdown.code(ledger.policy.baseline)
    candidate, now = markdown.code(last.candidate or ""), history[-1].split
    share = now.percent if now.attempt else 100 * (now.baseline == last.candidate)
    severity = request.severity or severity_of(share)
    told = severity in (Severity.HIGH, Severity.CRITICAL)
    lines = (
        f"{baseline} serves all of {markdown.code(capability)} again, within a second; "
        f"{candidate} has {share}% now.",
        f"{markdown.code(capability)} is paused: no candidate gets anything until somebody "
        "unpauses it.",
        f"An incident of {severity} severity is filed"
        f"{', and the Founder hears of it' if told else ''}.",
        "A fix pull request sets the committed flags to what is served, with the plan to try "
        "again; it is merged when green.",
    )
    steps = (
        step(
            f"Give all traffic to {baseline}",
            Reversibility.COMPENSATABLE,
            f"/unpause {capability}, then a new shadow and ramp",
        ),
        step(
            f"Pause {markdown.code(capability)}",
            Reversibility.REVERSIBLE,
            f"/unpause {capability}",
        ),
        *as_declared(_FIXED),
    )
    return Preview("This rollback would", lines, goes_on=True, steps=steps)
