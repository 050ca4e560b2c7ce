"""Which bench a bisect's commits are tried on: the configuration says."""

from __future__ import annotations

from datetime import timedelta

from bot.playbooks.bisect.bench import Bench
from bot.playbooks.bisect.hidden import hidden_folder
from bot.playbooks.bisect.in_sandbox import SandboxBench
from bot.playbooks.bisect.on_actions import ActionsBench
from bot.playbooks.bisect.overlay import Overlay
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.parts import Parts
from bot.triggers import Trigger

_CLOCKS_DIFFER = timedelta(minutes=10)
"""GitHub's clock and ours."""


def bench_for(
    plan: BisectPlan, parts: Parts, trigger: Trigger, *, run: str, incident: str
) -> Bench:
    """Set up the configured bench; nothing is touched before the first trial."""
    settings = plan.config.bisect
    if settings.runner == "sandbox":
        return SandboxBench(parts.pool, parts.mirror, plan, run=run)
    workflow = [f".github/workflows/{settings.workflow}"] if settings.workflow else []
    overlay = Overlay(
        parts.mirror,
        parts.github.git,
        branch=plan.default_branch,
        paths=(*workflow, *settings.overlay),
        folder=hidden_folder(incident),
    )
    return ActionsBench(
        parts.github, plan, overlay, run=run, since=trigger.received_at - _CLOCKS_DIFFER
    )
