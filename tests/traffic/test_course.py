"""The course of a shadow or ramp: interrupted anywhere, the same evidence and the same curve."""

from __future__ import annotations

import numpy as np

from bot.canary.judge import Breach
from bot.canary.observations import Observation
from bot.traffic.evaluation import RampEvaluation, ShadowEvaluation
from bot.traffic.evidence_log import LogEntry, pack
from tests.canary.traffic import frozen, only, policy
from tests.traffic.trials import CAPABILITY, START, after, paired

POLICY = policy(metrics=only("error"), shadow={"min_pairs": 400})


def entries() -> list[LogEntry]:
    return [
        LogEntry(
            seq=number + 1,
            kind="observations",
            at=after(number),
            content=pack(list(paired(100, errors=0.3, seed=number, at=after(number)))),
        )
        for number in range(8)
    ]


def test_a_shadow_that_was_interrupted_draws_the_same_curve() -> None:
    at_once, resumed = ShadowEvaluation(POLICY, START), ShadowEvaluation(POLICY, START)
    for entry in entries():
        at_once.take(entry, {})
        resumed.take(entry, {})
        written, resumed = resumed.save(), ShadowEvaluation(POLICY, START)
        resumed.restore(written)
    assert at_once.breach is not None
    assert resumed.curve.points == at_once.curve.points
    last = at_once.curve.points[-1].log_e
    assert last["error"] >= at_once.evidence.metrics["error"].worse.limit
    assert last["dropouts"] == 0.0


def test_a_candidate_that_is_far_quicker_is_no_wrong_split() -> None:
    """Its first answers of a stage are there long before the baseline's."""
    rng, stage, percents = np.random.default_rng(5), 15, {1: 5, 2: 25}
    begun = np.sort(rng.uniform(0, 2 * stage, 300 * 2 * stage))
    generation = 1 + (begun >= stage)
    candidate = rng.random(len(begun)) < np.where(generation == 1, 0.05, 0.25)
    latency = np.where(candidate, 0.5, 3.0) * np.exp(rng.normal(0, 0.3, len(begun)))
    done = begun + latency
    learned = frozen().model_copy(
        update={"latency": tuple(3.0 * np.exp(np.linspace(-0.7, 0.7, 256)))}
    )
    course = RampEvaluation(policy(metrics=only("error")), learned, START)
    for second in range(2 * stage):
        if second == stage:
            phase = LogEntry(seq=course.seq + 1, kind="phase", at=after(stage), content=b"1")
            course.take(phase, percents)
        rows = np.flatnonzero((done >= second) & (done < second + 1))
        lines = [
            Observation(
                event_id=str(row),
                capability=CAPABILITY,
                arm="candidate" if candidate[row] else "baseline",
                generation=int(generation[row]),
                time=after(float(done[row])),
                latency=float(latency[row]),
                error=False,
            )
            for row in rows[np.argsort(done[rows])].tolist()
        ]
        at = after(second + 1)
        content = pack(lines)
        entry = LogEntry(seq=course.seq + 1, kind="observations", at=at, content=content)
        course.take(entry, percents)
        assert not isinstance(course.judge(at), Breach), (second, course.judge(at))
        written, course = course.save(), RampEvaluation(course.evidence.policy, learned, START)
        course.restore(written)
    # What was left out at the edges of the stages is no evidence, and is shown all the same.
    assert course.evidence.assigned.candidate < course.evidence.arms.candidate.n
