"""The plan to shadow a candidate again after it was rolled back: whether, why and how. Pure."""

from __future__ import annotations

from bot.canary.baseline import ArmSummary, FrozenBaseline
from bot.canary.messages import CLAIMS
from bot.canary.policy import Policy
from bot.canary.ramp_evidence import SAMPLE_RATIO, RampEvidence
from bot.canary.sample_size import pairs_needed
from bot.records.documents.rollback_report import Anomaly, Reshadow

BROKEN_DATA = frozenset({SAMPLE_RATIO, "silence"})
"""What speaks against the data, and says nothing of the candidate."""
FEWEST_FAILURES = 5
"""Fewer failures of the baseline are no sign that both providers failed."""


def plan_reshadow(
    capability: str,
    candidate: str,
    policy: Policy,
    anomaly: Anomaly,
    evidence: RampEvidence | None,
    frozen: FrozenBaseline | None,
    *,
    salt: str,
) -> Reshadow:
    """Say whether the candidate has to be shadowed anew before it may be ramped again.

    Args:
        capability: what it was to provide.
        candidate: the provider.
        policy: the one it was judged by.
        anomaly: why it was rolled back.
        evidence: of the ramp; None where it was only shadowed.
        frozen: what the shadow taught of the baseline.
        salt: of the next split.
    """
    again = f"/ramp {capability}"
    if anomaly.metric in BROKEN_DATA:
        return Reshadow(
            needed=False,
            reason="The data was broken; nothing was learned about the candidate. Mend what "
            "reports it, then ramp again.",
            failing_metric=None,
            min_pairs=None,
            salt=salt,
            command=again,
        )
    if evidence is not None and frozen is not None and _both_failed(policy, evidence, frozen):
        return Reshadow(
            needed=False,
            reason="The baseline failed as well, so the cause lies elsewhere. Ramp again once the "
            "baseline is healthy.",
            failing_metric=None,
            min_pairs=None,
            salt=salt,
            command=again,
        )
    failing = _failing(anomaly, evidence)
    least = policy.shadow.min_pairs
    if evidence is not None and failing is not None:
        least = pairs_needed(policy, evidence.metrics[failing], evidence.arms)
    return Reshadow(
        needed=True,
        reason=_why(anomaly, failing),
        failing_metric=failing,
        min_pairs=least,
        salt=salt,
        command=f"/shadow {capability} {candidate}",
    )


def _why(anomaly: Anomaly, failing: str | None) -> str:
    if failing is not None:
        return f"{CLAIMS[failing]}, and the shadow before did not show it."
    if anomaly.metric == "inconclusive":
        return "The evidence stayed inconclusive; a longer shadow can tell."
    return "What went wrong was not seen in the shadow before."


def _failing(anomaly: Anomaly, evidence: RampEvidence | None) -> str | None:
    """Name the metric that crossed its limit; an absolute limit counts as the metric it is of."""
    if evidence is None or anomaly.metric is None:
        return None
    name = anomaly.metric.removesuffix("_slo")
    return name if name in evidence.metrics else None


def _both_failed(policy: Policy, evidence: RampEvidence, frozen: FrozenBaseline) -> bool:
    """Tell whether the baseline fails far more than in the shadow, and the candidate no worse."""
    if any(metric.worse.crossed for metric in evidence.metrics.values()):
        return False
    rule, usual = policy.metrics.error, frozen.error_rate
    if rule is None or usual is None:
        return False
    return _fails_beyond(evidence.arms.baseline, max(usual * rule.margin_ratio, rule.slo_max or 0))


def _fails_beyond(arm: ArmSummary, share: float) -> bool:
    return arm.failed >= FEWEST_FAILURES and arm.failed > share * arm.judged
