"""Which bench a bisect's commits are tried on: the configuration says."""

from __future__ import annotations

from datetime import timedelta

from bot.playbooks.bisect.bench import TrialRunner
from bot.playbooks.bisect.hidden import hidden_folder
from bot.playbooks.bisect.in_sandbox import SandboxTrialRunner
from bot.playbooks.bisect.on_actions import ActionsTrialRunner
from bot.playbooks.bisect.overlay import TestOverlay
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.parts import Resources
from bot.triggers import Trigger

_CLOCKS_DIFFER = timedelta(minutes=10)
"""GitHub's clock and ours."""


def trial_runner_for(
    plan: BisectPlan, parts: Resources, trigger: Trigger, *, run: str, incident: str
) -> TrialRunner:
    """Set up the configured bench; nothing is touched before the first trial."""
    settings = plan.config.bisect
    if settings.runner == "sandbox":
        return SandboxTrialRunner(parts.pool, parts.mirror, plan, run=run)
    workflow = [f".github/workflows/{settings.workflow}"] if settings.workflow else []
    overlay = TestOverlay(
        parts.mirror,
        parts.github.git,
        branch=plan.default_branch,
        paths=(*workflow, *settings.overlay),
        folder=hidden_folder(incident),
    )
    return ActionsTrialRunner(
        parts.github, plan, overlay, run=run, since=trigger.received_at - _CLOCKS_DIFFER
    )
