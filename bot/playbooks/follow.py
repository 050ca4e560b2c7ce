"""Seeing a hotfix through: look, decide, act, wait; until it is merged, closed or given up.

Deliveries only say "look again": everything is decided from what GitHub shows at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, Protocol

from bot.github.client import RepositoryClient
from bot.github.errors import Unprocessable
from bot.github.merging import HeadMoved, Merged, NotYet
from bot.github.models import BranchRules, CheckResult, MergeMethod, PullRequest, Review
from bot.playbooks.checks import Counting, Tally, tally
from bot.playbooks.hotfix import Hotfix
from bot.playbooks.merging import (
    Ask,
    Enqueue,
    Finish,
    Merge,
    Refit,
    Terms,
    View,
    Wait,
    next_move,
)
from bot.playbooks.run import Run, SignalKind
from bot.triggers import Actor, Value


@dataclass(frozen=True)
class Patience:
    """How long to wait: for a look without a delivery, and for a person, before giving up."""

    look_again: timedelta = timedelta(minutes=2)
    give_up: timedelta = timedelta(days=14)


class Followed(Value):
    """How it ended."""

    how: Literal["merged", "closed", "cancelled", "cured elsewhere", "given up"]
    at: datetime
    tally: Tally
    hotfix: Hotfix
    sha: str | None = None
    method: Literal["merge", "squash", "rebase", "queue", "by hand"] = "by hand"
    by: Actor | None = None


class MergeAnswer(Value):
    """What came of asking GitHub to merge."""

    sha: str | None = None
    refused: str | None = None


class Owner(Protocol):
    """The playbook whose hotfix is followed: it knows the words, and how to compute it again."""

    async def tell(self, move: Wait | Ask, view: View, deadline: datetime) -> None:
        """Tell people where it stands; called for every look that ends in waiting."""

    async def green(self, view: View) -> None:
        """Say on the hotfix itself that it is verified; called before it is merged."""

    async def refit(self, hotfix: Hotfix, view: View) -> Hotfix | None:
        """Make the hotfix fit the moved base; None where there is nothing left to do."""

    def message(self) -> tuple[str, str]:
        """Title and body of the merge commit."""


async def follow(
    run: Run,
    owner: Owner,
    github: RepositoryClient,
    *,
    pull_request: int,
    hotfix: Hotfix,
    counting: Counting,
    preferred: MergeMethod | None,
    waiting_time: timedelta,
    patience: Patience,
    conflict: bool,
) -> Followed:
    """Follow one hotfix pull request to its end.

    Args:
        run: the Run this is part of.
        owner: the playbook.
        github: the repository.
        pull_request: its number.
        hotfix: what was published.
        counting: the checks that decide.
        preferred: the configured merge method; None takes the first the rules allow.
        waiting_time: how long checks may take before a person is asked.
        patience: the other waits.
        conflict: whether a person has to resolve the change first.
    """
    began = await run.now()
    deadline = began + waiting_time
    refused: str | None = None
    merged_as: Literal["merge", "squash", "rebase", "queue", "by hand"] = "by hand"
    while True:
        view = await run.step(
            "look at the hotfix", View, lambda _: look(github, pull_request, counting)
        )
        now = await run.now()
        terms = Terms(
            commit=hotfix.commit,
            base=hotfix.base_head,
            counting=counting,
            deadline=deadline,
            conflict=conflict,
            merge_refused=refused,
        )
        move = next_move(view, terms, now)
        if isinstance(move, Finish):
            return Followed(
                how="merged" if move.merged else "closed",
                at=now,
                tally=view.tally,
                hotfix=hotfix,
                sha=move.sha,
                method=merged_as,
            )
        if isinstance(move, Refit):
            fitted = await owner.refit(hotfix, view)
            if fitted is None:
                return Followed(how="cured elsewhere", at=now, tally=view.tally, hotfix=hotfix)
            if fitted.commit != hotfix.commit:
                deadline = now + waiting_time
            hotfix = fitted
            continue
        if isinstance(move, Merge | Enqueue):
            await owner.green(view)
        if isinstance(move, Merge):
            answer = await run.step(
                "merge the hotfix",
                MergeAnswer,
                partial(
                    _merge,
                    github,
                    pull_request,
                    move.head,
                    view.methods,
                    preferred,
                    owner.message(),
                ),
            )
            if answer.sha:
                merged_as = _method(view.methods, preferred).value
            refused = answer.refused
            continue
        if isinstance(move, Enqueue):
            answer = await run.step(
                "put the hotfix into the merge queue",
                MergeAnswer,
                partial(_enqueue, github, pull_request, move.head),
            )
            merged_as, refused = "queue", answer.refused
            continue
        await owner.tell(move, view, deadline)
        signal = await run.wait(patience.look_again.total_seconds())
        refused = None
        if signal is not None and signal.kind is SignalKind.CANCEL:
            return Followed(
                how="cancelled", at=now, tally=view.tally, hotfix=hotfix, by=signal.actor
            )
        if signal is not None and signal.kind is SignalKind.RETRY:
            deadline = await run.now() + waiting_time
        if now - began > patience.give_up:
            return Followed(how="given up", at=now, tally=view.tally, hotfix=hotfix)


async def look(github: RepositoryClient, number: int, counting: Counting) -> View:
    """Read everything that decides what to do next with a hotfix."""
    pull = await github.pulls.get(number)
    if pull.is_merged or pull.state == "closed":
        results: tuple[CheckResult, ...] = await github.checks.results(pull.head.sha)
        return View(
            pull_request="merged" if pull.is_merged else "closed",
            merge_sha=pull.merge_commit_sha if pull.is_merged else None,
            draft=pull.draft,
            head=pull.head.sha,
            base_head=pull.base.sha,
            conflicts=False,
            tally=tally(counting, results),
        )
    rules = await github.branch_rules(pull.base.ref)
    results = await github.checks.results(pull.head.sha)
    missing = await _approvals_missing(github, pull, rules)
    queued = rules.merge_queue and await github.merging.queue_entry(pull) is not None
    return View(
        pull_request="open",
        draft=pull.draft,
        head=pull.head.sha,
        base_head=await github.git.head(pull.base.ref),
        conflicts=pull.mergeable is False and pull.mergeable_state == "dirty",
        tally=tally(counting, results),
        approvals_missing=missing,
        reviewers=tuple(user.login for user in pull.requested_reviewers),
        queue="waiting" if queued else "required" if rules.merge_queue else "none",
        methods=tuple(method.value for method in rules.merge_methods),
        up_to_date_required=rules.strict,
    )


async def _approvals_missing(
    github: RepositoryClient, pull: PullRequest, rules: BranchRules
) -> int:
    if not rules.required_reviews:
        return 0
    return max(rules.required_reviews - approvals(await github.pulls.reviews(pull.number)), 0)


def approvals(reviews: tuple[Review, ...]) -> int:
    """How many people approve by their latest review that says yes or no."""
    latest: dict[str, str] = {}
    for review in reviews:
        if review.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            latest[review.user.login] = review.state
    return sum(state == "APPROVED" for state in latest.values())


def _method(allowed: tuple[str, ...], preferred: MergeMethod | None) -> MergeMethod:
    if preferred is not None and preferred.value in allowed:
        return preferred
    order = (MergeMethod.SQUASH, MergeMethod.REBASE, MergeMethod.MERGE)
    return next((method for method in order if method.value in allowed), MergeMethod.MERGE)


async def _merge(
    github: RepositoryClient,
    number: int,
    head: str,
    allowed: tuple[str, ...],
    preferred: MergeMethod | None,
    message: tuple[str, str],
    look_first: bool,
) -> MergeAnswer:
    title, body = message
    outcome = await github.merging.merge(
        number,
        head_sha=head,
        method=_method(allowed, preferred),
        title=f"{title} (#{number})",
        message=body,
        look_first=look_first,
    )
    match outcome:
        case Merged(sha=sha):
            return MergeAnswer(sha=sha)
        case NotYet(reason=reason):
            return MergeAnswer(refused=reason)
        case HeadMoved():
            return MergeAnswer()


async def _enqueue(github: RepositoryClient, number: int, head: str, _: bool) -> MergeAnswer:
    pull = await github.pulls.get(number)
    try:
        await github.merging.enqueue(pull, head_sha=head)
    except Unprocessable as refusal:
        return MergeAnswer(refused=str(refusal))
    return MergeAnswer()
