"""Checks and deployments of a commit.

https://docs.github.com/rest/deployments; the App needs `deployments: read`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from bot.github.calls.app import Ourselves
from bot.github.calls.ensure import LOOKS, ensure, result_of_run, result_of_status
from bot.github.markers import CHECK_TEXT_LIMIT, byte_size, cut, cut_title
from bot.github.models import (
    Annotation,
    CheckKind,
    CheckResult,
    CheckRun,
    CommitStatus,
    Deployment,
    DeploymentStatus,
)
from bot.github.transport.channel import Channel, Query

DEPLOYMENTS = "/repos/{owner}/{repo}/deployments"
STATUSES = "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses"


class Deployments:
    """The deployments of the repository; the bot never makes one."""

    def __init__(self, channel: Channel) -> None:
        """Work through `channel`."""
        self._channel = channel

    async def of(self, sha: str) -> tuple[Deployment, ...]:
        """Give the deployments of one commit, the newest first.

        Raises:
            Forbidden: If the App was not granted `deployments: read`.
        """
        found = self._channel.items(DEPLOYMENTS, query={"sha": sha})
        known = [Deployment.model_validate(data) async for data in found]
        return tuple(sorted(known, key=lambda each: each.id, reverse=True))

    async def statuses(self, deployment_id: int) -> tuple[DeploymentStatus, ...]:
        """Give what was said of a deployment, the newest first."""
        found = self._channel.items(STATUSES, deployment_id=deployment_id)
        known = [DeploymentStatus.model_validate(data) async for data in found]
        return tuple(sorted(known, key=lambda each: each.id, reverse=True))


RUNS = "/repos/{owner}/{repo}/check-runs"
RUN = "/repos/{owner}/{repo}/check-runs/{run_id}"
RUNS_OF = "/repos/{owner}/{repo}/commits/{ref*}/check-runs"
STATUS_OF = "/repos/{owner}/{repo}/commits/{ref*}/status"
RERUN_JOB = "/repos/{owner}/{repo}/actions/jobs/{job_id}/rerun"

MAX_ACTIONS = 3

Conclusion = Literal[
    "success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"
]


@dataclass(frozen=True)
class Button:
    """A button on a check-run; `identifier` comes back in `requested_action`.

    GitHub's limits: label 20 characters, description 40, identifier 20, three buttons.
    """

    label: str
    description: str
    identifier: str

    def __post_init__(self) -> None:
        """Refuse what GitHub would refuse, where it is written: cutting it would cut a word."""
        for words, most in ((self.label, 20), (self.description, 40), (self.identifier, 20)):
            if not 0 < len(words) <= most:
                raise ValueError(f"{words!r} has {len(words)} characters, at most {most} are shown")

    def body(self) -> dict[str, str]:
        """Give the request body."""
        return {
            "label": self.label,
            "description": self.description,
            "identifier": self.identifier,
        }


@dataclass(frozen=True)
class CheckReport:
    """What one of our check-runs says.

    Attributes:
        title: its headline; cut to GitHub's limit.
        summary: Markdown below it, cut to 65,535 bytes.
        conclusion: how it ended; None while it is at work.
        buttons: at most three.
        url: where GitHub's "Details" leads; None: to the App's page.
    """

    title: str
    summary: str
    conclusion: Conclusion | None = None
    buttons: Sequence[Button] = ()
    url: str | None = None

    def __post_init__(self) -> None:
        """Refuse what GitHub would refuse."""
        if len(self.buttons) > MAX_ACTIONS:
            raise ValueError(f"A check-run takes {MAX_ACTIONS} buttons, not {len(self.buttons)}.")

    def body(self) -> dict[str, Any]:
        """Give the request body."""
        ended = {} if self.conclusion is None else {"conclusion": self.conclusion}
        return {
            "status": "in_progress" if self.conclusion is None else "completed",
            "output": {
                "title": cut_title(self.title),
                "summary": cut(self.summary, CHECK_TEXT_LIMIT, byte_size),
            },
            "actions": [button.body() for button in self.buttons],
            **({} if self.url is None else {"details_url": self.url}),
            **ended,
        }


class Checks:
    """The checks on a commit. Only the App's own check-runs can be changed."""

    def __init__(self, channel: Channel, ourselves: Ourselves) -> None:
        """Work through `channel`; recognize our own check-runs by `ourselves`."""
        self._channel = channel
        self._ourselves = ourselves

    async def results(self, ref: str) -> tuple[CheckResult, ...]:
        """Give the latest result of every check on a commit or branch, by name.

        Check-runs (the latest of each name in each suite, and an App may have several suites) and
        commit statuses (the latest of each context) together. A check with both appears twice, as
        it does on GitHub.
        """
        runs = self._channel.items(RUNS_OF, key="check_runs", query={"filter": "latest"}, ref=ref)
        results = [result_of_run(CheckRun.model_validate(data)) async for data in runs]
        statuses = self._channel.items(STATUS_OF, key="statuses", ref=ref)
        results += [result_of_status(CommitStatus.model_validate(data)) async for data in statuses]
        return tuple(sorted(results, key=lambda result: (result.name, result.app_id or 0)))

    async def annotations(self, run_id: int) -> tuple[Annotation, ...]:
        """Give what a check-run says about single lines."""
        found = self._channel.items(f"{RUN}/annotations", run_id=run_id)
        return tuple([Annotation.model_validate(data) async for data in found])

    async def get(self, run_id: int) -> CheckRun:
        """Read one check-run."""
        return CheckRun.model_validate(await self._channel.get(RUN, run_id=run_id))

    async def first_said(self, head_sha: str, name: str) -> datetime | None:
        """Tell when our check-run of this name was first put on a commit, by GitHub's clock."""
        app = await self._ourselves.app()
        query: Query = {"check_name": name, "filter": "all", "app_id": app.id}
        found = self._channel.items(RUNS_OF, key="check_runs", query=query, ref=head_sha)
        runs = [CheckRun.model_validate(data) async for data in found]
        moments = [run.started_at or run.completed_at for run in runs]
        return min((each for each in moments if each is not None), default=None)

    async def ensure_check_run(
        self,
        *,
        head_sha: str,
        name: str,
        external_id: str,
        report: CheckReport,
        look_first: bool,
        looks: tuple[float, ...] = LOOKS,
    ) -> CheckRun:
        """Put our check-run on `head_sha`, unless one with this `external_id` is there.

        One that is found is given back as it is: `update` it to change what it says.

        Args:
            head_sha: The commit.
            name: Stable, without ids, since branches can require it by name.
            external_id: What makes it this one: the run's id.
            report: What it says.
            look_first: Whether this step may already have run.
            looks: See `ensure`.
        """

        async def look() -> CheckRun | None:
            app = await self._ourselves.app()
            query: Query = {"check_name": name, "filter": "all", "app_id": app.id}
            found = self._channel.items(RUNS_OF, key="check_runs", query=query, ref=head_sha)
            ours = [
                run
                async for run in (CheckRun.model_validate(data) async for data in found)
                if run.external_id == external_id and run.app is not None and run.app.id == app.id
            ]
            return min(ours, key=lambda run: run.id, default=None)

        async def create() -> CheckRun:
            body = {"name": name, "head_sha": head_sha, "external_id": external_id}
            return CheckRun.model_validate(await self._channel.post(RUNS, body | report.body()))

        return await ensure(
            look=look,
            create=create,
            look_first=look_first,
            sleep=self._channel.around.sleep,
            looks=looks,
        )

    async def update(self, run_id: int, report: CheckReport) -> CheckRun:
        """Set what one of our check-runs says. Doing it twice changes nothing more.

        Raises:
            Forbidden: If it belongs to another App.
        """
        data = await self._channel.patch(RUN, report.body(), run_id=run_id)
        return CheckRun.model_validate(data)

    async def ensure_reported(
        self,
        known: int | None,
        *,
        head_sha: str,
        name: str,
        external_id: str,
        report: CheckReport,
        look_first: bool,
        looks: tuple[float, ...] = LOOKS,
    ) -> int:
        """Have our check-run on `head_sha` say this, and give its id: made, else updated.

        Args:
            known: Its id where it is known; None has it looked for or made.
            head_sha: See `ensure_check_run`, as for what follows.
            name: Its stable name.
            external_id: What makes it this one.
            report: What it says from now on.
            look_first: Whether it may be there already.
            looks: See `ensure`.
        """
        if known is None:
            run = await self.ensure_check_run(
                head_sha=head_sha,
                name=name,
                external_id=external_id,
                report=report,
                look_first=look_first,
                looks=looks,
            )
            if not look_first:
                return run.id
            known = run.id
        await self.update(known, report)
        return known

    async def rerun(self, result: CheckResult) -> None:
        """Ask for a check to run again: the Actions job, else the check-run's App.

        A commit status cannot be run again by GitHub; its reporter must be asked.

        Raises:
            StillRunning: Not yet: another job of its workflow run is under way.
            Unprocessable, Forbidden: If it cannot be run again, such as a job that is over for
                30 days.
        """
        if result.kind is not CheckKind.CHECK_RUN:
            raise ValueError(f"GitHub cannot run the commit status {result.name!r} again.")
        if result.app_slug == "github-actions":
            # The id of an Actions check-run is the id of its job.
            await self._channel.post(RERUN_JOB, {}, job_id=result.id)
        else:
            await self._channel.post(f"{RUN}/rerequest", None, run_id=result.id)


_VERDICTS = frozenset({"success", "failure", "neutral", "skipped", "action_required"})
"""What says something of the code; the rest (cancelled, timed out, …) only of its run."""


def newest(results: Sequence[CheckResult]) -> tuple[CheckResult, ...]:
    """Leave out what a newer run of the same check, by the same reporter, has settled.

    A run without a verdict is settled by any newer one; one with a verdict by one that began after
    it ended. Runs that overlap are no repeats of each other (two workflows may name a job alike),
    so each of them speaks: none hides the other's failure.

    Args:
        results: of one commit, in any order.

    Returns:
        those that speak, in the order given; at least one of each name, kind and App.
    """
    return tuple(each for each in results if not any(_settles(newer, each) for newer in results))


def _settles(newer: CheckResult, older: CheckResult) -> bool:
    of_one = (newer.name, newer.kind, newer.app_id) == (older.name, older.kind, older.app_id)
    if not of_one or not older.is_completed or not _is_newer(newer, older):
        return False
    if older.conclusion not in _VERDICTS:
        return True
    began, ended = newer.started_at, older.completed_at
    return began is None or ended is None or began >= ended


def _is_newer(one: CheckResult, other: CheckResult) -> bool:
    """Tell by when they began, else ended; GitHub's ids grow, and decide between equals."""
    for its, others in (
        (one.started_at, other.started_at),
        (one.completed_at, other.completed_at),
    ):
        if its is not None and others is not None and its != others:
            return its > others
    return one.id > other.id
