"""What a request for a shadow means on the repository as it is now."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel
from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.canary.policy import Policy
from bot.config import Config
from bot.playbooks.plan import CannotPlan, Declined
from bot.playbooks.rollout.capability import (
    CapabilitySettings,
    known_candidate,
    not_paused,
    not_rolled_back,
    open_rollback,
    policy_in_force,
    read_configured,
)
from bot.playbooks.rollout.evidence import live_ledger
from bot.playbooks.rollout.messages import subject_of, where
from bot.playbooks.rollout.workflow import planned_pairs
from bot.playbooks.shadow.ports import ShadowResources, allocation, chain, incidents, pauses
from bot.records.incidents import Incident
from bot.records.pauses import Pause
from bot.traffic.evidence_log import EvidenceLog
from bot.traffic.flagd import Allocation
from bot.triggers import ShadowRequest, Value


class ShadowPlan(CapabilitySettings):
    """A new shadow."""

    kind: Literal["plan"] = "plan"


class ShadowPlanned(RootModel[Annotated[ShadowPlan | Declined, Field(discriminator="kind")]]):
    """What planning gave, as one storable type."""


class ShadowKnown(Value):
    """What the records know of the capability."""

    serving: Allocation | None
    pause: Pause | None
    live: EvidenceLog | None
    issue: int | None
    min_pairs: int
    rollback: Incident | None = None


async def make_shadow_plan(
    request: ShadowRequest, repository_id: int, parts: ShadowResources
) -> ShadowPlanned:
    """Work out what a request for a shadow means now.

    Raises:
        GitHubError, GitError: GitHub or the mirror could not be read.
    """
    found = await read_configured(parts)
    async with parts.records.connect() as conn:
        known = await know_shadow(conn, repository_id, request)
    try:
        policy = may_begin(request, known, found.config)
    except CannotPlan as stop:
        return ShadowPlanned(stop.declined)
    return ShadowPlanned(
        ShadowPlan(
            **dict(found),
            capability=request.capability,
            policy=_long_enough(policy, known.min_pairs),
            candidate=request.candidate,
        )
    )


def may_begin(request: ShadowRequest, known: ShadowKnown, config: Config) -> Policy:
    """Make sure that a shadow may begin, and give the policy it is judged by.

    Args:
        request: the capability, and the candidate.
        known: what the records know of the capability.
        config: the repository's configuration, as it counts.

    Raises:
        CannotPlan: it may not.
    """
    policy = policy_in_force(config, request.capability, known.serving)
    known_candidate(policy, request.capability, request.candidate)
    if known.live is not None:
        there = where(known.issue, known.live.attempt)
        raise CannotPlan(
            f"A {known.live.mode} of {markdown.code(request.capability)} is under way: {there}.",
            "One at a time: wait for it, or end it with `/cancel` there.",
        )
    not_rolled_back(request.capability, known.rollback)
    not_paused(request.capability, known.pause)
    return policy


def _long_enough(policy: Policy, min_pairs: int) -> Policy:
    """Ask for so many pairs as the plan after the last rollback says."""
    if min_pairs <= policy.shadow.min_pairs:
        return policy
    shadow = policy.shadow.model_copy(update={"min_pairs": min_pairs})
    return policy.model_copy(update={"shadow": shadow})


async def know_shadow(
    conn: AsyncConnection, repository_id: int, request: ShadowRequest
) -> ShadowKnown:
    """Read what the records know of a capability that is to be shadowed.

    Args:
        conn: the caller's connection; nothing is written.
        repository_id: GitHub's id of the repository that has the capability.
        request: the capability, and the candidate: a rollback may have asked for more pairs of it.
    """
    live = await live_ledger(conn, repository_id, request.capability)
    incident = None if live is None else await incidents.find(conn, live.attempt)
    subject = subject_of(request.capability)
    last = await incidents.latest_about(conn, repository_id, "rollback", subject)
    entries = [] if last is None else await chain.of_incident(conn, last.id)
    return ShadowKnown(
        serving=await allocation.find(conn, repository_id, request.capability),
        pause=await pauses.in_force(conn, repository_id, request.capability),
        live=live,
        issue=None if incident is None else incident.issue,
        min_pairs=planned_pairs([entry.refs for entry in entries], request.candidate),
        rollback=await open_rollback(conn, repository_id, request.capability),
    )
