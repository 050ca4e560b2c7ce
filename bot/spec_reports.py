"""Spec reports: read from a pull request's head, and put into its summary.

Anybody may bring such a file, by a pull request from a fork; so what one may cost is bounded, and
each is read once.

Nothing is remembered that matters: a description's own section says that there was a file, and
what it should say follows from the pull request as it is. So whatever is lost in a crash is found
again by the next sweep.
"""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from cachetools import LRUCache
from pydantic import FailFast, Field, ValidationError

from bot import markdown
from bot.errors import Passing
from bot.github.calls.checks import newest
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import GitHubError
from bot.github.markers import BODY_LIMIT
from bot.github.models import CheckResult, PullRequest
from bot.github.served import InstallationQueue
from bot.records.documents.reports import (
    SPEC_REPORT_PATH,
    SPEC_TABLE_HEAD,
    Met,
    Requirement,
    SpecReport,
    TrialMetric,
    spec_table,
    summary_of,
)
from bot.triggers import Repository, Value

log = structlog.get_logger(__name__)
LARGEST_BYTES = 32 * 1024
"""A larger file is refused unread."""
MOST_REQUIREMENTS = 200
MOST_METRICS = 500
EXPECTS_SUCCESS = "success"
"""Where a requirement expects this of a check, the check itself is asked; else the file is."""

_FAULTS_TOLD = 5
_WORST_FIRST = ("failure", "action_required", "error")


class SpecFault(Value):
    """One thing wrong with the file: the field (empty: the file as a whole), and what is."""

    field: str
    what: str


_TOO_LARGE = (SpecFault(field="", what=f"larger than {LARGEST_BYTES // 1024} KiB"),)


class _Theirs(SpecReport):
    """A report by somebody else: of so many rows, and the first wrong one ends the reading.

    Collecting what is wrong with ten thousand rows takes seconds, in which nothing else runs.
    """

    spec: Annotated[tuple[Requirement, ...], Field(max_length=MOST_REQUIREMENTS), FailFast()]
    metrics: Annotated[tuple[TrialMetric, ...], Field(max_length=MOST_METRICS), FailFast()]


Read = SpecReport | tuple[SpecFault, ...]

_known: LRUCache[str, Read] = LRUCache(200)


async def read_once(blob: str, content: bytes | None) -> Read:
    """Read a file away from the event loop, or remember what came of reading it.

    Args:
        blob: the file's id in git, which names its content.
        content: its bytes; None where there are more than LARGEST_BYTES.

    Returns:
        The report; what is wrong with it, at most five things, where it is invalid.
    """
    if content is None:
        return _TOO_LARGE
    if blob not in _known:
        _known[blob] = await asyncio.to_thread(read_spec, content)
    return _known[blob]


def read_spec(content: bytes) -> Read:
    """Read the file's bytes; what is wrong with it, at most five things, where it is invalid."""
    if len(content) > LARGEST_BYTES:
        return _TOO_LARGE
    try:
        # Some editors put a mark before the text; it is none of JSON.
        return _Theirs.model_validate_json(content.removeprefix(BOM_UTF8))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return tuple(
            SpecFault(field=".".join(str(part) for part in fault["loc"]), what=fault["msg"])
            for fault in faults[:_FAULTS_TOLD]
        )


def with_results(report: SpecReport, results: Sequence[CheckResult]) -> SpecReport:
    """Bring a report up to what the checks say of the pull request's head now.

    What the file claims of a check cannot have been seen on the commit that holds the file, so
    the check is asked instead. Counts are made again, whatever the file says.
    """
    named: defaultdict[str, list[CheckResult]] = defaultdict(list)
    for each in results:
        named[each.name].append(each)
    spec = tuple(_asked(each, named) for each in report.spec)
    return report.model_copy(update={"spec": spec, "summary": summary_of(spec)})


def _asked(requirement: Requirement, results: Mapping[str, Sequence[CheckResult]]) -> Requirement:
    if requirement.check is None or requirement.expectation != EXPECTS_SUCCESS:
        return requirement
    found = results.get(requirement.check, ())
    if not found:
        return _with(requirement, None, Met.UNKNOWN, None)
    running = [each for each in found if not each.is_completed]
    failed = [each for each in found if each.conclusion in _WORST_FIRST]
    silent = [each for each in found if each.is_completed and each.conclusion != "success"]
    if failed:
        return _with(requirement, failed[0].conclusion, Met.UNMET, failed[0].url)
    if running:
        return _with(requirement, "running", Met.UNKNOWN, running[0].url)
    if silent:
        return _with(requirement, silent[0].conclusion, Met.UNKNOWN, silent[0].url)
    return _with(requirement, "success", Met.MET, found[0].url)


def _with(
    requirement: Requirement, observed: str | None, verdict: Met, evidence: str | None
) -> Requirement:
    return requirement.model_copy(
        update={"observed": observed, "verdict": verdict, "evidence": evidence}
    )


SECTION = "spec"
"""The name of our section in the description."""
LONGEST_TABLE = 30_000
"""Characters; a longer table is left out, since descriptions end at 65,536."""

_SHORT = 7


def table(report: SpecReport, head: str, file_url: str) -> str:
    """Show a report, brought up to date, as the pull request's section."""
    shown = spec_table(report)
    count = report.summary
    unmet = f"{count.unmet} of {len(report.spec)} requirements"
    first = (
        f"**Look at the requirements below: {unmet} are not met.**"
        if count.unmet
        else "**In progress: some requirements below are not known yet.**"
        if count.unknown
        else "**Done: every requirement below is met.**"
        if report.spec
        else "**Name what is required: this report has no requirement.**"
    )
    if len(shown) > LONGEST_TABLE:
        shown = f"{count.met} met, {count.unmet} unmet, {count.unknown} not known yet. " + (
            "The table is too long to be shown here."
        )
    return (
        f"{first}\n\nFrom {markdown.link(SPEC_REPORT_PATH, file_url)} at "
        f"{markdown.code(head[:_SHORT])}, with what the checks say now.\n\n{shown}"
    )


def invalid(faults: Sequence[SpecFault], head: str, file_url: str) -> str:
    """Say what is wrong with the file and what to do."""
    listed = "\n".join(
        f"- {markdown.code(fault.field)}: {markdown.text(fault.what, limit=300)}"
        if fault.field
        else f"- the file: {markdown.text(fault.what, limit=300)}"
        for fault in faults
    )
    return (
        f"**Fix {markdown.link(SPEC_REPORT_PATH, file_url)}, or take it out of this pull "
        f"request: it is not a spec report.**\n\nAt {markdown.code(head[:_SHORT])}:\n\n{listed}\n\n"
        f"Expected is JSON of the schema {markdown.code('incident-playbooks/spec/1')}."
    )


SWEEP_EVERY = timedelta(hours=1)
LOOKED_BACK = timedelta(days=1)
"""A sweep looks into pull requests that changed since then, and those that have a section."""
LOOK_EVERY = 1.0
"""Seconds between two looks at one pull request: a burst of checks is at most two looks."""
OUTSIDERS_EVERY = 5.0
"""The same for one from a fork."""
TRIES = 10
LONGEST_PAUSE = 300.0
AT_ONCE = 4
"""Pull requests that are looked at side by side: anybody may open a hundred."""

_Key = tuple[int, int]


class SpecReports:
    """Shows every open pull request's `self/spec_report.json` in its description."""

    def __init__(
        self,
        github: GitHub,
        *,
        web_url: str,
        clock: Callable[[], datetime],
        served: Callable[[], Awaitable[Sequence[Repository]]],
        make_way: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            github: whom to ask.
            web_url: GitHub's pages.
            clock: tells the time (UTC).
            served: gives the repositories to sweep.
            make_way: waits while people with rights are being served.
        """
        self._make_way = make_way
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._github = github
        self._web_url = web_url
        self._clock = clock
        self._served = served
        self._at_work: dict[_Key, _Looks] = {}
        self._nothing_at: LRUCache[_Key, str] = LRUCache(10_000)
        self._numbers: LRUCache[tuple[int, str], int] = LRUCache(1_000)
        self._outsiders: LRUCache[_Key, str] = LRUCache(10_000)
        self._looks = InstallationQueue(self._look, "spec reports could not be looked for")

    def heard(
        self,
        repository: Repository,
        pull_requests: Sequence[int],
        head_sha: str | None,
        *,
        outsider: str | None = None,
    ) -> None:
        """Take notice that something happened to pull requests, or to checks of a commit.

        `outsider` wrote one of those from a fork.
        """
        numbers = list(pull_requests)
        if not numbers and head_sha is not None:
            # Checks of a fork's commit do not say which pull request it belongs to.
            known = self._numbers.get((repository.id, head_sha))
            numbers = [known] if known is not None else []
        for number in numbers:
            key = (repository.id, number)
            if outsider is not None:
                self._outsiders[key] = outsider
            if head_sha is not None and self._brings_none(key, head_sha):
                continue
            looks = self._at_work.setdefault(key, _Looks())
            looks.wanted = True
            if looks.task is None:
                looks.task = asyncio.create_task(self._keep(repository, number, looks))

    def _brings_none(self, key: _Key, head_sha: str) -> bool:
        made = self._github.made.commits.get(head_sha)
        ours_without = made is not None and SPEC_REPORT_PATH not in made.paths
        return ours_without or self._nothing_at.get(key) == head_sha

    async def run(self) -> None:
        """Sweep now and then, until cancelled: deliveries get lost."""
        try:
            while True:
                await self._sweep()
                await asyncio.sleep(SWEEP_EVERY.total_seconds())
        finally:
            self._looks.close()
            for looks in list(self._at_work.values()):
                if looks.task is not None:
                    looks.task.cancel()

    async def _sweep(self) -> None:
        try:
            for repository in await self._served():
                self.look_at(repository)
        except (Passing, GitHubError) as error:
            log.warning("spec reports could not be looked for", why=str(error))

    def look_at(self, repository: Repository) -> None:
        """Look soon for pull requests that changed, or whose report is out of date."""
        self._looks.put(repository)

    async def _look(self, repository: Repository) -> None:
        """Hear of every pull request that changed lately, or whose report is out of date."""
        start = markdown.marker(f"{SECTION}-start")
        since = self._clock() - LOOKED_BACK
        async for pull in self._client(repository).pulls.list():
            is_recent = pull.updated_at is not None and pull.updated_at >= since
            if is_recent or start in (pull.body or ""):
                outsider = pull.user.login if pull.is_from_fork else None
                self.heard(repository, (pull.number,), pull.head.sha, outsider=outsider)

    async def _keep(self, repository: Repository, number: int, looks: _Looks) -> None:
        key = (repository.id, number)
        try:
            while looks.wanted:
                looks.wanted = False
                await self._through_outages(repository, number)
                await asyncio.sleep(OUTSIDERS_EVERY if key in self._outsiders else LOOK_EVERY)
        except GitHubError as error:
            # Suspended, uninstalled, refused: as its owners want it; a later look tries again.
            log.warning("no spec report is shown", pull_request=number, why=str(error))
        except Exception:
            log.exception("a spec report could not be shown", pull_request=number)
        finally:
            del self._at_work[key]

    async def _through_outages(self, repository: Repository, number: int) -> None:
        pause = 1.0
        for attempt in range(TRIES):
            try:
                async with self._slots:
                    await self._make_way()
                    await self._show(self._client(repository, number), number)
            except Passing as error:
                if not self._client(repository, number).has_room:
                    log.info("no spec report is shown", pull_request=number, why=str(error))
                    return
                if attempt == TRIES - 1:
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return

    def _client(self, repository: Repository, number: int | None = None) -> RepositoryClient:
        outsider = None if number is None else self._outsiders.get((repository.id, number))
        return self._github.repository(repository, playbook="spec", outsider=outsider)

    async def _show(self, github: RepositoryClient, number: int) -> None:
        """Make the description of one pull request say what is so now."""
        pull = await github.pulls.find(number)
        if pull is None or pull.state != "open":
            return
        key, head = (github.repository.id, number), pull.head.sha
        if pull.is_from_fork:
            self._outsiders[key] = pull.user.login
            github = github.about_head_of(pull)
        section = await self._section(github, pull)
        if section is None:
            self._nothing_at[key] = head
        else:
            self._nothing_at.pop(key, None)
            self._numbers[github.repository.id, head] = number
        body = pull.body or ""
        wanted = _with_report(body, section)
        if wanted == body:
            return
        # Read again: its author may have edited it while the checks were read.
        pull = await github.pulls.get(number)
        body = pull.body or ""
        wanted = _with_report(body, section)
        if pull.head.sha == head and wanted != body:
            await github.pulls.update(number, body=wanted)

    async def _section(self, github: RepositoryClient, pull: PullRequest) -> str | None:
        """What the section is to say; None: there should be none."""
        head = pull.head.sha
        file = await github.contents.find(SPEC_REPORT_PATH, head, largest=LARGEST_BYTES)
        if file is None or not await _brings(github, pull):
            return None
        if await self._told_by_us(github, pull):
            return None
        url = f"{self._web_url}/{github.repository.full_name}/blob/{head}/{SPEC_REPORT_PATH}"
        report = await read_once(file.sha, file.content)
        if isinstance(report, tuple):
            return invalid(report, head, url)
        results = newest(await github.checks.results(head))
        return table(with_results(report, results), head, url)

    async def _told_by_us(self, github: RepositoryClient, pull: PullRequest) -> bool:
        """Whether a playbook of ours shows the table already, in a section of its own."""
        elsewhere = markdown.without_section(pull.body or "", SECTION)
        ours = f"{(await github.app()).slug}[bot]"
        return pull.user.login == ours and SPEC_TABLE_HEAD in elsewhere


class _Looks:
    """Whether one pull request is to be looked at (again), and who does."""

    wanted = False
    task: asyncio.Task[None] | None = None


async def _brings(github: RepositoryClient, pull: PullRequest) -> bool:
    """Tell whether the pull request itself brings the file: every later one contains it too."""
    async for changed in github.pulls.files(pull.number):
        if changed.filename == SPEC_REPORT_PATH:
            return changed.status != "removed"
    return False


def _with_report(body: str, section: str | None) -> str:
    if section is None:
        return markdown.without_section(body, SECTION)
    return markdown.with_section(body, SECTION, section, limit=BODY_LIMIT)
