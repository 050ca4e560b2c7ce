"""Which checks decide about a proposal: read from GitHub once, before it is published."""

from __future__ import annotations

from typing import Any

from bot.github.client import RepositoryClient
from bot.github.models import BranchRules
from bot.playbooks.checks.green import OUR_CHECKS, Counting, which_count
from bot.playbooks.checks.results import checked
from bot.playbooks.steps import Step
from bot.playbooks.work import IncidentWorkflow


async def see_which_checks_count(work: IncidentWorkflow[Any, Any], before: str) -> None:
    """Settle which checks decide about the proposal (Decisions 5).

    Args:
        work: the incident.
        before: the last commit of the base branch before the incident.
    """

    async def count(_: bool) -> Counting:
        github, plan = work.github, work.plan
        rules = await github.rules.for_branch(plan.base, plan.facts)
        found = await checked(github, before)
        return which_count(plan.config.checks, await required(github, rules), found.results)

    work.counting = await work.run.step(Step.CHOOSE_CHECKS, Counting, count)


async def required(github: RepositoryClient, rules: BranchRules) -> tuple[str, ...]:
    """The names of the checks a branch requires of us: not those that we report ourselves."""
    us = (await github.app()).id
    return tuple(
        check.name
        for check in rules.required_checks
        if check.integration_id != us and check.name not in OUR_CHECKS
    )
