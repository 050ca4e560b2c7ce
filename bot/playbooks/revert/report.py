"""What a revert leaves behind: its ADR and its report, as pure functions of the facts."""

from __future__ import annotations

from datetime import datetime

from bot.git.revert import Clean, RevertConflict
from bot.playbooks.checks.green import CheckRow, CheckTally, Counting, State
from bot.playbooks.incident.context import IncidentContext
from bot.playbooks.incident.phrases import offenders_in_words, which_checks
from bot.playbooks.incident.report_base import ReportAccount, Result, pointers
from bot.playbooks.revert.plan import RevertPlan
from bot.records.audit.anchors import Anchor
from bot.records.documents.adr import AdrFacts, Option, render
from bot.records.documents.artifacts import (
    NOT_CONFIGURED,
    ChecksVerdict,
    HotfixRefs,
    PreviewResult,
    ReportedCheck,
    Results,
    RevertedTarget,
    RevertReport,
    canonical_bytes,
)


def decision(
    case: IncidentContext, plan: RevertPlan, counting: Counting, *, at: datetime, audit: Anchor
) -> str:
    """Write the ADR of a revert: proposed, its outcome pending."""
    what = offenders_in_words(case.offenders)
    conflict = plan.outcome.status == "conflict"
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=f"Revert {what}",
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=(
                f"{case.base} is broken, and {what} is named as the cause.",
                f"Reason given: {case.reason}" if case.reason else "No reason was given.",
            ),
            drivers=(
                f"Everyone who works on {case.base} is held up until it is safe again.",
                "A revert can itself be reverted; nothing is lost.",
                f"Severity: {case.severity}.",
            ),
            options=(
                Option(
                    name="Revert",
                    good=(
                        f"it brings {case.base} back to a state that worked.",
                        "it is reversible: reverting the revert brings the work back.",
                    ),
                    bad=("the work in it has to be merged again once it is fixed.",)
                    + (
                        ("it conflicts with later changes, so a person helps.",) if conflict else ()
                    ),
                ),
            ),
            chosen="Revert",
            because="it is the fastest way back to a state known to work, and it can be undone.",
            consequences=Option(
                name="Revert",
                good=(f"{case.base} works again once the hotfix is merged.",),
                bad=("what was reverted is missing until it is merged again.",),
            ),
            confirmation=which_checks(counting).replace("`", ""),
            more=pointers(case),
            audit=audit,
        )
    )


def report(account: ReportAccount, plan: RevertPlan, counting: Counting) -> bytes:
    """Write `incidents/revert-<id>.json`."""
    case, result = account.case, account.result
    outcome, refs = plan.outcome, result.refs
    return canonical_bytes(
        RevertReport(
            **account.told,
            targets=tuple(
                RevertedTarget(
                    kind="pull_request" if offender.number else "commit",
                    number=offender.number,
                    title=offender.title,
                    commits=offender.commits,
                )
                for offender in case.offenders
            ),
            refs=HotfixRefs(
                base_branch=case.base,
                base=refs.base if refs else outcome.onto,
                branch=case.branch,
                commit=refs.commit if refs else None,
                tree=outcome.tree if isinstance(outcome, Clean) else None,
                conflicts=tuple(path.path for path in outcome.paths)
                if isinstance(outcome, RevertConflict)
                else (),
            ),
            results=_results(counting, result),
        )
    )


_CONCLUSIONS = {
    State.MISSING: None,
    State.RUNNING: None,
    State.PASSED: "success",
    State.SKIPPED: "skipped",
    State.FAILED: "failure",
    State.INFRA: "infra",
}


def _results(counting: Counting, result: Result) -> Results:
    rows = result.tally.rows if result.tally else ()
    smoke = tuple(_check(row) for row in rows if row.kind == "smoke")
    evals = tuple(_check(row) for row in rows if row.kind == "evals")
    previews = result.tally.previews if result.tally else ()
    return Results(
        smoke=smoke if counting.smoke else NOT_CONFIGURED,
        evals=evals if counting.evals else NOT_CONFIGURED,
        preview=tuple(_preview(row) for row in previews)
        if previews or counting.previews
        else NOT_CONFIGURED,
        verdict=_verdict(result.tally),
    )


def _check(row: CheckRow) -> ReportedCheck:
    return ReportedCheck(name=row.name, conclusion=_CONCLUSIONS[row.state], url=row.url)


def _preview(row: CheckRow) -> PreviewResult:
    state = "pending" if row.state is State.RUNNING else _CONCLUSIONS[row.state]
    return PreviewResult(environment=row.name, state=state, url=row.url)


def _verdict(result: CheckTally | None) -> ChecksVerdict:
    if result is None:
        return ChecksVerdict.PENDING
    failed = [row for row in result.shown if row.state is State.FAILED]
    if result.verdict == "red" and not failed:
        return ChecksVerdict.INFRA
    return {
        "green": ChecksVerdict.GREEN,
        "red": ChecksVerdict.RED,
        "waiting": ChecksVerdict.PENDING,
        "nothing counts": ChecksVerdict.NO_CHECKS,
    }[result.verdict]
