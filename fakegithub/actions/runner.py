"""Runs workflows: really, in a folder with the commit's files, and reports by check-runs.

Each job becomes a check-run of the App `github-actions`; each workflow run has a check suite of
its own, as on GitHub. Commands get a small environment without anybody's secrets, no standard
input, and are killed with everything they started when their time is up.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from fakegithub.access import credentials
from fakegithub.actions import workflow_shape, workflows
from fakegithub.actions.id_tokens import IdTokens
from fakegithub.actions.job_process import Workspace
from fakegithub.actions.workflow_commands import annotations_in
from fakegithub.actions.workflow_runs import FakeWorkflowRun, Job, StepResult, WorkflowCause
from fakegithub.actions.workflows import Workflow, WorkflowError
from fakegithub.changes import checks, suites
from fakegithub.git.bare import GitRefused
from fakegithub.world.model import FakeApp, FakeCheckRun, FakeIssue, FakeRepository, FakeUser
from fakegithub.world.world import Event, World

ACTIONS_APP_ID = 15368
"""The id of GitHub's own `github-actions` App, to which required checks are pinned."""
AT_ONCE = 4
_SKIP = ("[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]")
_LONGEST_LOG = 200_000
_COMMITS_REMEMBERED = 256
_SHA = re.compile("[0-9a-f]{40}")


class WorkflowRunner:
    """Starts workflow runs for events, and runs them, `AT_ONCE` jobs at a time."""

    def __init__(self, world: World) -> None:
        """Remember the world; nothing runs before `start`."""
        self.world = world
        self.runs: dict[int, FakeWorkflowRun] = {}
        self.jobs: dict[int, Job] = {}
        self.known: dict[tuple[int, str], int] = {}
        self.errors: list[str] = []
        self.id_tokens = IdTokens(world)
        self._read: LRUCache[tuple[int, str], dict[str, Workflow]] = LRUCache(_COMMITS_REMEMBERED)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[str]] = set()
        self._started = False
        self._folder: Path | None = None

    @property
    def app(self) -> FakeApp:
        """The App `github-actions`; made when first needed."""
        app = self.world.apps.get(ACTIONS_APP_ID)
        if app is None:
            app = self.world.apps[ACTIONS_APP_ID] = self._make_app()
        return app

    def _make_app(self) -> FakeApp:
        world = self.world
        maker = FakeUser(world.new_id(), "github", "Organization")
        bot = FakeUser(world.new_id(), "github-actions[bot]", "Bot")
        for user in (maker, bot):
            world.users[user.login] = user
        private, public = credentials.new_key_pair()
        return FakeApp(
            ACTIONS_APP_ID, "github-actions", "GitHub Actions", maker, bot,
            {"checks": "write", "contents": "read", "metadata": "read"}, [], private, public,
            world.new_secret("Iv1."), world.new_secret(""), world.now(),
        )  # fmt: skip

    # Life

    async def start(self) -> None:
        """Begin running."""
        self._folder = Path(tempfile.mkdtemp(prefix="demo-runner-"))
        self._started = True

    async def stop(self) -> None:
        """Kill what runs and remove its files."""
        self._started = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def settle(self, timeout: float = 60) -> None:  # noqa: ASYNC109 - the agreed name
        """Wait until nothing runs.

        Raises:
            TimeoutError: when something still does after `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while self._tasks:
                await asyncio.wait(set(self._tasks))

    # What starts a run

    def listen(self, event: Event) -> None:
        """Start what the event triggers."""
        if not self._started or event.repository is None or event.repository.parent is not None:
            return  # in a fork Actions are off, until its owner turns them on
        match event.name, event.action:
            case "push", _:
                self._on_push(event.repository, event.payload)
            case "pull_request", _:
                self._on_pull_request(event.repository, event)
            case "merge_group", "checks_requested":
                self._on_merge_group(event.repository, event.payload)
            case "check_run", "rerequested":
                self._on_rerequested(event)

    def _on_push(self, repository: FakeRepository, payload: Mapping[str, Any]) -> None:
        ref, sha = str(payload["ref"]), str(payload["after"])
        branch = ref.removeprefix("refs/heads/")
        if payload.get("deleted") or branch == ref or branch.startswith("gh-readonly-queue/"):
            return
        actor = self.world.users[str(payload["sender"]["login"]).lower()]
        message = repository.git.commit(sha).message
        if not _skipped(message):
            cause = WorkflowCause("push", sha, branch, ref, sha, actor, message.split("\n", 1)[0])
            self._trigger(repository, cause, branch)

    def _on_pull_request(self, repository: FakeRepository, event: Event) -> None:
        issue = next((s for s in event.subjects if isinstance(s, FakeIssue)), None)
        if issue is None or issue.pull is None or issue.state != "open":
            return
        pull = issue.pull
        base = repository.git.branch(pull.base_ref)
        merged = repository.git.merge_trees(base, pull.head_sha) if base else None
        if merged is None or _skipped(repository.git.commit(pull.head_sha).message):
            return  # as on GitHub, nothing runs while there are conflicts
        actor = self.world.users[str(event.payload["sender"]["login"]).lower()]
        cause = WorkflowCause(
            "pull_request", pull.head_sha, pull.head_ref, f"refs/pull/{issue.number}/merge",
            merged, actor, issue.title,
        )  # fmt: skip
        self._trigger(repository, cause, pull.base_ref, event.action)

    def _on_merge_group(self, repository: FakeRepository, payload: Mapping[str, Any]) -> None:
        group = payload["merge_group"]
        sha, ref = str(group["head_sha"]), str(group["head_ref"])
        branch = ref.removeprefix("refs/heads/")
        actor = self.world.users[str(payload["sender"]["login"]).lower()]
        title = str(group["head_commit"]["message"]).split("\n", 1)[0]
        cause = WorkflowCause("merge_group", sha, branch, ref, sha, actor, title)
        self._trigger(repository, cause, str(group["base_ref"]).removeprefix("refs/heads/"))

    def _on_rerequested(self, event: Event) -> None:
        check = next((s for s in event.subjects if isinstance(s, FakeCheckRun)), None)
        job = self.jobs.get(check.id) if check is not None else None
        run = self.run_of(job) if job is not None else None
        if job is not None and run is not None:
            self.rerun(run, [job.spec.key])

    def _trigger(
        self,
        repository: FakeRepository,
        cause: WorkflowCause,
        branch: str,
        action: str | None = None,
    ) -> None:
        for path, workflow in self.workflows_at(repository, cause.tree).items():
            trigger = workflow.triggers.get(cause.event)
            if trigger is None or not trigger.takes(branch):
                continue
            if cause.event == "pull_request" and action not in trigger.types:
                continue
            self.begin(repository, workflow, self.id_of(repository, path), cause)

    def workflows_at(self, repository: FakeRepository, treeish: str) -> dict[str, Workflow]:
        """Every workflow that can be read there, by path; the others are in `errors`."""
        key = (repository.id, treeish)
        if key not in self._read:
            found = self._read_workflows(repository, treeish)
            if not _SHA.fullmatch(treeish):
                return found  # A name, which may mean something else tomorrow.
            self._read[key] = found
        return self._read[key]

    def _read_workflows(self, repository: FakeRepository, treeish: str) -> dict[str, Workflow]:
        found = {}
        for entry in repository.git.tree(treeish, path=f"{workflows.FOLDER}/"):
            if entry.type != "blob" or not entry.path.endswith((".yml", ".yaml")):
                continue
            self.id_of(repository, entry.path)
            try:
                text = repository.git.read(entry.sha).decode(errors="replace")
                found[entry.path] = workflows.read(entry.path, text)
            except WorkflowError as error:
                self.errors.append(str(error))
        return found

    def id_of(self, repository: FakeRepository, path: str) -> int:
        """The id of a workflow file, which it keeps through all commits."""
        key = (repository.id, path)
        if key not in self.known:
            self.known[key] = self.world.new_id()
        return self.known[key]

    # One run

    def begin(
        self, repository: FakeRepository, workflow: Workflow, workflow_id: int, cause: WorkflowCause
    ) -> FakeWorkflowRun:
        """Start one run; its jobs wait for a free slot."""
        now = self.world.now()
        suite = suites.create(self.world, repository, self.app, cause.sha, cause.branch)
        number = 1 + sum(run.workflow_id == workflow_id for run in self.runs.values())
        title = cause.title
        if workflow.run_name:
            title = workflows.fill(workflow.run_name, _context(repository, cause)) or title
        elif cause.event == "workflow_dispatch":
            title = workflow.name
        run = FakeWorkflowRun(
            self.world.new_id(), number, repository, workflow, workflow_id, cause, suite, title,
            now, now, now,
        )  # fmt: skip
        self.runs[run.id] = run
        self._emit(run, "requested")
        self._launch(run, [job.key for job in workflow.jobs])
        return run

    def rerun(self, run: FakeWorkflowRun, keys: list[str]) -> None:
        """Run some jobs again, and those that need them, as a new attempt."""
        again = set(keys)
        for spec in workflows.in_order(run.workflow.jobs):
            if again.intersection(spec.needs):
                again.add(spec.key)
        run.attempt += 1
        run.started_at = self.world.now()
        run.status, run.conclusion = "queued", None
        self._emit(run, "requested")
        self._launch(run, [spec.key for spec in run.workflow.jobs if spec.key in again])

    def cancel(self, run: FakeWorkflowRun) -> None:
        """Stop every job that has not ended."""
        for job in run.jobs.values():
            if job.task is not None and not job.task.done():
                job.task.cancel()

    def run_of(self, job: Job) -> FakeWorkflowRun | None:
        """The run a job belongs to."""
        return next((run for run in self.runs.values() if run.suite is job.check.suite), None)

    def _launch(self, run: FakeWorkflowRun, keys: list[str]) -> None:
        for spec in workflows.in_order(run.workflow.jobs):
            if spec.key not in keys:
                continue
            check = checks.create(
                self.world, run.repository, self.app, spec.name, run.cause.sha,
                {"status": "queued"}, suite=run.suite, sender=run.cause.actor,
            )  # fmt: skip
            check.details_url = workflow_shape.job_page(self.world, run, check.id)
            job = Job(spec, check, run.attempt, self.world.now())
            job.steps = [StepResult(step.name, number) for number, step in enumerate(spec.steps, 1)]
            self.jobs[job.id] = run.jobs[spec.key] = job
        for key in keys:
            job = run.jobs[key]
            job.task = asyncio.ensure_future(self._work(run, job))
            self._tasks.add(job.task)
            job.task.add_done_callback(partial(self._finish, run, job))

    async def _work(self, run: FakeWorkflowRun, job: Job) -> str:
        """Wait for the jobs it needs and for a slot, run it, and return the conclusion."""
        needed = [run.jobs[key] for key in job.spec.needs]
        tasks = [other.task for other in needed if other.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        if not job.spec.always and any(n.check.conclusion != "success" for n in needed):
            return "skipped"
        try:
            async with self._slots:
                self._mark_started(run, job)
                return await self._carry_out(run, job)
        except (OSError, GitRefused, RuntimeError) as error:
            job.log += f"The runner failed: {error}\n"
            return "failure"

    def _mark_started(self, run: FakeWorkflowRun, job: Job) -> None:
        checks.update(
            self.world, run.repository, job.check, {"status": "in_progress"},
            sender=run.cause.actor,
        )  # fmt: skip
        job.check.started_at = self.world.now()
        if run.status == "queued":
            run.status = "in_progress"
            self._emit(run, "in_progress")

    async def _carry_out(self, run: FakeWorkflowRun, job: Job) -> str:
        if self._folder is None:
            raise RuntimeError("the runner was not started")
        context = _context(run.repository, run.cause)
        space = Workspace(
            self._folder / str(job.id), run.repository.git, run.cause.tree,
            self._environment(run, job, context), run.cause.sha,
        )  # fmt: skip
        try:
            async with asyncio.timeout(job.spec.minutes * 60):
                return await self._steps(job, space, context)
        except TimeoutError:
            job.log += f"The job was stopped after {job.spec.minutes:g} minutes.\n"
            return "cancelled"
        finally:
            self.id_tokens.forget(job)
            space.remove()

    async def _steps(self, job: Job, space: Workspace, context: Mapping[str, str]) -> str:
        if not any(spec.checkout is not None for spec in job.spec.steps):
            space.check_out("")
        failed, context = False, dict(context)
        for spec, step in zip(job.spec.steps, job.steps, strict=True):
            if failed and not spec.always:
                step.status, step.conclusion = "completed", "skipped"
                continue
            step.status, step.started_at = "in_progress", self.world.now()
            code, output = await space.do(spec, context)
            context |= space.outputs(spec)
            job.log = (job.log + f"## {spec.name}\n{output}")[-_LONGEST_LOG:]
            job.check.annotations += annotations_in(output)
            step.status, step.completed_at = "completed", self.world.now()
            step.conclusion = "success" if code == 0 else "failure"
            if code:
                job.log += f"Process completed with exit code {code}.\n"
                failed = failed or not spec.may_fail
        return "failure" if failed else "success"

    def _environment(
        self, run: FakeWorkflowRun, job: Job, context: Mapping[str, str]
    ) -> dict[str, str]:
        own = {**run.workflow.env, **job.spec.env}
        return {
            "GITHUB_REPOSITORY": run.repository.full_name,
            "GITHUB_SERVER_URL": self.world.url,
            "GITHUB_API_URL": self.world.api,
            "GITHUB_EVENT_NAME": run.cause.event,
            "GITHUB_SHA": run.cause.sha,
            "GITHUB_REF": run.cause.ref,
            "GITHUB_REF_NAME": run.cause.branch,
            "GITHUB_RUN_ID": str(run.id),
            "GITHUB_RUN_ATTEMPT": str(run.attempt),
            "GITHUB_JOB": job.spec.key,
            "GITHUB_ACTOR": run.cause.actor.login,
            "GITHUB_WORKFLOW": run.workflow.name,
            **self.id_tokens.environment(run, job),
            **{name: workflows.fill(text, context) for name, text in own.items()},
        }

    def _finish(self, run: FakeWorkflowRun, job: Job, task: asyncio.Task[str]) -> None:
        conclusion = "cancelled" if task.cancelled() else task.result()
        if conclusion == "failure":
            last = (job.log.strip().splitlines() or ["The job failed."])[-1]
            job.check.annotations.append(
                {"path": ".github", "start_line": 1, "end_line": 1,
                 "annotation_level": "failure", "message": last[:500]}
            )  # fmt: skip
        checks.update(
            self.world, run.repository, job.check, {"conclusion": conclusion},
            sender=run.cause.actor,
        )  # fmt: skip
        self._settle(run)
        self._tasks.discard(task)

    def _settle(self, run: FakeWorkflowRun) -> None:
        run.updated_at = self.world.now()
        if any(job.check.status != "completed" for job in run.jobs.values()):
            return
        run.status, run.conclusion = "completed", run.suite.conclusion
        self._emit(run, "completed")

    def _emit(self, run: FakeWorkflowRun, action: str) -> None:
        run.updated_at = self.world.now()
        shape = workflow_shape.present_run(self.world, run)
        workflow = workflow_shape.present_workflow(
            self.world, run.repository, run.workflow_id, run.workflow.path, run.workflow.name
        )
        self.world.emit(
            "workflow_run", action, {"workflow_run": shape, "workflow": workflow},
            repository=run.repository, sender=run.cause.actor, subjects=(run,),
        )  # fmt: skip


def _skipped(message: str) -> bool:
    lowered = message.lower()
    return any(word in lowered for word in _SKIP)


def _context(repository: FakeRepository, cause: WorkflowCause) -> dict[str, str]:
    return {
        **{f"inputs.{name}": value for name, value in cause.inputs.items()},
        "github.sha": cause.sha,
        "github.ref": cause.ref,
        "github.ref_name": cause.branch,
        "github.head_ref": cause.branch if cause.event == "pull_request" else "",
        "github.event_name": cause.event,
        "github.actor": cause.actor.login,
        "github.repository": repository.full_name,
        "github.event.pull_request.head.sha": cause.sha if cause.event == "pull_request" else "",
    }
