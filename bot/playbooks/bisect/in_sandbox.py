"""Trying commits in this server's own sandbox, where the repository's configuration says so."""

from __future__ import annotations

from collections.abc import Mapping

from bot.config import BisectConfig
from bot.culprit.evidence import TrialOutcome
from bot.git.errors import GitError
from bot.git.export import TreeExport
from bot.git.mirror import Mirror
from bot.git.trees import has_tree
from bot.playbooks.bisect.bench import AwaitedTrial, Ended, Started, TrialsLook
from bot.playbooks.bisect.plan import BisectPlan
from bot.trials.outcome import TrialJudgement
from bot.trials.pool import Order, TrialPool
from bot.trials.runner import TrialPlan, TrialResult


class SandboxTrialRunner:
    """Tries commits in a pool of sandboxes on this machine.

    The mirror's host git, which alone has a token, writes the trees beforehand; nothing of this
    process's environment or files reaches a trial.
    """

    def __init__(self, pool: TrialPool, mirror: Mirror, plan: BisectPlan, *, run: str) -> None:
        """Prepare.

        Args:
            pool: the sandboxes.
            mirror: holds the commits.
            plan: what is searched, and the configuration.
            run: the Run's id, which names its trials.
        """
        self._pool = pool
        self._mirror = mirror
        self._run = run
        settings = plan.config.bisect
        self._order = Order(
            plan=commands_for(settings, plan.check, evals=plan.config.checks.evals),
            source=TreeExport(mirror),
            seconds=60.0 * settings.trial_minutes,
        )

    @property
    def is_open(self) -> bool:
        """Whether there are commands to run; the configuration sees to that."""
        return bool(self._order.plan.commands)

    async def start(self, name: str, sha: str, look_first: bool) -> Started:
        """Have the commit tried; said where nothing can be confined on this machine."""
        del look_first  # What is known already is not begun a second time.
        why_not = await self._pool.why_not()
        if why_not is not None:
            return Started(
                refused=f"The sandbox of this server tries nothing: {why_not}", closed=True
            )
        await self._begin(name, sha)
        return Started()

    async def look(self, waiting: Mapping[str, AwaitedTrial]) -> TrialsLook:
        """See which have ended; what a restart has forgotten is begun again."""
        ended = []
        for name, each in waiting.items():
            if self._pool.is_off:
                reason = "the sandbox of this server was switched off"
                judgement = TrialJudgement(outcome=TrialOutcome.INFRA, reason=reason)
                ended.append(Ended(name=name, judgement=judgement))
                continue
            if not self._pool.is_known(self._run, name):
                await self._begin(name, each.sha)
            if result := self._pool.result(self._run, name):
                ended.append(Ended(name=name, judgement=_judged(result)))
        return TrialsLook(ended=tuple(ended))

    async def stop(self, waiting: Mapping[str, AwaitedTrial]) -> None:
        """End the trials and all their processes."""
        await self._pool.stop(self._run, list(waiting))

    async def clear(self) -> None:
        """Remove the work folder."""
        await self._pool.end(self._run)

    async def _begin(self, name: str, sha: str) -> None:
        try:
            # The commit with the revert was made on GitHub and is on no branch.
            await self._mirror.refresh([sha])
        except GitError as error:
            if not await self._is_here(sha):
                raise error
        await self._pool.begin(self._run, name, sha, self._order)

    async def _is_here(self, sha: str) -> bool:
        return await self._mirror.read(lambda git: has_tree(git, sha))


def commands_for(settings: BisectConfig, check: str | None, *, evals: tuple[str, ...]) -> TrialPlan:
    """Choose what is run on each commit.

    Smoke and evals both, one after the other; where the check that is searched for is one of the
    configured evals, those alone, since a failing smoke test says nothing about them.
    """
    commands = settings.commands
    if check is not None and check in evals and commands.evals:
        wanted = [commands.evals]
    else:
        wanted = [commands.smoke, *([commands.evals] if check is None else [])]
    return TrialPlan(
        commands=tuple(each for each in wanted if each) or (commands.evals,),
        build=commands.build or None,
    )


def _judged(result: TrialResult) -> TrialJudgement:
    judgement = result.judgement
    return TrialJudgement(
        outcome=judgement.outcome,
        reason=judgement.reason,
        seconds=round(result.seconds, 3),
        fingerprint=tuple(sorted(judgement.fingerprint)) if judgement.fingerprint else None,
        metrics=dict(sorted(judgement.metrics.items())),
    )
