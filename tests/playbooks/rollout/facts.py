"""The facts of a shadow, ramp and rollback whose words are read in snapshots."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from bot.canary.judge import Breach, Continue, Promote
from bot.canary.ramp_evidence import RampEvidence
from bot.canary.report import (
    CurvePoint,
    MetricReport,
    RampReport,
    ReportSubject,
    ShadowDiffReport,
    StageReport,
    WatchedSpan,
    ramp_report,
    shadow_report,
)
from bot.canary.shadow_evidence import ShadowEvidence
from bot.playbooks.ramp.messages import RampMessages
from bot.playbooks.rollout.messages import RolloutMessages
from bot.triggers import Actor, ActorKind, Severity
from tests.canary.traffic import frozen, only, policy, ramp_columns, shadow_pairs

ALICE = Actor(kind=ActorKind.PERSON, login="alice")
BOB = Actor(kind=ActorKind.PERSON, login="bob")
ALERTS = Actor(kind=ActorKind.MACHINE, login="alertmanager")
ID = "01k0000000000000000000000a"
START = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
WINDOW = WatchedSpan(start=START, end=START + timedelta(minutes=40))
SUBJECT = ReportSubject(ID, "llm.summarize", "provider-b", WINDOW, "0" * 64)
POLICY = policy(metrics=only("error") | {"cost": {"alpha": 0.005}}, seed="20260101")
BREACH = Breach(
    "error",
    "The candidate fails more often than tolerated. By chance alone that is seen at most once in "
    "75 tries (the limit: once in 67 tries), here after 812 observations.",
    4.3,
    4.2,
    ("latency_p95",),
)


def case_of(kind: str, **more: Any) -> dict[str, Any]:
    """The facts that every text needs."""
    return {
        "kind": kind,
        "proposal": "fix",
        "incident": ID,
        "repository": "acme/shop",
        "repository_url": "https://github.example/acme/shop",
        "requested_by": ALICE,
        "reason": "",
        "severity": Severity.LOW,
        "base": "main",
        "branch": f"fix/{kind}-{ID}",
        "adr": f"docs/decisions/20260501-{ID}-{kind}.md",
        "artifact": f"reports/{kind}-{ID}.json",
        "records_branch": "playbooks/records",
        "issue": 7,
        "published": True,
        "audit_head": "9:0123456789ab",
        "capability": "llm.summarize",
        "baseline": "provider-a",
        "candidate": "provider-b",
        "policy": "1" * 64,
        **more,
    }


def shadow_case() -> RolloutMessages:
    """A shadow."""
    return RolloutMessages.model_validate(case_of("shadow"))


def ramp_case(**more: Any) -> RampMessages:
    """A ramp."""
    facts = {"shadow": "01k0000000000000000000000s", "shadow_report": "reports/shadow.json"}
    return RampMessages.model_validate(case_of("ramp") | facts | more)


def rollback_case(**more: Any) -> RolloutMessages:
    """A rollback with its fix."""
    facts = {"severity": Severity.HIGH, "pull_request": 8}
    return RolloutMessages.model_validate(case_of("rollback") | facts | more)


def seen_in_shadow() -> ShadowDiffReport:
    """A candidate that is as good as the baseline."""
    evidence = ShadowEvidence(POLICY)
    rng, points = np.random.default_rng(0), []
    for minute in range(5):
        evidence.add_pairs(shadow_pairs(500, rng))
        log_e = {name: metric.worse.log_e for name, metric in evidence.metrics.items()}
        log_e["dropouts"] = evidence.dropouts.log_e
        points.append(CurvePoint(at=START + timedelta(minutes=minute), log_e=log_e))
    return shadow_report(SUBJECT, evidence, Promote(5), curve=tuple(points))


def seen_in_ramp(**worse: float) -> RampReport:
    """Two stages; worse in the second, if at all."""
    evidence, rng = RampEvidence(POLICY, frozen()), np.random.default_rng(0)
    points = []
    for minute in range(8):
        here = {} if minute < 4 else worse
        evidence.add(ramp_columns(300, rng, percent=5 if minute < 4 else 25, **here))
        log_e = {name: metric.worse.log_e for name, metric in evidence.metrics.items()}
        log_e["sample_ratio"] = evidence.sample_ratio.log_e
        points.append(CurvePoint(at=START + timedelta(minutes=minute), log_e=log_e))
    stages = (
        StageReport(
            stage=5, percent=5, entered=START, left=START + timedelta(minutes=4), n=(1140, 60),
            ended="promote",
        ),
        StageReport(
            stage=25, percent=25, entered=START + timedelta(minutes=4), left=None, n=(900, 300),
            ended="breach" if worse else None,
        ),
    )  # fmt: skip
    return ramp_report(
        SUBJECT,
        evidence,
        BREACH if worse else Continue(("600 more requests",)),
        shadow="01k0000000000000000000000s",
        salt="7",
        stages=stages,
        curve=tuple(points),
    )


def diffs() -> dict[str, MetricReport]:
    """What was compared when it went bad."""
    return seen_in_ramp(errors=0.3).metrics
