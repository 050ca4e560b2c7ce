"""Where trials run: in workflow runs or in the sandbox, with today's tests laid over.

They are neither branches nor tags, start no workflow and are seen by nobody. One folder below
`refs/` for each incident.

A commit from before the trial workflow was added lacks the file, and whatever else of today the
trial needs. For such a commit another is made, the same but for those files, and it is tried
instead. It hangs on a hidden ref, neither branch nor tag, which is removed again.

Every trial is dispatched at the default branch with the inputs `sha` and `trial_id`, found again
by its id in the run's title, and read by its run id, never by a commit (docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from bot import markdown
from bot.config import BisectConfig
from bot.culprit.evidence import TrialOutcome
from bot.git.errors import GitError
from bot.git.export import TreeExport
from bot.git.process import Git
from bot.git.trees import has_tree, tree_of
from bot.github.calls.git_data import WORKFLOWS
from bot.github.calls.trees import TreeChange
from bot.github.errors import (
    Conflict,
    Forbidden,
    GitHubError,
    NotFound,
    Unprocessable,
    in_words,
)
from bot.github.models import WorkflowJob
from bot.playbooks.bisect.numeric import alone
from bot.playbooks.bisect.plan import BisectPlan
from bot.playbooks.bisect.ports import (
    BisectGit,
    BisectGitHub,
    BisectMirror,
    BisectResources,
    BisectSandboxes,
    runs,
)
from bot.playbooks.bisect.trials import AwaitedTrial, Ended, Started, TrialRunner, TrialsLook
from bot.playbooks.run import Run, attempt
from bot.playbooks.steps import Step
from bot.trials.outcome import (
    TrialJudgement,
    fingerprint_of,
    ignored_of,
    judge_workflow_run,
    metrics_of,
)
from bot.trials.pool import Order
from bot.trials.runner import TrialPlan, TrialResult
from bot.triggers import Trigger, Value

_ALL = "playbooks/bisect"


def hidden_folder(incident: str) -> str:
    """Name the folder, below `refs/`, of all that a search keeps fetchable for its trials."""
    return f"{_ALL}/{incident}"


def hidden_ref(incident: str) -> str:
    """Name the ref, below `refs/`, of the bad end with the culprit reverted."""
    return f"{hidden_folder(incident)}/without-the-culprit"


async def remove_hidden_refs(
    run: Run, git_data: BisectGit, *, incident: str, repository_id: int
) -> None:
    """Remove this search's refs, and those of searches that broke off before they could."""

    async def look(_: bool) -> list[str]:
        return list(await git_data.hidden_refs(_ALL))

    what = f"remove the refs below {markdown.code(f'refs/{_ALL}')}"
    nothing: list[str] = []
    found = await attempt(run, Step.LIST_HIDDEN_REFS, list[str], look, what=what, otherwise=nothing)
    live: list[str] = []
    if any(_incident(name) != incident for name in found):

        async def read(conn: AsyncConnection) -> list[str]:
            at_work = await runs.list_live(conn, repository_id)
            return [each.incident_id for each in at_work if each.incident_id]

        live = await run.write(Step.READ_LIVE_SEARCHES, list[str], read)
    gone = [name for name in found if _incident(name) == incident or _incident(name) not in live]
    if not gone:
        return

    async def remove(_: bool) -> bool:
        for name in gone:
            await git_data.delete_hidden_ref(name)
        return True

    await attempt(run, Step.DELETE_HIDDEN_REFS, bool, remove, what=what, otherwise=False)


def _incident(name: str) -> str:
    return name.removeprefix(f"{_ALL}/").partition("/")[0]


_SHORT = 12


class Overlaid(Value):
    """The commit to try; `note`, in Markdown, where today's files could not be laid over it."""

    sha: str
    note: str | None = None


class TestOverlay:
    """Lays files of today's default branch over commits that lack them."""

    def __init__(
        self,
        mirror: BisectMirror,
        git_data: BisectGit,
        *,
        branch: str,
        paths: Sequence[str],
        folder: str,
    ) -> None:
        """Prepare.

        Args:
            mirror: the commits and trees.
            git_data: GitHub's.
            branch: whose files, as of now, are laid over others: the default branch.
            paths: files or folders; what of them a commit has stays as it is there.
            folder: where the hidden refs are, below `refs/`.
        """
        self._mirror = mirror
        self._git_data = git_data
        self._branch = branch
        self._paths = tuple(paths)
        self._folder = folder

    async def of(self, sha: str) -> Overlaid:
        """Give the commit to try instead of `sha`: itself, where it lacks nothing."""
        today = await self._mirror.branch_head(self._branch)
        lacking = await self._mirror.read(lambda git: _lacking(git, sha, today, self._paths))
        if not lacking:
            return Overlaid(sha=sha)
        name = f"{self._folder}/{sha[:_SHORT]}"
        if made := await self._git_data.hidden_ref(name):
            return Overlaid(sha=made)
        try:
            base = await self._mirror.read(lambda git: tree_of(git, sha))
            tree = await self._git_data.publish_tree(base, lacking)
            commit = await self._git_data.create_commit(
                tree=tree, parents=[sha], message=f"Try {sha[:_SHORT]} with today's workflow"
            )
            await self._git_data.ensure_hidden_ref(name, commit.sha, look_first=False)
        except (Forbidden, NotFound, Unprocessable):
            # Without `workflows: write`: the commit itself may do, as the workflow is dispatched
            # at the default branch anyway.
            return Overlaid(
                sha=sha,
                note="Commits older than the trial workflow are tried as they are: laying "
                "today's workflow over them needs the permission `workflows: write`.",
            )
        return Overlaid(sha=commit.sha)


async def _lacking(git: Git, sha: str, today: str, paths: Sequence[str]) -> list[TreeChange]:
    if not (await git.run("rev-parse", f"--disambiguate={sha}")).text:
        # Made on GitHub a moment ago, out of today's bad end: that has what it has.
        return []
    have = {path for path, _, _ in await _files(git, sha, paths)}
    return [
        TreeChange(path=path, mode=mode, sha=blob)
        for path, mode, blob in await _files(git, today, paths)
        if path not in have
    ]


async def _files(git: Git, commit: str, paths: Sequence[str]) -> list[tuple[str, str, str]]:
    """List path, mode and id of the files at these paths, as git has them."""
    if not paths:
        return []
    said = await git.run("ls-tree", "-r", "-z", "--full-tree", commit, "--", *paths)
    found = []
    for line in filter(None, said.stdout.split(b"\0")):
        about, _, path = line.partition(b"\t")
        mode, _, blob = about.decode("ascii").split(" ")
        found.append((path.decode("utf-8", "surrogateescape"), mode, blob))
    return found


class SandboxTrialRunner:
    """Tries commits in a pool of sandboxes on this machine.

    The mirror's host git, which alone has a token, writes the trees beforehand; nothing of this
    process's environment or files reaches a trial.
    """

    def __init__(
        self, pool: BisectSandboxes, mirror: BisectMirror, plan: BisectPlan, *, run: str
    ) -> None:
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
            plan=_commands_of(plan),
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


def _commands_of(plan: BisectPlan) -> TrialPlan:
    evals = plan.config.checks.evals
    if plan.numeric is None:
        return commands_for(plan.config.bisect, plan.check, evals=evals)
    # Any command may tell the number, also behind one that fails.
    check = plan.check if plan.check in evals else None
    return replace(commands_for(plan.config.bisect, check, evals=evals), to_the_end=True)


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


class ActionsTrialRunner:
    """Tries commits by dispatching a workflow."""

    def __init__(
        self,
        github: BisectGitHub,
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
            where = f"{WORKFLOWS}{workflow}"
            return Started(refused=f"There is no {where} on {self._plan.default_branch}.")
        except (Unprocessable, Forbidden, Conflict) as refusal:
            return Started(refused=f"{workflow} could not be dispatched: {in_words(refusal)}")
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
                continue
            jobs = await self._github.workflows.jobs(run_id) if found.is_untold else ()
            if found.is_over(jobs):
                jobs = jobs or await self._github.workflows.jobs(run_id)
                judgement = judge_workflow_run(
                    found, jobs, check=self._plan.check, build=settings.build
                )
                if judgement.outcome is TrialOutcome.FAIL:
                    failed = [job.id for job in jobs if job.conclusion == "failure"][:3]
                    notes = [n for j in failed for n in await self._github.workflows.annotations(j)]
                    judgement = judgement.model_copy(update={"fingerprint": fingerprint_of(notes)})
                if self._plan.numeric is not None:
                    judgement = await self._with_numbers(judgement, jobs)
                ended.append(Ended(name=name, judgement=judgement, url=found.html_url or None))
        ids = [each.run_id for each in waiting.values()]
        newest = max((run_id for run_id in ids if run_id in by_id), default=None)
        return TrialsLook(ended=tuple(ended), head=by_id[newest].head_sha if newest else None)

    async def _with_numbers(
        self, judgement: TrialJudgement, jobs: Sequence[WorkflowJob]
    ) -> TrialJudgement:
        """Add the numbers that the jobs reported by annotations, and why some do not count."""
        ran = [job.id for job in jobs if job.conclusion != "skipped"][:_JOBS_READ]
        notes = [note for job in ran for note in await self._github.workflows.annotations(job)]
        reason = ". ".join((judgement.reason, *ignored_of(notes)))
        metrics = alone(metrics_of(notes), self._plan.metric)
        return judgement.model_copy(update={"metrics": metrics, "reason": reason})

    async def stop(self, waiting: Mapping[str, AwaitedTrial]) -> None:
        """Cancel the runs, each by itself; where GitHub refuses some, said after all of them."""
        refusals: list[GitHubError] = []
        for each in waiting.values():
            try:
                await self._github.workflows.cancel(each.run_id)
            except (Forbidden, Unprocessable) as refusal:
                refusals.append(refusal)
        if refusals:
            raise refusals[0]

    async def clear(self) -> None:
        """Runs that are over leave nothing here; hidden refs are the playbook's to remove."""


_JOBS_READ = 10
"""Of how many jobs of a trial the annotations are read for numbers."""
_CLOCKS_DIFFER = timedelta(minutes=10)
"""GitHub's clock and ours."""


def trial_runner_for(
    plan: BisectPlan, parts: BisectResources, trigger: Trigger, *, run: str, incident: str
) -> TrialRunner:
    """Set up the configured bench; nothing is touched before the first trial."""
    settings = plan.config.bisect
    if settings.runner == "sandbox":
        return SandboxTrialRunner(parts.pool, parts.mirror, plan, run=run)
    workflow = [f"{WORKFLOWS}{settings.workflow}"] if settings.workflow else []
    overlay = TestOverlay(
        parts.mirror,
        parts.github.git,
        branch=plan.default_branch,
        paths=(*workflow, *settings.overlay),
        folder=hidden_folder(incident),
    )
    return ActionsTrialRunner(
        parts.github, plan, overlay, run=run, since=trigger.received_at - _CLOCKS_DIFFER
    )
