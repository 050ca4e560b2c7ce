"""How a bisect ends that proposes no fix: nothing was found, or nobody wants it any more."""

from __future__ import annotations

from bot.playbooks.bisect.work import BisectWorkflow
from bot.playbooks.incidents.papers import Result
from bot.playbooks.proposal.settling import conclude
from bot.playbooks.run import Ending
from bot.playbooks.words.standing import StatusMessage
from bot.records.documents.artifacts import DecisionOutcome
from bot.records.lifecycle import IncidentStatus, RunState

_UNWANTED = {"cancelled": RunState.CANCELLED, "given up": RunState.TIMED_OUT}


async def green_again(work: BisectWorkflow, head: str, standing: StatusMessage) -> Ending:
    """End since the check passes on the branch again, at the commit `head`."""
    base = work.case.base
    work.happened(await work.run.now(), f"{base} is green again")
    await work.casebook.move("bisect.recovered", IncidentStatus.MITIGATED, refs={"commit": head})
    await work.casebook.move("incident.resolved", IncidentStatus.RESOLVED)
    result = Result(
        status=IncidentStatus.RESOLVED,
        outcome=DecisionOutcome.FAILED,
        stopped="green again",
        accepted=False,
        said=f"no fix was proposed: {base} is green again since {head[:12]}.",
    )
    return await conclude(work, result, standing, RunState.SUCCEEDED)


async def ended(work: BisectWorkflow, standing: StatusMessage, how: str) -> Ending:
    """End without a fix, for the reason `how`."""
    work.happened(await work.run.now(), how)
    await work.casebook.move(f"bisect.{how}", IncidentStatus.DECLINED)
    result = Result(
        status=IncidentStatus.DECLINED,
        outcome=DecisionOutcome.FAILED,
        stopped=how,
        accepted=False,
        said=f"no fix was proposed: {how}.",
    )
    state = _UNWANTED.get(how, RunState.CANCELLED)
    ending = await conclude(work, result, standing, state)
    # To have found that there is nothing to find is an answer too.
    return ending if how in _UNWANTED else ending.model_copy(update={"outcome": "succeeded"})
