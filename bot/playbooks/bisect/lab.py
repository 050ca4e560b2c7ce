"""The laboratory: commits are tried by the repository's own trial workflow.

Every trial is dispatched at the default branch with the inputs `sha` and `trial_id`, found again
by its id in the run's title, and read by its run id, never by a commit (Decisions 10). Deliveries
only say "look"; a run that does not answer in time is cancelled and counts as infrastructure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from bot.culprit.evidence import Outcome
from bot.github.client import RepositoryClient
from bot.github.errors import Conflict, Forbidden, NotFound, Unprocessable
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.run import Run
from bot.records import runs
from bot.trials.actions import TrialJudgement, fingerprint_of, judge_workflow_run
from bot.triggers import Value

_CLOCKS_DIFFER = timedelta(minutes=10)
"""GitHub's clock and ours."""


class TrialRow(Value):
    """One trial as people see it; `outcome` is None while it runs."""

    name: str
    sha: str
    why: str
    run_id: int
    outcome: Outcome | None = None
    reason: str = ""
    seconds: float | None = None
    url: str | None = None


class Ended(Value):
    """How one trial ended."""

    name: str
    judgement: TrialJudgement
    url: str | None = None


class _Dispatched(Value):
    """The run that was started, or why none could be. `refused` is plain text."""

    run_id: int = 0
    refused: str | None = None


class _Looked(Value):
    """What a look at the running trials shows; `head` is the commit their runs hang on."""

    ended: tuple[Ended, ...]
    head: str | None = None


class _Running(Value):
    run_id: int
    deadline: datetime


class Laboratory:
    """Tries commits. What it knows comes from recorded steps alone.

    Attributes:
        table: every trial so far, in the order they were asked for.
    """

    def __init__(
        self, run: Run, github: RepositoryClient, plan: BisectPlan, *, since: datetime
    ) -> None:
        """Prepare.

        Args:
            run: the Run this is part of.
            github: the repository.
            plan: what is searched, and the configuration.
            since: no trial of ours is older than this.
        """
        self.table: list[TrialRow] = []
        self._run = run
        self._github = github
        self._plan = plan
        self._since = since - _CLOCKS_DIFFER
        self._running: dict[str, _Running] = {}
        self._watched: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether commits can be tried at all."""
        return self._plan.config.bisect.workflow is not None

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the trials under way."""
        return tuple(self._running)

    async def begin(self, name: str, sha: str, why: str) -> str | None:
        """Start a trial, or say in plain words why none can be started.

        Args:
            name: its name within this Run; one word.
            sha: the commit.
            why: what it is for, for people.
        """
        settings = self._plan.config.bisect
        dispatched = await self._run.step(
            f"dispatch trial {name}", _Dispatched, partial(self._dispatch, name, sha)
        )
        if dispatched.refused is not None:
            return dispatched.refused
        now = await self._run.now()
        deadline = now + timedelta(minutes=settings.trial_minutes)
        self._running[name] = _Running(run_id=dispatched.run_id, deadline=deadline)
        self.table.append(TrialRow(name=name, sha=sha, why=why, run_id=dispatched.run_id))
        if self._watched is None:
            await self._watch(self._plan.base_head)
        return None

    async def look(self) -> tuple[Ended, ...]:
        """See which trials have ended; each is told once."""
        if not self._running:
            return ()
        waiting = {name: each.run_id for name, each in self._running.items()}
        looked = await self._run.step(
            "look at the trials", _Looked, lambda _: self._look_at(waiting)
        )
        if looked.head is not None and looked.head != self._watched:
            await self._watch(looked.head)
        ended = list(looked.ended)
        now = await self._run.now()
        told = {each.name for each in ended}
        late = [n for n, each in self._running.items() if n not in told and now >= each.deadline]
        if late:
            await self._cancel(late)
            reason = f"no answer within {self._plan.config.bisect.trial_minutes} minutes"
            judgement = TrialJudgement(outcome=Outcome.INFRA, reason=reason)
            ended += [Ended(name=name, judgement=judgement) for name in late]
        for each in ended:
            self._note(each)
        return tuple(ended)

    async def stop(self) -> None:
        """Cancel every trial that still runs; nothing they say counts any more."""
        names = list(self._running)
        if names:
            await self._cancel(names)
        for name in names:
            del self._running[name]
            self._set(name, reason="cancelled: no longer needed", outcome=Outcome.INFRA)

    async def _dispatch(self, name: str, sha: str, look_first: bool) -> _Dispatched:
        workflow = self._plan.config.bisect.workflow
        if workflow is None:
            return _Dispatched(refused="No trial workflow is configured.")
        trial_id = f"{self._run.id}-{name}"
        try:
            run_id = await self._github.workflows.ensure_dispatched(
                workflow,
                ref=self._plan.default_branch,
                inputs={"sha": sha, "trial_id": trial_id},
                title=trial_id,
                since=self._since,
                look_first=look_first,
            )
        except NotFound:
            where = f".github/workflows/{workflow}"
            return _Dispatched(refused=f"There is no {where} on {self._plan.default_branch}.")
        except (Unprocessable, Forbidden, Conflict) as refusal:
            return _Dispatched(refused=f"{workflow} could not be dispatched: {refusal}")
        return _Dispatched(run_id=run_id)

    async def _look_at(self, waiting: Mapping[str, int]) -> _Looked:
        settings = self._plan.config.bisect
        listed = await self._github.workflows.dispatched(settings.workflow or "", self._since)
        by_id = {each.id: each for each in listed}
        ended = []
        for name, run_id in waiting.items():
            found = by_id.get(run_id)
            # Lists may lag: a run that is not listed may still be there.
            found = found or await self._github.workflows.run(run_id)
            if found is None:
                judgement = TrialJudgement(outcome=Outcome.INFRA, reason="the run was deleted")
                ended.append(Ended(name=name, judgement=judgement))
            elif found.status == "completed":
                jobs = await self._github.workflows.jobs(run_id)
                judgement = judge_workflow_run(
                    found, jobs, check=self._plan.check, build=settings.build
                )
                if judgement.outcome is Outcome.FAIL:
                    failed = [job.id for job in jobs if job.conclusion == "failure"][:3]
                    notes = [n for j in failed for n in await self._github.workflows.annotations(j)]
                    judgement = judgement.model_copy(update={"fingerprint": fingerprint_of(notes)})
                ended.append(Ended(name=name, judgement=judgement, url=found.html_url or None))
        newest = max((i for i in waiting.values() if i in by_id), default=None)
        return _Looked(ended=tuple(ended), head=by_id[newest].head_sha if newest else None)

    async def _cancel(self, names: list[str]) -> None:
        ids = [self._running[name].run_id for name in names]

        async def cancel(_: bool) -> bool:
            for run_id in ids:
                await self._github.workflows.cancel(run_id)
            return True

        await self._run.step("cancel trials", bool, cancel)

    async def _watch(self, head: str) -> None:
        """From now on deliveries about runs on this commit wake the Run."""
        self._watched = head
        now, run_id = await self._run.now(), self._run.id

        async def change(conn: AsyncConnection) -> bool:
            await runs.watch(conn, run_id, at=now, head_sha=head, pull_request=None)
            return True

        await self._run.write("watch the trials", bool, change)

    def _note(self, ended: Ended) -> None:
        del self._running[ended.name]
        self._set(
            ended.name,
            outcome=ended.judgement.outcome,
            reason=ended.judgement.reason,
            seconds=ended.judgement.seconds,
            url=ended.url,
        )

    def _set(self, name: str, **facts: object) -> None:
        for place, row in enumerate(self.table):
            if row.name == name:
                self.table[place] = row.model_copy(update=facts)
