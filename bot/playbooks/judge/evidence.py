"""What GitHub and the mirror show about a failing check: everything its judgement rests on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from bot.config import Config
from bot.git.history import first_parents
from bot.git.mirror import Mirror
from bot.github.client import RepositoryClient
from bot.github.errors import Forbidden, NotFound, Unprocessable
from bot.github.models import CheckKind
from bot.playbooks.checks.green import OUR_CHECKS
from bot.playbooks.checks.past import WINDOW, by_commit, runs_with_a_verdict
from bot.playbooks.checks.streak import CommitRuns, find_streak
from bot.playbooks.judge.policy import CheckEvidence
from bot.playbooks.judge.suspects import is_own, only_one, read_suspect, without_hotfixes
from bot.playbooks.planning.repository_config import read_config
from bot.triggers import Value

Purpose = Literal["smoke", "evals", "slo", "safety"]
"""What a check is configured as."""


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

    `before` has, for each commit where GitHub agreed, how many runs had ended until then; the
    others are `refused`.
    """

    before: dict[str, int]
    refused: tuple[str, ...]


async def look(
    check: str,
    base: str,
    *,
    github: RepositoryClient,
    mirror: Mirror,
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
        base: the default branch.
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
    check: str, runs: Mapping[str, int], github: RepositoryClient, look_first: bool
) -> RerunsAsked:
    """Have a check run once more on each of these commits; `runs` says how many had ended.

    Where an earlier attempt may have got through, a check that runs by now is left alone.
    """
    before, refused = {}, []
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
        except (Forbidden, NotFound, Unprocessable):
            # A commit status, or another service's check: only its own page can run it again.
            refused.append(sha)
        else:
            before[sha] = ended
    return RerunsAsked(before=before, refused=tuple(refused))


async def _with_records(
    commits: Sequence[CommitRuns], config: Config, bot: str, mirror: Mirror
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
