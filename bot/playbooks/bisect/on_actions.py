"""Trying commits with the repository's own trial workflow on GitHub Actions.

Every trial is dispatched at the default branch with the inputs `sha` and `trial_id`, found again
by its id in the run's title, and read by its run id, never by a commit (Decisions 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from bot.culprit.evidence import TrialOutcome
from bot.github.client import RepositoryClient
from bot.github.errors import Conflict, Forbidden, NotFound, Unprocessable
from bot.playbooks.bisect.bench import AwaitedTrial, Ended, Started, TrialsLook
from bot.playbooks.bisect.overlay import TestOverlay
from bot.playbooks.bisect.plan import BisectPlan
from bot.trials.outcome import TrialJudgement, fingerprint_of, judge_workflow_run


class ActionsTrialRunner:
    """Tries commits by dispatching a workflow."""

    def __init__(
        self,
        github: RepositoryClient,
        plan: BisectPlan,
        overlay: TestOverlay,
        *,
        run: str,
        since: datetime,
    ) -> None:
        """Prepare.

        Args:
            github: the repository.
            plan: what is searched, and the configuration.
            overlay: lays today's workflow over commits that lack it.
            run: the Run's id, part of every trial's.
            since: no trial of ours is older than this.
        """
        self._github = github
        self._plan = plan
        self._overlay = overlay
        self._run = run
        self._since = since

    @property
    def is_open(self) -> bool:
        """Whether a workflow is configured."""
        return self._plan.config.bisect.workflow is not None

    async def start(self, name: str, sha: str, look_first: bool) -> Started:
        """Dispatch the workflow."""
        workflow = self._plan.config.bisect.workflow
        if workflow is None:
            return Started(refused="No trial workflow is configured.")
        trial_id = f"{self._run}-{name}"
        overlaid = await self._overlay.of(sha)
        try:
            run_id = await self._github.workflows.ensure_dispatched(
                workflow,
                ref=self._plan.default_branch,
                inputs={"sha": overlaid.sha, "trial_id": trial_id},
                title=trial_id,
                since=self._since,
                look_first=look_first,
            )
        except NotFound:
            where = f".github/workflows/{workflow}"
            return Started(refused=f"There is no {where} on {self._plan.default_branch}.")
        except (Unprocessable, Forbidden, Conflict) as refusal:
            return Started(refused=f"{workflow} could not be dispatched: {refusal}")
        return Started(run_id=run_id, note=overlaid.note)

    async def look(self, waiting: Mapping[str, AwaitedTrial]) -> TrialsLook:
        """Read the runs."""
        settings = self._plan.config.bisect
        listed = await self._github.workflows.dispatched(settings.workflow or "", self._since)
        by_id = {each.id: each for each in listed}
        ended = []
        for name, run_id in ((name, each.run_id) for name, each in waiting.items()):
            found = by_id.get(run_id)
            # Lists may lag: a run that is not listed may still be there.
            found = found or await self._github.workflows.run(run_id)
            if found is None:
                judgement = TrialJudgement(outcome=TrialOutcome.INFRA, reason="the run was deleted")
                ended.append(Ended(name=name, judgement=judgement))
            elif found.status == "completed":
                jobs = await self._github.workflows.jobs(run_id)
                judgement = judge_workflow_run(
                    found, jobs, check=self._plan.check, build=settings.build
                )
                if judgement.outcome is TrialOutcome.FAIL:
                    failed = [job.id for job in jobs if job.conclusion == "failure"][:3]
                    notes = [n for j in failed for n in await self._github.workflows.annotations(j)]
                    judgement = judgement.model_copy(update={"fingerprint": fingerprint_of(notes)})
                ended.append(Ended(name=name, judgement=judgement, url=found.html_url or None))
        ids = [each.run_id for each in waiting.values()]
        newest = max((run_id for run_id in ids if run_id in by_id), default=None)
        return TrialsLook(ended=tuple(ended), head=by_id[newest].head_sha if newest else None)

    async def stop(self, waiting: Mapping[str, AwaitedTrial]) -> None:
        """Cancel the runs."""
        for each in waiting.values():
            await self._github.workflows.cancel(each.run_id)

    async def clear(self) -> None:
        """Runs that are over leave nothing here; hidden refs are the playbook's to remove."""
