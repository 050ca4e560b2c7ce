"""What follows from the evidence: go on, hold, promote, or give the traffic back. Pure.

Any anomaly in a ramp is a breach, silence included; only evidence that is merely inconclusive
is held (docs/decisions/0008).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from bot.canary.eprocess import EProcess
from bot.canary.messages import CLAIMS, NAMES, chance, unproven
from bot.canary.policy import Policy
from bot.canary.ramp_evidence import ENOUGH, SAMPLE_RATIO, Metered, RampEvidence
from bot.canary.shadow_evidence import ShadowEvidence


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on watching.

    `waiting`: what is missing for a promotion, a sentence each; `notices`: what people should know.
    """

    waiting: tuple[str, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """Change nothing and ask a person; evidence goes on being gathered.

    `reasons`: a sentence each; `notices`: what people should know besides.
    """

    reasons: tuple[str, ...]
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Breach:
    """The candidate must go.

    Attributes:
        metric: the metric, `sample_ratio`, a limit such as `error_slo`, or `silence`.
        evidence: one plain sentence.
        log_e: the evidence when it reached the limit, nats; None where no test is involved.
        limit: what it reached, nats.
        also: whatever else crossed its limit.
    """

    metric: str
    evidence: str
    log_e: float | None = None
    limit: float | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promote:
    """Good enough for the next split; `percent` is None where there is none left: now active."""

    percent: int | None


Verdict = Continue | Hold | Breach | Promote


class Crossed(NamedTuple):
    """A process that reached its limit, what it is evidence for, and of what it is made."""

    process: EProcess
    claim: str
    unit: str = "observation"


def crossing_breach(crossed: dict[str, Crossed]) -> Breach | None:
    """Make a breach of the processes that reached their limits; the first is the one named.

    Args:
        crossed: by name.
    """
    if not crossed:
        return None
    name, (process, claim, unit) = next(iter(crossed.items()))
    crossing = process.crossing
    if crossing is None:
        return None
    sentence = (
        f"{claim}. By chance alone that is seen at most {chance(crossing.log_e)} (the limit: "
        f"{chance(process.limit)}), here after {crossing.n:,} "
        f"{unit if crossing.n == 1 else f'{unit}s'}."
    )
    return Breach(name, sentence, crossing.log_e, process.limit, tuple(crossed)[1:])


@dataclass(frozen=True, slots=True)
class Hearing:
    """How observations come in, apart from what they say.

    Attributes:
        awake: since when this process listens without a break; None: always.
        unusual: a silence up to this, seconds, is usual for this traffic.
        sticky: requests with one key stay with one arm, although each should be drawn.
    """

    awake: datetime | None = None
    unusual: float = 0.0
    sticky: bool = False


_ALWAYS = Hearing()


def judge_ramp(
    evidence: RampEvidence,
    *,
    entered: datetime,
    last_seen: datetime | None,
    now: datetime,
    hearing: Hearing = _ALWAYS,
) -> Verdict:
    """Judge a ramp now. Ask again at every batch and, for silence, every so often.

    Args:
        evidence: of this ramp.
        entered: when this phase's split was served first.
        last_seen: when the last observation was accepted; None: never.
        now: the time of judging.
        hearing: how observations come in.
    """
    policy, phase = evidence.policy, evidence.phase
    breach = (
        _crossed(evidence)
        or _over_budget(evidence)
        or _silent(policy, max(entered, last_seen or entered), now, hearing)
    )
    if breach is not None:
        return breach
    notices = _notices(evidence, entered, now, hearing)
    waiting = _missing(evidence, now - entered)
    doubted = [NAMES[name] for name in evidence.doubted if not _proven(evidence, name)]
    if doubted:
        seen = f"Would be beyond its limit, if observations did not repeat: {', '.join(doubted)}."
        return Hold((REPEATS, seen), notices)
    if not waiting:
        return Promote(_next_percent(evidence))
    if now - entered < phase.max_bake + _maturity(evidence):
        return Continue(tuple(waiting), notices)
    late = f"No verdict after {describe(now - entered)} at {phase.percent}%."
    if policy.on_inconclusive == "rollback":
        return Breach("inconclusive", " ".join([late, *waiting]))
    return Hold((late, *waiting), notices)


REPEATS = (
    "Observations repeat: one draw of the split is seen several times, as where clients try again. "
    "Set unit: key, or give all tries of a call the same pair_id, and begin another ramp. Until "
    "then the evidence counts for less."
)
STICKY = (
    "Requests with one key always go to the same provider, although unit: request says that each "
    "is drawn for itself. Only the first request of a key counts. Set unit: key."
)
_AWAY_SAID = timedelta(minutes=10)


def _proven(evidence: RampEvidence, name: str) -> bool:
    if name == SAMPLE_RATIO:
        return evidence.sample_ratio.log_e < evidence.sample_ratio.limit
    return evidence.metrics[name].proven


def _notices(
    evidence: RampEvidence, entered: datetime, now: datetime, hearing: Hearing
) -> tuple[str, ...]:
    """Say what is not the candidate's fault, a sentence or two each; the same as long as it is."""
    said = []
    if hearing.sticky:
        said.append(STICKY)
    if evidence.repeats:
        said.append(REPEATS)
    awake = hearing.awake
    if awake is not None and awake > entered and now - awake <= _AWAY_SAID:
        said.append(f"I was away myself until {awake:%H:%M:%S} UTC: silence counts from then.")
    return tuple(said)


def _over_budget(evidence: RampEvidence) -> Breach | None:
    """The plain rule beside the bets on costs."""
    times, most = evidence.budget.times, evidence.budget.FACTOR
    if "cost" not in evidence.metrics or times is None or times <= most:
        return None
    return Breach(
        "cost_budget",
        f"The candidate's requests cost {times:.1f} times the baseline's, even without its two "
        f"largest; {most:g} times is the limit.",
    )


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
            crossed[name] = Crossed(limit.process, limit.claim)
    return crossing_breach(crossed)


def _split_claim(evidence: RampEvidence) -> str:
    here = evidence.here
    return (
        f"Traffic is not split as configured ({evidence.phase.percent}% for the candidate; "
        f"seen in this stage: {here.candidate} of {here.baseline + here.candidate})"
    )


def _silent(policy: Policy, last: datetime, now: datetime, hearing: Hearing) -> Breach | None:
    """A silence that is longer than allowed and than usual, while we listened."""
    quiet, longest = _quiet(policy, last, now, hearing)
    if quiet <= longest:
        return None
    return Breach(
        "silence", f"No observation for {describe(quiet)}; {describe(longest)} is the limit."
    )


def _quiet(
    policy: Policy, last: datetime, now: datetime, hearing: Hearing
) -> tuple[timedelta, timedelta]:
    """How long nothing was heard, our own absence left out, and how long that may be."""
    since = last if hearing.awake is None else max(min(last, now), hearing.awake)
    return now - since, max(policy.max_silence, timedelta(seconds=hearing.unusual))


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
        if phase.controlled and not metric.proven:
            missing.append(unproven(name, chosen[name], metric.proof, metric.within.limit))
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


def judge_shadow(
    evidence: ShadowEvidence,
    *,
    started: datetime,
    last_seen: datetime | None,
    now: datetime,
    hearing: Hearing = _ALWAYS,
) -> Verdict:
    """Judge a shadow now. `Promote` means: propose a ramp; its percent is the first stage's.

    Args:
        evidence: of this shadow.
        started: when mirroring began.
        last_seen: when the last observation was accepted; None: never.
        now: the time of judging.
        hearing: how observations come in.
    """
    crossed = {
        name: Crossed(metric.worse, CLAIMS[name])
        for name, metric in evidence.metrics.items()
        if metric.worse.crossed
    }
    breach = crossing_breach(crossed)
    if breach is not None:
        return breach
    wrong = _wrong(evidence, max(started, last_seen or started), now, hearing)
    missing = _missing_pairs(evidence)
    if now - started >= timedelta(hours=evidence.policy.shadow.max_hours) and missing:
        wrong.append(f"No verdict after {describe(now - started)} of mirroring.")
    if wrong:
        return Hold((*wrong, *missing))
    return Continue(tuple(missing)) if missing else Promote(evidence.policy.phases[0].percent)


def _wrong(evidence: ShadowEvidence, last: datetime, now: datetime, hearing: Hearing) -> list[str]:
    """Say what keeps the shadow from being trusted or from going on."""
    policy, shadow = evidence.policy, evidence.policy.shadow
    wrong: list[str] = []
    quiet, longest = _quiet(policy, last, now, hearing)
    if quiet > longest:
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


def _missing_pairs(evidence: ShadowEvidence) -> list[str]:
    least = evidence.policy.shadow.min_pairs
    missing = (
        []
        if evidence.pairs >= least
        else [f"{evidence.pairs:,} of {least:,} requests answered by both."]
    )
    chosen = dict(evidence.policy.metrics.chosen())
    for name, metric in evidence.metrics.items():
        if not metric.proven:
            missing.append(unproven(name, chosen[name], metric.proof, metric.within.limit))
    return missing
