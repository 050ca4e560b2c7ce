"""Is the check that a bisect follows green again on its branch? Looked at while it waits."""

from __future__ import annotations

from bot.github.errors import NotFound
from bot.playbooks.bisect.plan import without_trials
from bot.playbooks.bisect.work import BisectWorkflow
from bot.playbooks.checks.green import CheckTally, Counting, tally
from bot.playbooks.checks.results import checked
from bot.playbooks.proposal.recovering import BranchHead, watch_branch
from bot.playbooks.steps import Step


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
        if plan.check is None:
            return None
        counting = Counting(smoke=(plan.check,), smoke_from="configured", evals=())

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
