"""Workflow runs of GitHub Actions: dispatched exactly once, found again, read and cancelled.

Source: REST API, "Actions: workflows, workflow runs, workflow jobs".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bot.github.calls.ensure import ensure
from bot.github.errors import Conflict, NotFound, Unprocessable
from bot.github.models import JobAnnotation, WorkflowJob, WorkflowRun
from bot.github.releases import RUN_DETAILS, is_not_known
from bot.github.transport.channel import Channel, Query

ACTIONS = "/repos/{owner}/{repo}/actions"
DISPATCH = f"{ACTIONS}/workflows/{{workflow}}/dispatches"
RUNS_OF = f"{ACTIONS}/workflows/{{workflow}}/runs"
RUN = f"{ACTIONS}/runs/{{run_id}}"
CANCEL = f"{ACTIONS}/runs/{{run_id}}/cancel"
JOBS = f"{ACTIONS}/runs/{{run_id}}/jobs"
ANNOTATIONS = "/repos/{owner}/{repo}/check-runs/{run_id}/annotations"

LOOKS = (0.0, 1.0, 3.0, 5.0)
"""Seconds before each look for a run that may have been dispatched before."""
LOOKS_FOR_NEW = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0)
"""The same for one just dispatched, where nothing else tells its id: it may be listed late."""


class Workflows:
    """The workflow runs of the repository."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def ensure_dispatched(
        self,
        workflow: str,
        *,
        ref: str,
        inputs: Mapping[str, str],
        title: str,
        since: datetime,
        look_first: bool,
    ) -> int:
        """Dispatch a workflow, unless it was dispatched already; the run's id.

        Args:
            workflow: Its file name.
            ref: The branch or tag whose workflow file runs; never a SHA.
            inputs: The inputs it declares.
            title: What the run's title holds and no other's does (its `run-name` must say so).
            since: Nothing of ours is older than this.
            look_first: Whether this step may already have run.

        Raises:
            NotFound: There is no such workflow on the ref.
            Unprocessable: It cannot be dispatched, or does not take these inputs.
            Conflict: It was dispatched and is not to be found: its `run-name` lacks the title.
        """

        async def look() -> int | None:
            return await self.find(workflow, title, since=since)

        async def create() -> int:
            details = await self._dispatch(workflow, {"ref": ref, "inputs": dict(inputs)})
            if isinstance(details, dict) and details.get("workflow_run_id"):
                return int(details["workflow_run_id"])
            for pause in LOOKS_FOR_NEW:
                await self._channel.around.sleep(pause)
                found = await look()
                if found is not None:
                    return found
            raise Conflict(f"{workflow} was dispatched, but no run is titled {title!r}.")

        return await ensure(
            look=look,
            create=create,
            look_first=look_first,
            sleep=self._channel.around.sleep,
            looks=LOOKS,
        )

    async def _dispatch(self, workflow: str, body: Mapping[str, Any]) -> Any:
        """Send a dispatch; what GitHub tells of the run, where its release does."""
        lacking = self._channel.around.lacking
        if RUN_DETAILS not in lacking:
            try:
                return await self._channel.post(
                    DISPATCH, {**body, RUN_DETAILS.name: True}, workflow=workflow
                )
            except Unprocessable as refusal:
                if not is_not_known(RUN_DETAILS, refusal):
                    raise
            # Nothing was dispatched: it was refused for the field alone.
            lacking.note(RUN_DETAILS)
        return await self._channel.post(DISPATCH, body, workflow=workflow)

    async def find(self, workflow: str, title: str, *, since: datetime) -> int | None:
        """Find the oldest dispatched run with these words in its title."""
        found = [run.id for run in await self.dispatched(workflow, since) if title in _words(run)]
        return min(found, default=None)

    async def dispatched(
        self, workflow: str, since: datetime, head_sha: str | None = None
    ) -> tuple[WorkflowRun, ...]:
        """Give the dispatched runs of a workflow since then, newest first.

        `head_sha` narrows them to those that hang on this commit.
        """
        query: Query = {"event": "workflow_dispatch", "head_sha": head_sha}
        runs = []
        # Newest first, so what is older needs no further page.
        async for data in self._channel.items(
            RUNS_OF, key="workflow_runs", query=query, workflow=workflow
        ):
            run = WorkflowRun.model_validate(data)
            if run.created_at is not None and run.created_at < since:
                break
            runs.append(run)
        return tuple(runs)

    async def run(self, run_id: int) -> WorkflowRun | None:
        """Read one run; None once it was deleted."""
        data = await self._channel.find(RUN, run_id=run_id)
        return None if data is None else WorkflowRun.model_validate(data)

    async def jobs(self, run_id: int) -> tuple[WorkflowJob, ...]:
        """Give the jobs of a run's latest attempt."""
        found = self._channel.items(JOBS, key="jobs", run_id=run_id)
        return tuple([WorkflowJob.model_validate(data) async for data in found])

    async def annotations(self, job_id: int) -> tuple[JobAnnotation, ...]:
        """Give what a job left on its check-run; nothing where there is none."""
        found = self._channel.items(ANNOTATIONS, run_id=job_id)
        try:
            return tuple([JobAnnotation.model_validate(each) async for each in found])
        except NotFound:
            return ()

    async def cancel(self, run_id: int) -> None:
        """Stop a run; that it is over or gone already is fine."""
        try:
            await self._channel.post(CANCEL, None, repeatable=True, run_id=run_id)
        except (Conflict, NotFound):
            return


def _words(run: WorkflowRun) -> list[str]:
    return run.display_title.split()
