"""The course of a shadow: interrupted anywhere, the same evidence and the same curve."""

from __future__ import annotations

from bot.traffic.evaluation import ShadowEvaluation
from bot.traffic.evidence_log import LogEntry, pack
from tests.canary.traffic import only, policy
from tests.traffic.trials import START, after, paired

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
