"""One look at a hotfix: everything GitHub shows that decides what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from bot.errors import Passing
from bot.git.mirror import Mirror
from bot.github.client import RepositoryClient
from bot.github.errors import NotFound
from bot.github.models import (
    BranchRules,
    CheckKind,
    CheckResult,
    MergeMethod,
    PullRequest,
    QueueEntry,
    Review,
)
from bot.playbooks.checks.green import CheckTally, Counting, State, failing, tally
from bot.playbooks.checks.newest import newest
from bot.playbooks.checks.results import checked
from bot.playbooks.checks.same_failure import (
    CodePlace,
    Failure,
    Failures,
    alike,
    headline,
    joined,
    otherwise,
)
from bot.playbooks.proposal.counting import required
from bot.playbooks.proposal.merge_groups import QueueGroup, left
from bot.playbooks.proposal.merging import PullRequestSnapshot
from bot.playbooks.proposal.previews import with_previews
from bot.playbooks.proposal.rerun_requests import chances, run_by_app
from bot.triggers import Value


class BaseMoves(Passing):
    """The base branch has another name than the pull request said a moment ago: look again."""


async def look(
    github: RepositoryClient,
    number: int,
    counting: Counting,
    *,
    mirror: Mirror,
    before: str,
    broken: str,
    tested: tuple[str, ...] = (),
) -> PullRequestSnapshot:
    """Read a hotfix pull request, its checks and its branch's rules.

    Args:
        github: the repository.
        number: the pull request.
        counting: the checks that decide; what the branch requires by now is added.
        mirror: its history.
        before: the last commit of the base branch before the incident.
        broken: the base branch's head that the hotfix is to mend.
        tested: the commits that its merge queue tested of it, the last one last.
    """
    pull = await github.pulls.get(number)
    results = await github.checks.results(pull.head.sha)
    verdicts = tally(counting, results)
    if pull.is_merged or pull.state == "closed":
        return PullRequestSnapshot(
            pull_request="merged" if pull.is_merged else "closed",
            merge_sha=pull.merge_commit_sha if pull.is_merged else None,
            draft=pull.draft,
            head=pull.head.sha,
            base_head=pull.base.sha,
            base_ref=pull.base.ref,
            conflicts=False,
            tally=(await with_previews(github, counting, pull.head.sha, verdicts)).tally,
        )
    try:
        rules = await github.branch_rules(pull.base.ref)
        base_head = await github.git.head(pull.base.ref)
    except NotFound as error:
        raise BaseMoves(f"{pull.base.ref} is being renamed or removed") from error
    named = await required(github, rules)
    counting = counting.with_required(named, rules.required_deployments, rules.pins)
    verdicts = tally(counting, results)
    previewed = await with_previews(github, counting, pull.head.sha, verdicts)
    compared = await _compare(github, results, before=before, broken=broken, tally=verdicts)
    failed = verdicts.named(State.FAILED) if verdicts.verdict == "red" else ()
    again = run_by_app(results, failed)
    reviewed = rules.pull_request_required or not rules.complete
    reviews = await github.pulls.reviews(number) if reviewed else ()
    entry = await github.merging.queue_entry(pull) if rules.merge_queue else None
    group = QueueGroup(commit=entry.head_sha) if entry and entry.head_sha else None
    if rules.merge_queue and entry is None and tested:
        group = await left(github, mirror, tested, named, before)
    behind = pull.mergeable_state == "behind"
    return PullRequestSnapshot(
        pull_request="open",
        draft=pull.draft,
        head=pull.head.sha,
        base_head=base_head,
        base_ref=pull.base.ref,
        conflicts=pull.mergeable is False and pull.mergeable_state == "dirty",
        tally=previewed.tally,
        previews_hidden=previewed.hidden,
        red_before=compared.before,
        red_on_base=compared.on_base,
        red_otherwise=compared.otherwise,
        unseen_on_base=compared.unseen_on_base,
        chances=await chances(github, mirror, again, results, (pull.head.sha,), before),
        only_statuses=tuple(name for name in failed if name not in again),
        required=named,
        approvals_missing=max(rules.required_reviews - len(_said(reviews, "APPROVED")), 0),
        code_owners_review=rules.code_owner_review,
        reviewers=_asked(pull),
        reviews_required=rules.required_reviews > 0,
        changes_wanted_by=_said(reviews, "CHANGES_REQUESTED"),
        queue="waiting" if entry else "required" if rules.merge_queue else "none",
        queued_since=entry.since if entry else None,
        queue_takes_yet=_takes_yet(entry),
        group=group,
        methods=tuple(method.value for method in best_first(rules)),
        up_to_date_required=rules.strict or behind,
        behind=behind,
    )


class _Compared(Value):
    """Which checks that failed elsewhere fail in the same way here, and which otherwise."""

    before: tuple[str, ...] = ()
    on_base: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()
    unseen_on_base: tuple[str, ...] = ()


async def _compare(
    github: RepositoryClient,
    results: Sequence[CheckResult],
    *,
    before: str,
    broken: str,
    tally: CheckTally,
) -> _Compared:
    names = tally.named(State.FAILED)
    if tally.verdict != "red":
        return _Compared()
    here = await read_failures(github, results, names)
    on_before = await read_failures(github, (await checked(github, before)).results, names)
    base = (await checked(github, broken)).results
    on_base = await read_failures(github, base, names)
    ended = {each.name for each in base if each.is_completed}
    return _Compared(
        before=alike(on_before, here),
        on_base=alike(on_base, here),
        otherwise=otherwise(on_base, here),
        unseen_on_base=tuple(name for name in names if name not in ended),
    )


async def read_failures(
    github: RepositoryClient, results: Sequence[CheckResult], names: Iterable[str]
) -> Failures:
    """Read how the named checks failed; one that did not fail is left out."""
    wanted = set(failing(results)) & {*names}
    found = {}
    for name in sorted(wanted):
        named = newest([each for each in results if each.name == name])
        reports = [each for each in named if each.is_completed and not each.is_passed]
        found[name] = joined([await _failure(github, each) for each in reports])
    return found


async def _failure(github: RepositoryClient, result: CheckResult) -> Failure:
    # A commit status has a description only, which hardly ever says what failed.
    if result.kind is not CheckKind.CHECK_RUN:
        return Failure()
    said = await github.checks.annotations(result.id) if result.annotations else ()
    return Failure(
        headlines=frozenset([headline(result.title)] if result.title else []),
        places=frozenset(
            CodePlace(path=each.path, said=headline(each.title or each.message or ""))
            for each in said
            # Actions itself notes on `.github` that a step failed: true of every failure.
            if each.annotation_level == "failure" and each.path != ".github"
        ),
    )


def best_first(rules: BranchRules) -> tuple[MergeMethod, ...]:
    """The merge methods the branch allows, in the order we would take them.

    GitHub signs a squash and a merge commit; a rebase makes unsigned copies.
    """
    if rules.signatures:
        order = (MergeMethod.SQUASH, MergeMethod.MERGE, MergeMethod.REBASE)
    else:
        order = (MergeMethod.SQUASH, MergeMethod.REBASE, MergeMethod.MERGE)
    return tuple(method for method in order if method in rules.merge_methods)


def _takes_yet(entry: QueueEntry | None) -> timedelta | None:
    if entry is None or entry.takes_yet is None:
        return None
    return timedelta(seconds=max(entry.takes_yet, 0))


def _asked(pull: PullRequest) -> tuple[str, ...]:
    return tuple(user.login for user in pull.requested_reviewers)


def _said(reviews: tuple[Review, ...], state: str) -> tuple[str, ...]:
    """Whose latest review that says yes or no is in `state`."""
    latest: dict[str, str] = {}
    for review in reviews:
        if review.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            latest[review.user.login] = review.state
    return tuple(login for login, said in latest.items() if said == state)
