"""What a revert and a bisect would do. Pure: a plan in, a preview out."""

from __future__ import annotations

from bot import markdown
from bot.cockpit.previews.preview import Preview, PreviewedStep, as_declared
from bot.git.revert import RevertConflict
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.revert.plan import RevertPlan
from bot.playbooks.steps import MERGE_IRREVERSIBLE, Step

_NAMED = 20
_BEFORE_THE_MERGE = (
    Step.OPEN_INCIDENT_ISSUE,
    Step.PUBLISH_HOTFIX,
    Step.OPEN_HOTFIX_PULL_REQUEST,
)
_FINDING = (Step.OPEN_INCIDENT_ISSUE, Step.PUBLISH_FIX, Step.OPEN_FIX_PULL_REQUEST)


def of_revert(plan: RevertPlan) -> Preview:
    """What a revert would undo, and how."""
    lines = [f"Onto {markdown.code(plan.base)}, now at {markdown.code(plan.base_head[:12])}."]
    for each in plan.offenders[:_NAMED]:
        name = f"#{each.number}" if each.number else markdown.code(each.sha[:12])
        count = len(each.commits)
        commits = "1 commit" if count == 1 else f"{count} commits"
        lines.append(f"Undo {name}, {markdown.text(each.title, limit=200)} ({commits}).")
    steps = as_declared(_BEFORE_THE_MERGE)
    if isinstance(plan.outcome, RevertConflict):
        paths = _named(tuple(each.path for each in plan.outcome.paths))
        lines.append(f"It conflicts in {paths}: a draft for you to finish is opened.")
    else:
        lines.append("It applies cleanly. A hotfix pull request is opened, and merged when green.")
    if plan.irreversible:
        lines.append(
            f"It changes {_named(plan.irreversible)}, which another revert cannot restore: "
            "a Founder decides whether it is merged."
        )
        merge = "Merge the pull request, once a Founder has approved it"
        steps += (PreviewedStep(merge, MERGE_IRREVERSIBLE),)
    else:
        steps += as_declared((Step.MERGE_PULL_REQUEST,))
    if plan.config_fault:
        lines.append(plan.config_fault)
    return Preview("This revert would", tuple(lines), goes_on=True, steps=steps)


def of_bisect(plan: BisectPlan) -> Preview:
    """What a bisect would search, and by what."""
    good = markdown.code(plan.good[:12]) if plan.good else "the last commit where it was green"
    check = markdown.code(plan.check) if plan.check else "what the trials say"
    lines = [
        f"Search between {good} and {markdown.code(plan.bad[:12])} on {markdown.code(plan.base)}, "
        f"by {check}.",
        _trials(plan),
        "Nothing is merged without a person: the culprit's revert is proposed as a pull request.",
    ]
    if plan.config_fault:
        lines.append(plan.config_fault)
    return Preview("This bisect would", tuple(lines), goes_on=True, steps=as_declared(_FINDING))


def _trials(plan: BisectPlan) -> str:
    bisect = plan.config.bisect
    if not bisect.can_try:
        return "No trial workflow is configured: only results that exist already are read."
    by = "your commands in the sandbox"
    if bisect.runner == "actions" and bisect.workflow:
        by = markdown.code(bisect.workflow)
    return f"At most {bisect.trials} trials by {by}, within {bisect.minutes} minutes."


def _named(paths: tuple[str, ...]) -> str:
    shown = ", ".join(markdown.code(path) for path in paths[:_NAMED])
    more = len(paths) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
