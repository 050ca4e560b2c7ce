"""What a bisect leaves behind: ADR, report and spec report, as pure functions of the facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot.playbooks.bisect.finding import bars, finding_of, log_lines
from bot.playbooks.bisect.messages import BisectMessages, incident_title, task
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.bisect.search import RangeSearch
from bot.playbooks.bisect.trials import TrialRow
from bot.playbooks.checks.green import CheckRow, CheckTally, Counting, State
from bot.playbooks.incident.report_base import ReportAccount, pointers
from bot.records.audit.anchors import Anchor
from bot.records.bisects import MOST_SUSPECTS, BisectProgress, Suspected
from bot.records.documents.adr import AdrFacts, Option, render
from bot.records.documents.artifacts import canonical_bytes
from bot.records.documents.reports import (
    BisectReport,
    Met,
    Point,
    Requirement,
    Searched,
    SpecReport,
    TrialMade,
    TrialMetric,
    Verification,
    summary_of,
)
from bot.triggers import Trigger

BARS_SHOWN = 60
"""Bars of the posterior that a phone can still show."""


def decision(case: BisectMessages, *, at: datetime, seed: str | None, audit: Anchor) -> str:
    """Write the ADR of a bisect: proposed, its outcome pending."""
    return render(
        AdrFacts(
            incident_id=case.incident,
            title=f"{task(case.check, case.numeric)} and revert it",
            date=at.date(),
            decision_makers=(case.requested_by.login,),
            problem=(
                f"{incident_title(case.check, case.base, case.numeric)} at "
                f"{case.bad[:12]}, and it is not known since which commit.",
                f"Reason given: {case.reason}" if case.reason else "No reason was given.",
            ),
            drivers=(
                "A person is named as the cause only on evidence, never on one odd failure.",
                "A revert can itself be reverted; nothing is lost.",
                f"Severity: {case.severity}.",
            ),
            options=(
                Option(
                    name="Bisect and revert the culprit",
                    good=(
                        "it finds the commit with a stated confidence, checked by fresh runs.",
                        "it is reversible: reverting the revert brings the work back.",
                    ),
                    bad=("trials cost time on runners.",),
                ),
            ),
            chosen="Bisect and revert the culprit",
            because="it needs no guess, and what it proposes can be undone.",
            consequences=Option(
                name="Bisect and revert the culprit",
                good=(
                    f"{case.base} works again once the fix is merged."
                    if case.metric is None
                    else f"{case.base} has the {case.metric} of before once the fix is merged.",
                ),
                bad=("what was reverted is missing until it is merged again.",),
            ),
            confirmation="The fix's spec report: "
            + ("" if case.numeric else "the failing check passes, ")
            + "smoke and evals are green, and the culprit's boundary holds in fresh runs.",
            more=pointers(case),
            seed=seed,
            audit=audit,
        )
    )


def shown(
    case: BisectMessages,
    range_search: RangeSearch,
    trials: Sequence[TrialRow],
    verification: Verification | None,
) -> BisectProgress:
    """What people look at while a bisect is at work."""
    search, finding = range_search.search, range_search.finding
    return BisectProgress(
        check=case.check,
        base=case.base,
        good=case.good,
        bad=case.bad,
        commits=len(range_search.graph),
        known_results=len(range_search.known),
        status=finding.status,
        culprit=finding.culprit,
        confidence=finding.confidence,
        reason=finding.reason,
        p_no_culprit=finding.p_no_culprit,
        p_before_range=finding.p_before_range,
        rounds=finding.rounds,
        bars=bars(search, BARS_SHOWN),
        suspects=tuple(
            Suspected(
                sha=each.sha,
                probability=each.probability,
                subject=case.subjects.get(each.sha, ""),
            )
            for each in finding.suspects[:MOST_SUSPECTS]
        ),
        trials=tuple(_made(row) for row in trials),
        trials_left=range_search.trials_left,
        verification=verification,
        seed=range_search.seed,
        numeric=case.numeric,
        notes=tuple(range_search.notes),
    )


def report(
    account: ReportAccount,
    plan: BisectPlan,
    range_search: RangeSearch | None,
    trials: Sequence[TrialRow],
    verification: Verification | None,
    spec: SpecReport | None,
) -> bytes:
    """Write `incidents/bisect-<id>.json`; without `range_search` nothing was searched yet."""
    search = range_search.search if range_search else None
    return canonical_bytes(
        BisectReport(
            **account.told,
            seed=range_search.seed if range_search else None,
            searched=Searched(
                base_branch=account.case.base,
                bad=plan.bad,
                goods=search.graph.goods if search else ((plan.good,) if plan.good else ()),
                check=plan.check,
                numeric=plan.numeric,
                commits=len(search.graph) if search else 0,
            ),
            known_results=len(range_search.known) if range_search else 0,
            finding=finding_of(search) if search else None,
            stopped=account.result.stopped,
            trials=(
                *(range_search.remembered if range_search else ()),
                *(_made(row) for row in trials),
            ),
            verification=verification,
            fix=account.result.refs,
            spec=spec,
            log=log_lines(search) if search else (),
            earlier_logs=tuple(range_search.earlier) if range_search else (),
        )
    )


def spec_report(
    case: BisectMessages,
    trigger: Trigger,
    verification: Verification,
    trials: Sequence[TrialRow],
    counting: Counting,
    tally: CheckTally | None,
    *,
    run: str,
    seed: str | None,
    base_head: str,
    head: str | None,
) -> SpecReport:
    """Say what the fix must achieve, and what is observed by now.

    Args:
        case: the facts.
        trigger: who asked.
        verification: the fresh runs.
        trials: every trial, for their metrics.
        counting: the checks that decide about the fix.
        tally: what they say by now; None before they could.
        run: the Run's id.
        seed: the search's seed; None where nothing is drawn.
        base_head: the commit the fix was computed on.
        head: the fix's commit; unknown within that commit itself.
    """
    rows = tally.rows if tally else ()
    culprit = case.offenders[0].sha[:12]
    boundary = f"{culprit} fails and its parents pass"
    cured = f"the bad end passes with {culprit} reverted"
    if case.metric is not None:
        boundary = f"{culprit} has the worse {case.metric}, and its parents do not"
        cured = f"the bad end has the {case.metric} of before with {culprit} reverted"
    spec = [
        _checked(name, number, case.broken_check, counting, rows)
        for number, name in enumerate(counting.names, 1)
    ]
    for name, statement, observed in (
        ("boundary", boundary, verification.boundary),
        ("revert", cured, verification.revert),
    ):
        spec.append(
            Requirement(
                id=name,
                statement=f"{statement}, in fresh runs",
                kind="regression",
                check=case.broken_check,
                expectation="confirmed",
                observed=observed,
                verdict=_verdict_of(observed),
            )
        )
    return SpecReport(
        incident=case.incident,
        run=run,
        repository=case.repository,
        repository_id=str(trigger.repository.id),
        seed=seed,
        pull_request=case.pull_request,
        base=Point(branch=case.base, sha=base_head),
        head=Point(branch=case.branch, sha=head),
        spec=tuple(spec),
        metrics=tuple(
            TrialMetric(
                trial=r.name, sha=r.sha, outcome=r.outcome, seconds=r.seconds, metrics=r.metrics
            )
            for r in trials
        ),
        summary=summary_of(spec),
    )


_OBSERVED = {
    State.MISSING: (None, Met.UNKNOWN),
    State.RUNNING: (None, Met.UNKNOWN),
    State.PASSED: ("success", Met.MET),
    State.SKIPPED: ("skipped", Met.UNKNOWN),
    State.FAILED: ("failure", Met.UNMET),
    State.INFRA: ("did not finish", Met.UNKNOWN),
}


def _checked(
    name: str, number: int, signal: str | None, counting: Counting, rows: Sequence[CheckRow]
) -> Requirement:
    row = next((each for each in rows if each.name == name), None)
    observed, verdict = _OBSERVED[row.state] if row else (None, Met.UNKNOWN)
    is_signal = name == signal
    kind = "regression" if is_signal else "smoke" if name in counting.smoke else "eval"
    return Requirement.model_validate(
        {
            "id": f"check-{number}",
            "statement": f"{name} passes on the fix"
            + (", the check that opened the incident" if is_signal else ""),
            "kind": kind,
            "check": name,
            "expectation": "success",
            "observed": observed,
            "verdict": verdict,
            "evidence": row.url if row else None,
        }
    )


def _verdict_of(checked: str) -> Met:
    return {"confirmed": Met.MET, "refuted": Met.UNMET}.get(checked, Met.UNKNOWN)


def _made(row: TrialRow) -> TrialMade:
    return TrialMade.model_validate(
        {
            "name": row.name,
            "sha": row.sha,
            "why": row.why,
            "outcome": row.outcome,
            "reason": row.reason,
            "seconds": row.seconds,
            "workflow_run": str(row.run_id),
            "url": row.url,
            "metrics": row.metrics,
        }
    )
