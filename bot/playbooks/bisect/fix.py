"""The fix pull request: the culprit reverted on the branch, with ADR, report and spec report.

Step 3 of the specification. It is followed like any proposal; a person has it merged, unless it
undoes self-work that nobody asked about (Decisions 4).
"""

from __future__ import annotations

from pydantic import RootModel

from bot.git.revert import Clean, RevertConflict
from bot.playbooks.bisect import standings
from bot.playbooks.bisect import text as words
from bot.playbooks.bisect.work import BisectWorkflow
from bot.playbooks.incidents.case import first_branch
from bot.playbooks.incidents.papers import Result
from bot.playbooks.incidents.record_files import RecordFile
from bot.playbooks.proposal.computed import Reverting
from bot.playbooks.proposal.counting import see_which_checks_count
from bot.playbooks.proposal.proposal import Proposal, ProposalTerms
from bot.playbooks.steps import Step
from bot.playbooks.undo.irreversible import irreversible, paths_of
from bot.records.documents.artifacts import canonical_bytes
from bot.records.documents.bisect_report import Verification
from bot.records.documents.spec_report import SPEC_REPORT_PATH, SpecReport
from bot.triggers import Autonomy


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
    work.know(branch=first_branch(work.case, work.naming))
    case, plan = work.case, work.plan
    culprit, before = case.offenders[0].sha, case.good or plan.bad
    await see_which_checks_count(work, before)
    if plan.check is not None and plan.check not in work.counting.names:
        # The broken check decides first of all, whatever else is configured or required.
        smoke = (plan.check, *work.counting.smoke)
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
            starting=standings.proposing(),
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
