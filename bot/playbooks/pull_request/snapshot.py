"""Our pull request as GitHub shows it now, with its previews and merge group.

GitHub runs no check of a group again. One that is red takes the proposal out of the queue, and
putting it in again has all of them run again.

Facts: https://docs.github.com/rest/deployments. `inactive` only says that an environment was taken
down or replaced by a newer deployment; what was said of it before stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar

from bot.errors import Passing
from bot.github.calls.checks import newest
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.github.models import (
    BranchRules,
    CheckKind,
    CheckResult,
    Deployment,
    DeploymentStatus,
    MergeMethod,
    PullRequest,
    QueueEntry,
    Review,
)
from bot.playbooks.checks.green import (
    CheckRow,
    CheckTally,
    Counting,
    State,
    failing,
    tally,
    which_count,
)
from bot.playbooks.checks.results import (
    OUR_CHECKS,
    CodePlace,
    Failure,
    Failures,
    alike,
    checked,
    headline,
    joined,
    otherwise,
)
from bot.playbooks.checks.streak import Chance
from bot.playbooks.ports import HistoryMirror
from bot.playbooks.pull_request.ownership import Foreign
from bot.playbooks.pull_request.ports import ProposalGitHub
from bot.playbooks.pull_request.reruns import chances, run_by_app
from bot.playbooks.pull_request.workflow import ProposalWorkflow
from bot.playbooks.run import Effect
from bot.playbooks.steps import Step
from bot.triggers import Role, Value


class QueueGroup(Value):
    """What the queue tests of a proposal, or tested last.

    Attributes:
        commit: what is tested.
        red: the checks that failed there.
        chances: how sure each failure is, counting what was tested before.
    """

    commit: str
    red: tuple[str, ...] = ()
    chances: tuple[Chance, ...] = ()

    def is_worth_another(self, rounds: int) -> bool:
        """Tell whether to put the proposal in again before a person is woken, after so often."""
        known = {each.name for each in self.chances}
        worth = all(each.is_worth_another_run(rounds) for each in self.chances)
        return bool(self.red) and known == {*self.red} and worth


async def left(
    github: ProposalGitHub,
    mirror: HistoryMirror,
    tested: tuple[str, ...],
    required: Collection[str],
    before: str,
) -> QueueGroup:
    """Read why the queue may have thrown a proposal out.

    Args:
        github: the repository.
        mirror: its history.
        tested: the commits that the queue tested of it, the last one last.
        required: the checks that decide there, as far as they are known.
        before: the last commit of the base branch before the incident.

    Raises:
        GitHubError, GitError: what the checks did could not be read.
    """
    results = await github.checks.results(tested[-1])
    red = tuple(name for name in failing(results) if not required or name in required)
    return QueueGroup(
        commit=tested[-1],
        red=red,
        chances=await chances(github, mirror, red, results, tested, before),
    )


async def see_which_checks_count(work: ProposalWorkflow[Any, Any], before: str) -> None:
    """Settle which checks decide about the proposal (docs/decisions/0005).

    Args:
        work: the incident.
        before: the last commit of the base branch before the incident.
    """

    async def count(_: bool) -> Counting:
        github, plan = work.github, work.plan
        rules = await github.branch_rules(plan.base, plan.facts)
        found = await checked(github, before)
        return which_count(plan.config.checks, await required(github, rules), found.results)

    work.counting = await work.run.step(Step.CHOOSE_CHECKS, Counting, count)


async def required(github: ProposalGitHub, rules: BranchRules) -> tuple[str, ...]:
    """The names of the checks a branch requires of us: not those that we report ourselves."""
    us = (await github.app()).id
    return tuple(
        check.name
        for check in rules.required_checks
        if check.integration_id != us and check.name not in OUR_CHECKS
    )


_STATES = {"success": State.PASSED, "failure": State.FAILED, "error": State.FAILED}


class Previewed(Value):
    """The checks with the previews; `hidden`: the App may not read deployments."""

    tally: CheckTally
    hidden: bool = False


async def with_previews(
    github: ProposalGitHub, counting: Counting, sha: str, checks: CheckTally
) -> Previewed:
    """Add what the deployments of a commit say.

    One request, and one for each environment that counts; none where nothing has to be looked for.

    Args:
        github: the repository.
        counting: names the environments.
        sha: the proposal's commit.
        checks: what its checks say.
    """
    patterns = counting.previews
    if patterns == () or (patterns is None and checks.verdict != "green"):
        return Previewed(tally=checks)
    try:
        counted = that_count(patterns, await github.deployments.of(sha))
        said = {each.id: await github.deployments.statuses(each.id) for each in counted}
    except (Forbidden, NotFound):
        rows = preview_rows(patterns, (), {})
        return Previewed(tally=checks.with_previews(rows), hidden=bool(patterns))
    return Previewed(tally=checks.with_previews(preview_rows(patterns, counted, said)))


def that_count(
    patterns: tuple[str, ...] | None, deployments: Sequence[Deployment]
) -> tuple[Deployment, ...]:
    """Choose the newest deployment to each environment that counts.

    Args:
        patterns: of the environments' names; None takes the transient ones.
        deployments: of one commit, the newest first.
    """
    newest: dict[str, Deployment] = {}
    for each in deployments:
        newest.setdefault(each.environment.lower(), each)
    return tuple(
        each
        for each in newest.values()
        if (each.transient if patterns is None else _matches(each.environment, patterns))
    )


def preview_rows(
    patterns: tuple[str, ...] | None,
    deployments: Sequence[Deployment],
    said: Mapping[int, Sequence[DeploymentStatus]],
) -> tuple[CheckRow, ...]:
    """Say how each preview stands, and which are not there yet.

    Args:
        patterns: as for `that_count`.
        deployments: those that count.
        said: their statuses by id, the newest first.
    """
    rows = [row for each in deployments if (row := _row(each, said.get(each.id, ()))) is not None]
    names = [row.name for row in rows]
    missing = [p for p in patterns or () if not any(_matches(name, (p,)) for name in names)]
    rows += [CheckRow(name=pattern, kind="preview", state=State.MISSING) for pattern in missing]
    return tuple(sorted(rows, key=lambda row: row.name))


def _row(deployment: Deployment, said: Sequence[DeploymentStatus]) -> CheckRow | None:
    standing = [each for each in said if each.state != "inactive"]
    if said and not standing:
        # Taken down before it came to anything: as if it had never been.
        return None
    if not standing:
        return CheckRow(name=deployment.environment, kind="preview", state=State.RUNNING)
    newest = standing[0]
    state = _STATES.get(newest.state, State.RUNNING)
    links = (newest.log_url, newest.environment_url)
    if state is State.PASSED:
        links = (newest.environment_url, newest.log_url)
    return CheckRow(
        name=deployment.environment,
        kind="preview",
        state=state,
        url=links[0] or links[1],
        at=newest.created_at,
    )


def _matches(environment: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern fits; GitHub does not tell letter cases of environments apart."""
    return any(fnmatchcase(environment.lower(), pattern.lower()) for pattern in patterns)


T = TypeVar("T")
_LOOKS = 3


class NotShown(Passing):
    """GitHub does not show, or not yet, what is there: look again."""


def patiently(reads: Effect[T]) -> Effect[T]:
    """The same look; where GitHub says that there is no such thing, it is taken a few times more.

    Its servers lag behind what was made a moment ago, which must not end a recovery:
    https://github.com/PyGithub/PyGithub/issues/2759. What is gone is gone at the last look as well.
    """
    left = _LOOKS

    async def look_again(look_first: bool) -> T:
        nonlocal left
        try:
            return await reads(look_first)
        except (NotFound, Unprocessable) as error:
            if not left:
                raise
            left -= 1
            raise NotShown(str(error)) from error

    return look_again


class BaseMoves(Passing):
    """The base branch has another name than the pull request said a moment ago: look again."""


async def look(
    github: ProposalGitHub,
    number: int,
    counting: Counting,
    *,
    mirror: HistoryMirror,
    before: str,
    broken: str,
    tested: tuple[str, ...] = (),
    last: PullRequestSnapshot | None = None,
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
        last: the look before. What was green and is merged now was merged for that.
    """
    pull = await github.pulls.get(number)
    if pull.is_merged and last and last.head == pull.head.sha and last.tally.verdict == "green":
        return last.model_copy(
            update={
                "pull_request": "merged",
                "merge_sha": pull.merge_commit_sha,
                "base_ref": pull.base.ref,
            }
        )
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
    went_to = last.base_ref if last and last.base_ref != pull.base.ref else ""
    is_renamed = bool(went_to) and await github.git.branch(went_to) is None
    named = await required(github, rules)
    counting = counting.with_required(named, rules.required_deployments, rules.pins)
    verdicts = tally(counting, results)
    previewed = await with_previews(github, counting, pull.head.sha, verdicts)
    compared = await _compare(github, results, before=before, broken=broken, tally=verdicts)
    failed = verdicts.named(State.FAILED) if verdicts.verdict == "red" else ()
    again = run_by_app(results, failed)
    reviews = await github.pulls.reviews(number)
    wanting = await _who_may_hold(github, reviews, rules)
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
        renamed_from=went_to if is_renamed else "",
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
        waits_for_us=not rules.complete
        or any(check.name in OUR_CHECKS for check in rules.required_checks),
        approvals_missing=max(rules.required_reviews - len(_said(reviews, "APPROVED")), 0),
        code_owners_review=rules.code_owner_review,
        reviewers=_asked(pull),
        reviews_required=rules.required_reviews > 0,
        changes_wanted_by=wanting,
        changes_hold=bool(wanting),
        queue="waiting" if entry else "required" if rules.merge_queue else "none",
        queued_since=entry.since if entry else None,
        queue_takes_yet=_takes_yet(entry),
        group=group,
        methods=tuple(method.value for method in best_first(rules)),
        rebases=pull.rebaseable is not False,
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
    github: ProposalGitHub,
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
    github: ProposalGitHub, results: Sequence[CheckResult], names: Iterable[str]
) -> Failures:
    """Read how the named checks failed; one that did not fail is left out."""
    wanted = set(failing(results)) & {*names}
    found = {}
    for name in sorted(wanted):
        named = newest([each for each in results if each.name == name])
        reports = [each for each in named if each.is_completed and not each.is_passed]
        found[name] = joined([await _failure(github, each) for each in reports])
    return found


async def _failure(github: ProposalGitHub, result: CheckResult) -> Failure:
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


async def _who_may_hold(
    github: ProposalGitHub, reviews: tuple[Review, ...], rules: BranchRules
) -> tuple[str, ...]:
    """Who asks for changes and is heeded: where no rule asks for reviews, people who may write."""
    wanting = _said(reviews, "CHANGES_REQUESTED")
    if rules.required_reviews:
        return wanting
    bots = {each.user.login for each in reviews if each.user.is_bot}
    roles = {name: await github.permissions.role_of(name) for name in wanting if name not in bots}
    return tuple(name for name, role in roles.items() if role.at_least(Role.WRITE))


class PullRequestSnapshot(Value):
    """A hotfix pull request as GitHub shows it now."""

    pull_request: Literal["open", "closed", "merged"]
    merge_sha: str | None = None
    draft: bool
    head: str
    foreign: Foreign | None = None
    """Whose head it is, where it holds commits that we did not make."""
    base_head: str
    base_ref: str = ""
    """The branch it goes to, by its present name."""
    renamed_from: str = ""
    """That branch's name at the look before, where it has another one since."""
    conflicts: bool
    tally: CheckTally
    previews_hidden: bool = False
    """Whether the App may not read deployments, although previews are waited for."""
    red_before: tuple[str, ...] = ()
    """Checks that failed on the base branch already before the incident, in the same way."""
    red_on_base: tuple[str, ...] = ()
    """Checks that failed on the broken base branch in the same way."""
    red_otherwise: tuple[str, ...] = ()
    """Checks that failed there too, but in another way."""
    unseen_on_base: tuple[str, ...] = ()
    """Checks that failed here and of which the broken base branch has no result."""
    chances: tuple[Chance, ...] = ()
    """Checks that failed here and may be run again, each with how sure the failure is."""
    only_statuses: tuple[str, ...] = ()
    """Checks that failed here as commit statuses, which nobody can ask GitHub to run again."""
    required: tuple[str, ...] = ()
    """Checks without which GitHub merges nothing."""
    waits_for_us: bool = True
    """Whether GitHub may merge nothing before a check of ours has passed."""
    reviews_required: bool = False
    """As far as the App may read the rules; else GitHub's refusal tells."""
    approvals_missing: int = 0
    code_owners_review: bool = False
    """Whether one of the reviews has to be a code owner's."""
    reviewers: tuple[str, ...] = ()
    changes_wanted_by: tuple[str, ...] = ()
    changes_hold: bool = False
    """Whether their wish holds it whatever the rules ask for; older looks do not say."""
    queue: Literal["none", "required", "waiting"] = "none"
    queued_since: datetime | None = None
    queue_takes_yet: timedelta | None = None
    """How long until the merge queue has merged it, as GitHub estimates it."""
    group: QueueGroup | None = None
    """What the queue tests, or tested before it threw the hotfix out, as far as it is known."""
    methods: tuple[str, ...] = ()
    """How the base branch may be merged into, the best first."""
    rebases: bool = True
    """Whether a rebase gives what a merge gives: else GitHub refuses one. A proposal that was
    computed again has a merge in it."""
    up_to_date_required: bool = False
    """Whether the rules want the head to contain the newest base."""
    behind: bool = False
    """Whether GitHub says that it does not, and has to."""
