"""Is the base branch what was verified, once the hotfix is merged? Decided purely."""

from __future__ import annotations

from typing import Literal

from bot.playbooks.checks.green import CheckTally, State

Confirmation = Literal["cured", "unseen", "not cured", "wait"]


def confirmation(
    *, same_tree: bool, on_base: CheckTally, on_hotfix: CheckTally | None, overdue: bool
) -> Confirmation:
    """Say whether the merged base branch is good.

    Args:
        same_tree: whether its files are exactly those that were verified.
        on_base: what the checks that count say about the merge.
        on_hotfix: what they said about the hotfix; what was waved through there counts no more.
        overdue: whether the time to wait is over.

    Returns:
        "unseen" where nothing reported on the base branch at all: many check only pull requests.
    """
    if same_tree or on_base.verdict == "green":
        return "cured"
    accepted = set(on_hotfix.named(State.FAILED, State.INFRA)) if on_hotfix else set()
    failed = set(on_base.named(State.FAILED, State.INFRA)) - accepted
    waiting = on_base.named(State.MISSING, State.RUNNING)
    if on_base.verdict == "nothing counts":
        return "unseen"
    if waiting and not overdue:
        return "wait"
    if failed or on_base.named(State.RUNNING):
        return "not cured"
    return "unseen" if waiting else "cured"
