"""Judging a ramp: continue, hold, breach or promote. Times are given, never read.

Any anomaly in a ramp is a breach, silence included; only evidence that is merely inconclusive
is held (Decisions 8 of the design).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.canary.evidence import SAMPLE_RATIO, Metered, RampEvidence
from bot.canary.policy import Policy
from bot.canary.revenue import ENOUGH
from bot.canary.verdict import Breach, Continue, Crossed, Hold, Promote, Verdict, crossing_breach
from bot.canary.wording import CLAIMS, NAMES, unproven


def judge_ramp(
    evidence: RampEvidence, *, entered: datetime, last_seen: datetime | None, now: datetime
) -> Verdict:
    """Judge a ramp now. Ask again at every batch and, for silence, every so often.

    Args:
        evidence: of this ramp.
        entered: when this phase's split was served first.
        last_seen: when the last observation was accepted; None: never.
        now: the time of judging.
    """
    policy, phase = evidence.policy, evidence.phase
    breach = _crossed(evidence) or _silent(policy, entered, last_seen, now)
    if breach is not None:
        return breach
    waiting = _missing(evidence, now - entered)
    if not waiting:
        return Promote(_next_percent(evidence))
    if now - entered < phase.max_bake + _maturity(evidence):
        return Continue(tuple(waiting))
    late = f"No verdict after {describe(now - entered)} at {phase.percent}%."
    if policy.on_inconclusive == "rollback":
        return Breach("inconclusive", " ".join([late, *waiting]))
    return Hold((late, *waiting))


def _crossed(evidence: RampEvidence) -> Breach | None:
    """A split that is not the configured one comes first: it spoils every comparison."""
    crossed: dict[str, Crossed] = {}
    if evidence.sample_ratio.crossed:
        crossed[SAMPLE_RATIO] = Crossed(evidence.sample_ratio, _split_claim(evidence))
    for name, metric in evidence.metrics.items():
        if metric.worse.crossed:
            crossed[name] = Crossed(metric.worse, CLAIMS[name], metric.comparison.unit)
    for name, limit in evidence.limits.items():
        if limit.process.crossed:
            what = "fail" if limit.seconds is None else f"take longer than {limit.seconds:g} s"
            claim = f"More than {100 * limit.share:.3g}% of the candidate's requests {what}"
            crossed[name] = Crossed(limit.process, claim)
    return crossing_breach(crossed)


def _split_claim(evidence: RampEvidence) -> str:
    here = evidence.here
    return (
        f"Traffic is not split as configured ({evidence.phase.percent}% for the candidate; "
        f"seen in this stage: {here.candidate} of {here.baseline + here.candidate})"
    )


def _silent(
    policy: Policy, entered: datetime, last_seen: datetime | None, now: datetime
) -> Breach | None:
    quiet = now - max(entered, last_seen or entered)
    if quiet <= policy.max_silence:
        return None
    return Breach(
        "silence",
        f"No observation for {describe(quiet)}; {describe(policy.max_silence)} is the limit.",
    )


def _missing(evidence: RampEvidence, baked: timedelta) -> list[str]:
    """Say what is missing for a promotion, a sentence each."""
    phase, here = evidence.phase, evidence.here
    chosen = dict(evidence.policy.metrics.chosen())
    missing: list[str] = []
    if baked < phase.min_bake:
        missing.append(f"It is watched for at least {describe(phase.min_bake - baked)} more.")
    fewest = here.smaller if phase.controlled else here.candidate
    whom = "each provider" if phase.controlled else "the candidate"
    if fewest < phase.min_n:
        missing.append(f"{fewest:,} of {phase.min_n:,} observations of {whom} in this stage.")
    for name, metric in evidence.metrics.items():
        if name != "roas" and _unseen(metric, controlled=phase.controlled):
            missing.append(f"Nobody reported {NAMES[name]} in this stage.")
        if phase.controlled and metric.within.log_e < metric.within.limit:
            rule, proof = chosen[name], metric.within
            missing.append(unproven(name, rule, proof.log_e, proof.limit))
    if phase.controlled and evidence.awaits_revenue and evidence.revenue.seen:
        seen = evidence.revenue.seen
        missing.append(
            f"ROAS: revenue is known of {seen:,} of the baseline's requests; {ENOUGH} are needed."
        )
    return missing


def _unseen(metric: Metered, *, controlled: bool) -> bool:
    return (metric.here.smaller if controlled else metric.here.candidate) == 0


def _maturity(evidence: RampEvidence) -> timedelta:
    """Revenue cannot be judged before its attribution window is over."""
    roas = evidence.policy.metrics.roas
    known = "roas" in evidence.metrics or evidence.revenue.seen > 0
    return roas.maturity if roas is not None and known else timedelta(0)


def _next_percent(evidence: RampEvidence) -> int | None:
    phases = evidence.policy.phases
    return None if evidence.last else phases[phases.index(evidence.phase) + 1].percent


def describe(length: timedelta) -> str:
    """Write a length of time as people say it: `2 h 5 min`."""
    seconds = round(length.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
