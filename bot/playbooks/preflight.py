"""May this be asked for now? Answered before a Run begins, for programs that wait for the answer.

The Run asks again: meanwhile things may have changed.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.config import Config
from bot.playbooks.ramp.plan import know_ramp, onward
from bot.playbooks.ramp.plan import may_begin as may_ramp
from bot.playbooks.rollback.messages import nothing_to_take_back
from bot.playbooks.rollback.traffic_back import would_give_traffic_back
from bot.playbooks.rollout.capability import policy_in_force
from bot.playbooks.shadow.plan import know_shadow
from bot.playbooks.shadow.plan import may_begin as may_shadow
from bot.records import runs
from bot.triggers import RampRequest, RollbackRequest, ShadowRequest, Trigger

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
            may_shadow(request, await know_shadow(conn, repository_id, request), config)
        case RampRequest():
            known = await know_ramp(conn, repository_id, request.capability)
            if known.live is not None:
                onward(request, known.live, known.issue)
            else:
                may_ramp(request, known, config, no_counters=no_counters)
        case RollbackRequest(capability=capability):
            if await would_give_traffic_back(conn, repository_id, capability):
                return
            # That a capability is not known is said first.
            policy_in_force(config, capability, None)
            raise nothing_to_take_back(capability)
        case _:
            return
