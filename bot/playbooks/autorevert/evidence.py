"""What is known of a red check and of the changes that may have broken it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import Field

from bot import markdown
from bot.config import Config
from bot.git.errors import UnknownRevision
from bot.git.history import describe, first_parents
from bot.git.landed_changes import already_reverted
from bot.github.errors import Forbidden, NotFound, StillRunning, Unprocessable
from bot.github.models import CheckKind, PullRequest
from bot.playbooks.autorevert.decide import CheckEvidence, Purpose, SoleSuspect, TellPeople
from bot.playbooks.autorevert.ports import AutorevertGitHub, SuspectGitHub
from bot.playbooks.checks.results import OUR_CHECKS, WINDOW, by_commit, runs_with_a_verdict
from bot.playbooks.checks.streak import CommitRuns, find_streak
from bot.playbooks.incident.branches import is_hotfix
from bot.playbooks.incident.own_files import is_own, own_files
from bot.playbooks.incident.phrases import quoted
from bot.playbooks.plan import everybody_behind, is_opted_out, is_self_work, read_config
from bot.playbooks.ports import HistoryMirror
from bot.triggers import Value

_MOST_ASKED = 10
"""Commits whose pull request is asked for: beyond that nobody is the only suspect anyway."""


async def brought_by(sha: str, base: str, github: SuspectGitHub) -> PullRequest | None:
    """Find the merged pull request a commit of `base` came with."""
    for pull in await github.pulls.of_commit(sha):
        if pull.is_merged and pull.base.ref == base:
            return pull
    return None


async def without_hotfixes(
    shas: Sequence[str], base: str, github: SuspectGitHub
) -> tuple[str, ...]:
    """Leave out our own hotfixes, which were green before they were merged, if others remain.

    Args:
        shas: the suspected commits; one alone or more than ten are given back as they are.
        base: the branch they are on: only pull requests merged into it count.
        github: asked which pull request each commit came with.
    """
    if not 1 < len(shas) <= _MOST_ASKED:
        return tuple(shas)
    bot = (await github.app()).bot_login
    others = []
    for sha in shas:
        pull = await brought_by(sha, base, github)
        if pull is None or not is_our_hotfix(pull, bot):
            others.append(sha)
    return tuple(others or shas)


async def only_one(shas: Sequence[str], base: str, github: SuspectGitHub) -> str | None:
    """Give the one change that all these commits belong to, as its last commit.

    A rebase merge puts several commits on the branch, of which usually only the last is checked.

    Args:
        shas: the suspected commits, oldest first.
        base: the branch they are on: only pull requests merged into it count.
        github: asked which pull request each commit came with.

    Returns:
        None where there are several changes, or more than ten commits: those are not asked about.
    """
    if len(shas) == 1:
        return shas[0]
    if not 1 < len(shas) <= _MOST_ASKED:
        return None
    pulls = {pull.number if (pull := await brought_by(s, base, github)) else s for s in shas}
    return shas[-1] if len(pulls) == 1 and shas[-1] not in pulls else None


async def read_suspect(
    sha: str,
    base: str,
    head: str,
    *,
    config: Config,
    github: SuspectGitHub,
    mirror: HistoryMirror,
    now: datetime,
    named: PullRequest | None = None,
) -> SoleSuspect:
    """Read the facts about one suspected commit.

    Args:
        sha: the commit.
        base: the default branch.
        head: its head.
        config: whose labels and record paths count.
        github: the repository.
        mirror: its commits.
        now: the time.
        named: the pull request that is to be reverted, whatever else came with the commit.
    """
    [info] = await mirror.read(lambda git: describe(git, [sha]))
    own = await mirror.read(lambda git: own_files(config, git))
    reverted = await mirror.read(lambda git: already_reverted(git, sha, head, keep=own.kept))
    facts = SoleSuspect(
        sha=sha,
        # A commit's clock is its author's: one from the future is young.
        age=max(now - info.committed_at, timedelta(0)),
        is_reverted=reverted is not None,
    )
    pulls, loose = (
        ((named,), False) if named else await everybody_behind(sha, base, head, github, mirror)
    )
    if not pulls:
        return facts
    bot = (await github.app()).bot_login
    off = [await is_opted_out(pull, config.self_work, github) for pull in pulls]
    return facts.model_copy(
        update={
            "pull_request": pulls[0].number,
            "together": () if len(pulls) == 1 else tuple(pull.number for pull in pulls),
            "is_mixed": loose,
            "is_self_work": not loose
            and all(is_self_work(pull, config.self_work) for pull in pulls),
            "is_opted_out": any(off),
            "is_hotfix": any(is_our_hotfix(pull, bot) for pull in pulls),
        }
    )


def is_our_hotfix(pull: PullRequest, bot: str) -> bool:
    """Whether a pull request is a hotfix of ours; `bot` is the login we act under."""
    return is_hotfix(pull.head.ref) and pull.user.login == bot


class CheckLook(Value):
    """One look at a check on the default branch.

    Attributes:
        purpose: what the check is configured as; None: nobody said that it matters.
        evidence: what the decision rests on.
        base: the default branch.
        runs: how many runs of it had ended on each commit that was to be run again.
        url: the page of a failing run, for people.
    """

    purpose: Purpose | None
    base: str
    evidence: CheckEvidence
    runs: dict[str, int] = Field(default_factory=dict)
    url: str | None = None


class RerunsAsked(Value):
    """What came of asking for runs again.

    `before` has, for each commit where GitHub agreed, how many runs had ended until then; `later`
    are those where another job is under way; the others are `refused`.
    """

    before: dict[str, int]
    refused: tuple[str, ...]
    later: tuple[str, ...] = ()


async def look(
    check: str,
    base: str,
    *,
    github: AutorevertGitHub,
    mirror: HistoryMirror,
    settled: Callable[[Config], Awaitable[Config]],
    now: datetime,
    repeats: int,
    awaited: Mapping[str, int],
    exhausted: bool,
    refused: Sequence[str],
) -> CheckLook:
    """Look at one check on the default branch.

    Args:
        check: its name.
        base: the default branch, as it was called when the failure was heard of.
        github: the repository.
        mirror: its commits.
        settled: the configuration with its sensitive sections as a Founder approved them.
        now: the time.
        repeats: how often runs were asked for again.
        awaited: commits on which a run is awaited, and how many had ended before.
        exhausted: whether the time for runs is over.
        refused: commits on which GitHub does not run it again.
    """
    await mirror.refresh()
    try:
        head = await mirror.branch_head(base)
    except UnknownRevision:
        # It was the default branch when the failure was heard of, and has another name by now.
        base = await github.default_branch()
        head = await mirror.branch_head(base)
    newest, _ = await mirror.read(lambda git: read_config(git, head))
    config = await settled(newest)
    purpose = purpose_of(check, config)
    if purpose is None:
        return CheckLook(purpose=None, base=base, evidence=CheckEvidence(streak=None))
    line = await mirror.read(lambda git: first_parents(git, head, WINDOW))
    known = await runs_with_a_verdict(check, line, github)
    commits = by_commit(line, known)
    commits = await _with_records(commits, config, (await github.app()).bot_login, mirror)
    streak = find_streak(commits)
    counted = {commit.sha: commit.fails + commit.passes for commit in commits}
    evidence = CheckEvidence(
        streak=streak,
        seen=any(counted.values()),
        is_running=any(counted.get(sha, 0) <= before for sha, before in awaited.items()),
        autonomy=config.triggers.autonomy,
        young=timedelta(hours=config.triggers.young_hours),
        repeats=repeats,
        decides=purpose in ("smoke", "evals"),
        can_try=config.bisect.can_try,
    )
    if streak is None:
        return CheckLook(purpose=purpose, base=base, evidence=evidence)
    ends = {streak.bad, *([streak.good] if streak.good else [])}
    can = frozenset() if exhausted else ends - set(refused)
    evidence = evidence.model_copy(update={"can_repeat": frozenset(can)})
    others = await without_hotfixes(streak.suspects, base, github)
    streak = streak.model_copy(update={"suspects": others})
    evidence = evidence.model_copy(update={"streak": streak})
    suspect = await only_one(streak.suspects, base, github)
    if streak.good is not None and suspect is not None:
        found = await read_suspect(
            suspect, base, head, config=config, github=github, mirror=mirror, now=now
        )
        evidence = evidence.model_copy(update={"suspect": found})
    failing = [e.url for e in known if e.sha == streak.bad and e.conclusion == "failure"]
    return CheckLook(
        purpose=purpose,
        base=base,
        evidence=evidence,
        runs={sha: counted.get(sha, 0) for sha in ends},
        url=failing[-1] if failing else None,
    )


def purpose_of(check: str, config: Config) -> Purpose | None:
    """What a check is for, as configured; only what somebody named moves anything by itself."""
    named = config.checks
    purposes: dict[Purpose, Sequence[str]] = {
        "safety": named.safety,
        "slo": named.slo,
        "evals": named.evals,
        "smoke": named.smoke,
    }
    if check in OUR_CHECKS:
        return None
    return next((purpose for purpose, checks in purposes.items() if check in checks), None)


async def run_again(
    check: str, runs: Mapping[str, int], github: AutorevertGitHub, look_first: bool
) -> RerunsAsked:
    """Have a check run once more on each of these commits; `runs` says how many had ended.

    Where an earlier attempt may have got through, a check that runs by now is left alone.
    """
    before, refused, later = {}, [], []
    for sha, ended in runs.items():
        results = [
            result
            for result in await github.checks.results(sha)
            if result.name == check and result.kind is CheckKind.CHECK_RUN
        ]
        done = [result for result in results if result.is_completed]
        if look_first and len(done) < len(results):
            before[sha] = ended
            continue
        try:
            if not done:
                raise NotFound(f"{check} has no run on {sha} that could be run again")
            await github.checks.rerun(max(done, key=lambda result: result.id))
        except StillRunning:
            later.append(sha)
        except (Forbidden, NotFound, Unprocessable):
            # A commit status, or another service's check: only its own page can run it again.
            refused.append(sha)
        else:
            before[sha] = ended
    return RerunsAsked(before=before, refused=tuple(refused), later=tuple(later))


async def _with_records(
    commits: Sequence[CommitRuns], config: Config, bot: str, mirror: HistoryMirror
) -> list[CommitRuns]:
    """Mark the commits that only write our own files, as far back as the check last passed."""
    marked = []
    searching = True
    for commit in commits:
        searching = searching and not commit.is_good
        if searching and await is_own(commit.sha, config, bot, mirror):
            marked.append(commit.model_copy(update={"is_record": True}))
        else:
            marked.append(commit)
    return marked


_SIGNALS = {
    "smoke": "smoke check",
    "evals": "eval",
    "slo": "SLO check",
    "safety": "safety check",
}


def reason(check: str, looked: CheckLook, seen: str) -> str:
    """Why a revert or a bisect is asked for, as plain text."""
    what = _SIGNALS.get(looked.purpose or "", "check")
    return f"{what} {quoted(check, limit=100)} on {quoted(looked.base)}: {seen}"


def hold_reason(check: str, looked: CheckLook) -> str:
    """Why self-work is paused, as plain text."""
    what = _SIGNALS.get(looked.purpose or "", "check")
    return f"{what} {quoted(check, limit=100)} fails on {quoted(looked.base)}"


def proposal(check: str, looked: CheckLook, decision: TellPeople, suspect: str) -> str:
    """The comment on the suspected pull request that leaves it to people.

    `suspect` is what to revert, `#12` or a SHA.
    """
    named = markdown.link(check, looked.url) if looked.url else markdown.code(check)
    return (
        f"Look at {named}: since this was merged it fails on {markdown.code(looked.base)}.\n\n"
        f"{_sentence(decision.reason)} I changed nothing by myself. If this is to blame, "
        f"comment `/revert {suspect}`; if the check is, run it again."
    )


def _sentence(words: str) -> str:
    said = markdown.text(words)
    return said[:1].upper() + said[1:] + "."
