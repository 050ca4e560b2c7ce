"""Judging a shadow: may a ramp be proposed? Users see nothing of it, so what is odd is held."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.canary.judge import describe
from bot.canary.shadow import ShadowEvidence
from bot.canary.verdict import Continue, Crossed, Hold, Promote, Verdict, crossing_breach
from bot.canary.wording import CLAIMS, unproven


def judge_shadow(
    evidence: ShadowEvidence, *, started: datetime, last_seen: datetime | None, now: datetime
) -> Verdict:
    """Judge a shadow now. `Promote` means: propose a ramp; its percent is the first stage's.

    Args:
        evidence: of this shadow.
        started: when mirroring began.
        last_seen: when the last observation was accepted; None: never.
        now: the time of judging.
    """
    crossed = {
        name: Crossed(metric.worse, CLAIMS[name])
        for name, metric in evidence.metrics.items()
        if metric.worse.crossed
    }
    breach = crossing_breach(crossed)
    if breach is not None:
        return breach
    wrong = _wrong(evidence, started, last_seen, now)
    missing = _missing(evidence)
    if now - started >= timedelta(hours=evidence.policy.shadow.max_hours) and missing:
        wrong.append(f"No verdict after {describe(now - started)} of mirroring.")
    if wrong:
        return Hold((*wrong, *missing))
    return Continue(tuple(missing)) if missing else Promote(evidence.policy.phases[0].percent)


def _wrong(
    evidence: ShadowEvidence, started: datetime, last_seen: datetime | None, now: datetime
) -> list[str]:
    """Say what keeps the shadow from being trusted or from going on."""
    policy, shadow = evidence.policy, evidence.policy.shadow
    wrong: list[str] = []
    quiet = now - max(started, last_seen or started)
    if quiet > policy.max_silence:
        wrong.append(f"No observation for {describe(quiet)}: is the mirror still on?")
    if evidence.dropouts.crossed:
        alone = evidence.alone
        wrong.append(
            f"One side goes missing more often: {alone.candidate} requests were answered by the "
            f"candidate only, {alone.baseline} by the baseline only."
        )
    if evidence.extra_cost > shadow.max_extra_cost_usd:
        wrong.append(
            f"The candidate's answers cost {evidence.extra_cost:.2f} USD; "
            f"{shadow.max_extra_cost_usd:g} is the cap."
        )
    coverage = evidence.coverage
    enough = evidence.pairs >= shadow.min_pairs
    if coverage is not None and enough and coverage < shadow.min_coverage:
        wrong.append(
            f"Only {coverage:.1%} of mirrored requests have both answers; "
            f"{shadow.min_coverage:.1%} are needed."
        )
    if evidence.frozen is not None and not evidence.metrics:
        wrong.append("None of the policy's metrics is reported.")
    return wrong


def _missing(evidence: ShadowEvidence) -> list[str]:
    least = evidence.policy.shadow.min_pairs
    missing = (
        []
        if evidence.pairs >= least
        else [f"{evidence.pairs:,} of {least:,} requests answered by both."]
    )
    chosen = dict(evidence.policy.metrics.chosen())
    for name, metric in evidence.metrics.items():
        if metric.within.log_e < metric.within.limit:
            rule, proof = chosen[name], metric.within
            missing.append(unproven(name, rule, proof.log_e, proof.limit))
    return missing
