"""Fresh runs of the suspect and its parents; and is the branch green again meanwhile?

The culprit must fail, its parents must pass, and the bad end must pass once the culprit is
reverted on it. That last commit hangs on a hidden ref, neither branch nor tag, which is removed
again whatever happens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

from bot.culprit.evidence import TrialOutcome
from bot.culprit.fresh_runs import (
    FreshRunPlan,
    FreshRunTally,
    VerificationResult,
    judge,
    open_of,
    plan,
)
from bot.git.process import Git
from bot.git.revert import Clean
from bot.git.trees import read_blob
from bot.github.calls.trees import TreeChange
from bot.github.errors import NotFound
from bot.playbooks.bisect.plan import without_trials
from bot.playbooks.bisect.ports import BisectGit, BisectMirror
from bot.playbooks.bisect.runners import hidden_ref
from bot.playbooks.bisect.trials import TrialScheduler
from bot.playbooks.bisect.workflow import BisectWorkflow
from bot.playbooks.checks.green import CheckTally, Counting, tally
from bot.playbooks.checks.results import checked
from bot.playbooks.pull_request.recovery import BranchHead, watch_branch
from bot.playbooks.run import Run, Signal, SignalKind
from bot.playbooks.steps import Patch, Step, WaitPoint
from bot.records.documents.reports import FreshRuns, Verification
from bot.trials.outcome import TrialJudgement
from bot.triggers import Actor


class BranchWatch:
    """Looks at the branch's newest commit, whoever mended it; deliveries about it wake the Run."""

    def __init__(self, work: BisectWorkflow) -> None:
        """Prepare; nothing is read before the first look."""
        self._work = work
        self._watched: str | None = None
        self._was_green = False

    async def green_at(self) -> str | None:
        """The commit at which the check passes again; None: it does not, or never failed there.

        A search in the past of a branch that was green all the time has nothing to recover from.
        """
        work, plan = self._work, self._work.plan
        if (broken := work.case.broken_check) is None:
            return None
        counting = Counting(smoke=(broken,), smoke_from="configured", evals=())

        async def look(_: bool) -> BranchHead:
            try:
                found = await checked(work.github, await work.github.git.head(plan.base))
            except NotFound:
                return BranchHead(head=None, tally=CheckTally(verdict="waiting", rows=()))
            results = await without_trials(found.results, found.sha, plan.config, work.github)
            return BranchHead(head=found.sha, tally=tally(counting, results))

        found = await work.run.step(Step.READ_BASE_CHECKS, BranchHead, look)
        if found.head is None:
            return None
        is_first, green = self._watched is None, found.tally.verdict == "green"
        if found.head != self._watched:
            self._watched = found.head
            await watch_branch(work, found.head)
        if is_first and green and found.head == plan.base_head != plan.bad:
            self._was_green = True
        return found.head if green and not self._was_green else None


TURNS = 4
"""How often an undecided plan is run before it stays undecided: from the second turn on, only what
is left open of it."""
TURNS_OF_ALL = 2
"""The same where each turn is the whole plan again."""
PATIENCE = 3
"""Further attempts at each commit where runs say nothing."""


def outcome_of(judgement: TrialJudgement) -> TrialOutcome:
    """What a run says of its commit where it passes or fails."""
    return judgement.outcome


class Overruled(Exception):
    """A person's word tells another story than the suspect that is checked."""


class Cancelled(Exception):
    """A person stopped it."""

    def __init__(self, by: Actor | None) -> None:
        """Keep who did."""
        super().__init__("cancelled")
        self.by = by


async def publish_preview(
    outcome: Clean,
    *,
    incident: str,
    mirror: BisectMirror,
    have: Callable[[], Awaitable[None]],
    git_data: BisectGit,
    look_first: bool,
) -> str:
    """Make the commit that reverts the culprit on the bad end, on a hidden ref; its SHA.

    Making it again gives another commit, so a second attempt first removes the ref.
    """
    name = hidden_ref(incident)
    if look_first:
        await git_data.delete_hidden_ref(name)
    new = set(outcome.new_blobs)

    async def read(git: Git) -> list[TreeChange]:
        return [
            TreeChange(
                path=change.path,
                mode=change.mode,
                sha=change.sha,
                content=await read_blob(git, change.sha)
                if change.sha and change.sha in new
                else None,
            )
            for change in outcome.changes
        ]

    entries = await mirror.read(read, after_rebuild=have)
    tree = await git_data.publish_tree(outcome.base_tree, entries, expected_tree=outcome.tree)
    commit = await git_data.create_commit(
        tree=tree, parents=[outcome.onto], message=f"Try a revert for incident {incident}"
    )
    await git_data.ensure_hidden_ref(name, commit.sha, look_first=False)
    return commit.sha


class Verifier:
    """Makes the fresh runs."""

    def __init__(
        self,
        run: Run,
        scheduler: TrialScheduler,
        *,
        parallel: int,
        look_again: timedelta,
        tell: Callable[[int], Awaitable[None]],
        outcome_of: Callable[[TrialJudgement], TrialOutcome],
        overrules: Callable[[Signal], bool],
    ) -> None:
        """Prepare.

        Args:
            run: the Run this is part of.
            scheduler: tries commits.
            parallel: runs at once.
            look_again: how long to wait for a delivery before looking anyway.
            tell: tells people where it stands, with the runs that are left.
            outcome_of: what a run says of its commit.
            overrules: hears a person's word; whether the suspect is to be checked no longer.
        """
        self._run = run
        self._scheduler = scheduler
        self._parallel = parallel
        self._look_again = look_again
        self._tell = tell
        self._outcome_of = outcome_of
        self._overrules = overrules
        self._passed: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._empty: dict[str, int] = {}

    async def verify(
        self,
        culprit: str,
        parents: Sequence[str],
        preview: str | None,
        bounds: tuple[float, float],
        *,
        most: int,
    ) -> Verification:
        """Run them until they say something, or have had their turns.

        Args:
            culprit: the suspect, expected to fail.
            parents: its parents, expected to pass.
            preview: the bad end with the culprit reverted, expected to pass; None where the
                revert conflicts.
            bounds: upper bounds of the rates of false failures and of false passes.
            most: runs that the budget allows; a turn that would not fit is not begun.

        Raises:
            Cancelled: a person stopped it.
            Overruled: a person knows better.
        """
        others = [*parents, *([preview] if preview else [])]
        fresh = plan(culprit, others, max(bounds))
        boundary = FreshRunPlan(culprit, tuple(parents), fresh.runs, ())
        revert = FreshRunPlan(culprit, (preview,) if preview else (), fresh.runs, ())
        checked = (VerificationResult.UNDECIDED, VerificationResult.UNDECIDED)
        note, order, spent = "", fresh.order, 0
        only_open = self._run.patched(Patch.ONLY_WHAT_IS_OPEN)
        for _ in range(TURNS if only_open else TURNS_OF_ALL):
            spent += len(order)
            if spent > most:
                note = f"the budget allows {most} runs"
                break
            refused = await self._make(order)
            note = refused or ""
            tallies = self._tallies((culprit, *others))
            checked = (judge(boundary, tallies, *bounds), judge(revert, tallies, *bounds))
            if (
                refused
                or VerificationResult.REFUTED in checked
                or VerificationResult.UNDECIDED not in checked
            ):
                break
            if only_open:
                told = [each for each in (boundary, revert) if self._speaks(each)]
                left = open_of(told, tallies, bounds)
                order = tuple(sha for sha in fresh.order if sha in left)
                if not order:
                    break
        roles = dict.fromkeys(parents, "parent") | {culprit: "culprit"}
        return Verification(
            boundary=checked[0].value,
            revert=checked[1].value if preview else "not made",
            runs=tuple(
                FreshRuns.model_validate(
                    {
                        "sha": sha,
                        "role": roles.get(sha, "revert"),
                        "passed": self._passed.get(sha, 0),
                        "failed": self._failed.get(sha, 0),
                    }
                )
                for sha in (culprit, *others)
            ),
            note=note,
        )

    def _speaks(self, check: FreshRunPlan) -> bool:
        """Whether more turns can decide a plan: not where a commit of it can never be run."""
        heard = self._passed.keys() | self._failed.keys()
        return all(sha in heard or self._empty.get(sha, 0) <= PATIENCE for sha, _ in check.expected)

    async def _make(self, order: Sequence[str]) -> str | None:
        """Make the runs in order; in plain words why they could not be made."""
        left, under_way = list(order), dict[str, str]()
        while left or under_way:
            while left and len(under_way) < self._parallel:
                name, sha = self._scheduler.next_name("v"), left.pop(0)
                begun = await self._scheduler.begin(name, sha, "verify")
                if begun.refused is not None:
                    await self._scheduler.stop()
                    return begun.refused
                if begun.no_room:
                    left.insert(0, sha)
                    break
                under_way[name] = sha
            await self._tell(len(left) + len(under_way))
            signal = await self._run.wait(self._look_again.total_seconds(), WaitPoint.VERIFICATION)
            if signal is not None and signal.kind is SignalKind.CANCEL:
                await self._scheduler.stop()
                raise Cancelled(signal.actor)
            if signal is not None and self._overrules(signal):
                await self._scheduler.stop()
                raise Overruled
            for ended in await self._scheduler.look():
                sha = under_way.pop(ended.name)
                outcome = self._outcome_of(ended.judgement)
                if outcome is TrialOutcome.PASS:
                    self._passed[sha] = self._passed.get(sha, 0) + 1
                elif outcome is TrialOutcome.FAIL:
                    self._failed[sha] = self._failed.get(sha, 0) + 1
                else:
                    self._empty[sha] = self._empty.get(sha, 0) + 1
                    if self._empty[sha] <= PATIENCE:
                        left.append(sha)
        return None

    def _tallies(self, commits: Sequence[str]) -> Mapping[str, FreshRunTally]:
        return {
            sha: FreshRunTally(failed=self._failed.get(sha, 0), passed=self._passed.get(sha, 0))
            for sha in commits
        }
