"""What is proposed once the culprit is named, and how the search ended.

Step 3 of the specification. It is followed like any proposal; a person has it merged, unless it
undoes self-work that nobody asked about (docs/decisions/0004).
"""

from __future__ import annotations

from pydantic import RootModel

from bot.git.revert import Clean, RevertConflict
from bot.playbooks.bisect import messages as words
from bot.playbooks.bisect import status_messages
from bot.playbooks.bisect.workflow import BisectWorkflow
from bot.playbooks.incident.context import first_branch
from bot.playbooks.incident.phrases import StatusMessage
from bot.playbooks.incident.record_files import RecordFile
from bot.playbooks.incident.report_base import Result
from bot.playbooks.pull_request.finish import conclude
from bot.playbooks.pull_request.proposal import Proposal, ProposalTerms
from bot.playbooks.pull_request.publish import Reverting
from bot.playbooks.pull_request.snapshot import see_which_checks_count
from bot.playbooks.run import Ending
from bot.playbooks.steps import Step
from bot.playbooks.undo import irreversible, paths_of
from bot.records.documents.artifacts import DecisionOutcome, canonical_bytes
from bot.records.documents.reports import SPEC_REPORT_PATH, SpecReport, Verification
from bot.records.lifecycle import IncidentStatus, RunState
from bot.triggers import Autonomy

_UNWANTED = {"cancelled": RunState.CANCELLED, "given up": RunState.TIMED_OUT}


async def green_again(work: BisectWorkflow, head: str, standing: StatusMessage) -> Ending:
    """End since the check passes on the branch again, at the commit `head`."""
    base = work.case.base
    work.happened(await work.run.now(), f"{base} is green again")
    await work.recorder.move("bisect.recovered", IncidentStatus.MITIGATED, refs={"commit": head})
    await work.recorder.move("incident.resolved", IncidentStatus.RESOLVED)
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
    await work.recorder.move(f"bisect.{how}", IncidentStatus.DECLINED)
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


def reverting(work: BisectWorkflow, culprit: str) -> Reverting:
    """The change that undoes one commit."""
    return Reverting(work.parts.mirror, (culprit,), work.plan.config)


async def fix(
    work: BisectWorkflow, verification: Verification, outcome: Clean | RevertConflict
) -> Proposal:
    """Prepare the revert of the culprit, with its records, as a proposal.

    Args:
        work: the bisect; its only offender is the culprit.
        verification: the fresh runs.
        outcome: the revert computed on the head of the base branch.
    """
    work.case = work.case.model_copy(update={"branch": first_branch(work.case, work.naming)})
    case, plan = work.case, work.plan
    culprit, before = case.offenders[0].sha, case.good or plan.bad
    await see_which_checks_count(work, before)
    broken = case.broken_check
    if broken is not None and broken not in work.counting.names:
        # The broken check decides first of all, whatever else is configured or required.
        smoke = (broken, *work.counting.smoke)
        work.counting = work.counting.model_copy(update={"smoke": smoke})
    touched = await _irreversible(work, culprit)
    work.spec = work.spec_report(base=outcome.onto, head=None, tally=None)
    return Proposal(
        work,
        reverting(work, culprit),
        outcome,
        ProposalTerms(
            title=words.fix_title(case),
            message=words.commit_message(case, [culprit]),
            files=(*work.record_files(Result()), _spec_file(work.spec)),
            before=before,
            starting=status_messages.proposing(),
            # By itself it is merged only where all of the evidence says the same.
            person_wanted=work.autonomy is not Autonomy.MERGE
            or (verification.boundary, verification.revert) != ("confirmed", "confirmed"),
            evals_wanted=work.autonomy is Autonomy.MERGE,
            irreversible=touched,
            doubtful=verification.revert == "refuted",
            refs={"culprit": culprit},
        ),
    )


class _Paths(RootModel[tuple[str, ...]]):
    """Paths, as one storable type."""


async def _irreversible(work: BisectWorkflow, culprit: str) -> tuple[str, ...]:
    """What the revert of the culprit touches that nothing brings back."""

    async def read(_: bool) -> _Paths:
        touched = await paths_of((culprit,), work.parts.mirror)
        return _Paths(irreversible(touched, work.plan.config.founder))

    return (await work.run.step(Step.READ_FIX_PATHS, _Paths, read)).root


def _spec_file(spec: SpecReport) -> RecordFile:
    return RecordFile(path=SPEC_REPORT_PATH, content=canonical_bytes(spec).decode())
