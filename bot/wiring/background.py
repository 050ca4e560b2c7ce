"""What runs beside the requests: mirrors, hints to Runs, and Runs nobody executes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import Config
from bot.git.errors import GitError
from bot.git.mirror import Mirror
from bot.github.client import GitHub
from bot.github.errors import GitHubError
from bot.intake.activity import Moves
from bot.intake.event_payloads import Hint
from bot.playbooks.plan import read_config
from bot.records import runs
from bot.records.outages import outage_of
from bot.records.tables.columns import from_rfc3339, rfc3339
from bot.safety.flag_sync import FlagSync
from bot.safety.gate_reporter import GateReporter
from bot.safety.records_branch import RecordsBranch
from bot.spec_reports import SpecReports
from bot.triggers import Repository

log = structlog.get_logger(__name__)
RESTART_AFTER = 1.0
"""Seconds until a part that broke off begins again."""


async def keep_running(
    part: str, run: Callable[[], Awaitable[None]], *, pause: float = RESTART_AFTER
) -> None:
    """Run a part until cancelled.

    Each knows how to live with a GitHub or a database that is away. What it did not foresee must
    not end it in silence either: it is logged, and the part begins again.

    Args:
        part: its name in the log.
        run: works until cancelled; may be called again.
        pause: seconds in between.
    """
    while True:
        try:
            return await run()
        except Exception as error:
            if outage_of(error) is None:
                log.exception("a part of the bot broke off; it begins again", part=part)
            else:
                log.warning("a part of the bot waits", part=part, why=str(error))
        await asyncio.sleep(pause)


LOOKED_AT_EVERY = timedelta(minutes=1)
REST = 20
"""Packing takes at most one part of so many of the time, however large the mirror."""
_REST_AFTER_FAILURE_SECONDS = 3600.0


UNSERVED_FOR = timedelta(days=7)
"""So long the mirror of a repository stays where the App is not installed any more."""


def _noted(file: Path, now: datetime) -> datetime:
    """The moment that stands in a file; now, where it did not exist or cannot be read."""
    with suppress(OSError, ValueError):
        return from_rfc3339(file.read_text("utf-8"))
    file.write_text(rfc3339(now), "utf-8")
    return now


class Mirrors:
    """One mirror for each repository; always the same object, since it holds a lock."""

    def __init__(self, folder: Path, github: GitHub, every: timedelta = LOOKED_AT_EVERY) -> None:
        """Keep mirrors below `folder`; nothing is fetched before one is used.

        Args:
            folder: where they are.
            github: where they are fetched from.
            every: how often it is looked whether one has to be packed.
        """
        self._folder = folder
        self._github = github
        self.every = every
        self.rest = REST
        self._known: dict[int, Mirror] = {}
        self._rested: dict[int, float] = {}

    async def run(self) -> None:
        """Pack the mirrors that need it, one after the other, for ever."""
        while True:
            await asyncio.sleep(self.every.total_seconds())
            for mirror in await asyncio.to_thread(self._all):
                await self._keep(mirror)

    async def _keep(self, mirror: Mirror) -> None:
        why = await mirror.reason_to_maintain(datetime.now(UTC))
        began = time.monotonic()
        if why is None or began < self._rested.get(mirror.repository_id, 0.0):
            return
        try:
            done = await mirror.maintain()
        except (GitError, GitHubError) as problem:
            # It is as usable as before; the next look tries again.
            log.warning("mirror.unpacked", mirror=mirror.repository_id, why=str(problem))
            self._rested[mirror.repository_id] = began + _REST_AFTER_FAILURE_SECONDS
            return
        ended = time.monotonic()
        self._rested[mirror.repository_id] = ended + self.rest * (ended - began)
        if done:
            log.info("mirror.packed", mirror=mirror.repository_id, why=why)

    def _all(self) -> list[Mirror]:
        """The mirrors in use, and those that wait in the folder since an earlier start."""
        ids = [int(each.stem) for each in self._folder.glob("*.git") if each.stem.isdigit()]
        return [self._known.get(each) or Mirror(self._folder, each, "") for each in ids]

    async def drop_unserved(self, served: Collection[int], now: datetime) -> list[int]:
        """Delete mirrors whose repositories are not served for `UNSERVED_FOR`; whose they were.

        Since when one is not served stands beside it, so that a restart does not forget it.

        Args:
            served: where the App is installed, or something is under way.
            now: the time.
        """
        dropped = []
        for mirror in await asyncio.to_thread(self._all):
            since = self._folder / f"{mirror.repository_id}.unserved"
            if mirror.repository_id in served:
                await asyncio.to_thread(since.unlink, missing_ok=True)
            elif await asyncio.to_thread(_noted, since, now) <= now - UNSERVED_FOR:
                await mirror.remove()
                self._known.pop(mirror.repository_id, None)
                await asyncio.to_thread(since.unlink, missing_ok=True)
                dropped.append(mirror.repository_id)
                log.info("mirror.dropped", mirror=mirror.repository_id)
        return dropped

    def of(self, repository: Repository) -> Mirror:
        """Give the mirror of a repository, at the address and with the installation it has now."""
        client = self._github.repository(repository, playbook="mirror", recovery=True)
        mirror = self._known.get(repository.id)
        if mirror is None:
            mirror = self._known[repository.id] = Mirror(self._folder, repository.id, "")
        mirror.url = client.clone_url
        mirror.token, mirror.refused = client.clone_token, client.discard_clone_token
        return mirror

    async def known_config(self, repository: Repository) -> Config:
        """Read the configuration as the mirror has it; the defaults before the first fetch."""
        mirror = self.of(repository)
        if not mirror.path.exists():
            return Config()
        try:
            client = self._github.repository(repository, playbook="api")
            head = await mirror.branch_head(await client.default_branch())
            config, _ = await mirror.read(lambda git: read_config(git, head))
        except (GitError, GitHubError):
            return Config()
        return config

    async def last_good_config(self, repository: Repository) -> Config | None:
        """Read the newest configuration of the default branch that can be used.

        None where the mirror cannot be brought up to date.
        """
        try:
            await self.of(repository).refresh()
        except GitError:
            return None
        return await self.known_config(repository)


LOOK_EVERY = 20.0
"""Seconds between two looks; a Run must be found unattended at two of them."""

ORPHANS_EVERY = 2.0
"""Seconds until a Run that was just broken off goes on, and between tries while the database is
away."""


class OrphanedRuns:
    """Looks for them until cancelled. One per process."""

    def __init__(
        self,
        take_up: Callable[[], Awaitable[int]],
        interrupted: asyncio.Event,
        *,
        every: float = LOOK_EVERY,
        pause: float = ORPHANS_EVERY,
    ) -> None:
        """Prepare.

        Args:
            take_up: goes on with Runs that nobody executes, and says with how many.
            interrupted: set when one was just broken off.
            every: seconds between two looks.
            pause: seconds before a look that does not wait for its time.
        """
        self._take_up = take_up
        self._interrupted = interrupted
        self._every = every
        self._pause = pause

    async def run(self) -> None:
        """Look again and again. A database that is away is waited for."""
        while True:
            try:
                await self._take_up()
            except Exception as error:
                if outage_of(error) is None:
                    raise
                log.warning("runs cannot be taken up; trying again soon", why=str(error))
                self._interrupted.set()
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._interrupted.wait()
            await asyncio.sleep(self._pause)


_OUR_RECORDS = "refs/heads/playbooks/"
"""No configuration counts there, and nothing is merged from there without a pull request."""


class RunHints:
    """Passes hints on. A hint only says "look again": to lose one costs time, never work."""

    def __init__(
        self,
        records: AsyncEngine,
        *,
        specs: SpecReports,
        gate_reporter: GateReporter,
        flag_keeper: FlagSync,
        records_keeper: RecordsBranch,
        hint: Callable[[str], Awaitable[None]],
        serves: Callable[[Repository], Awaitable[bool]],
        is_known: Callable[[Repository], bool],
        heard: Callable[[Repository], None],
    ) -> None:
        """Prepare.

        Args:
            records: say which Runs watch what.
            specs: keeps spec reports.
            gate_reporter: keeps the gate.
            flag_keeper: keeps flag documents.
            records_keeper: keeps records branches.
            hint: wakes one Run.
            serves: whether the App is installed somewhere; may ask GitHub.
            is_known: the same, where that is known without asking.
            heard: takes notice that something happened in a repository.
        """
        self._records = records
        self._specs = specs
        self._gate_reporter = gate_reporter
        self._flag_keeper = flag_keeper
        self._records_keeper = records_keeper
        self._hint = hint
        self._serves = serves
        self._is_known = is_known
        self._heard = heard
        self._asking: set[asyncio.Task[None]] = set()

    def moved(
        self, repository: Repository, what: Moves, groups: Collection[tuple[str, str]]
    ) -> None:
        """Stir those who look after what moved without a delivery."""
        if what.pulls:
            self._specs.look_at(repository)
        if what.head:
            self._flag_keeper.pushed(repository)
        if what.records:
            self._records_keeper.look_at(repository)
        if what.gate:
            for ref, sha in groups:
                self._gate_reporter.merge_group(repository, sha, ref)
        if what.config or what.gate:
            self._gate_reporter.pushed(repository)

    async def pass_on(self, hint: Hint) -> None:
        """Wake whoever watches what a delivery was about, where the App is installed."""
        if self._is_known(hint.repository):
            return await self._pass_on(hint)
        # GitHub waits for an answer meanwhile: whether it is one of ours is asked beside.
        asking = asyncio.create_task(self._if_served(hint), name="hint")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        return None

    async def _if_served(self, hint: Hint) -> None:
        try:
            if await self._serves(hint.repository):
                await self._pass_on(hint)
            else:
                log.debug(
                    "a hint from where the App is not installed",
                    repository=hint.repository.full_name,
                )
        except Exception:
            log.exception("a hint was lost; the Run will look again by itself")

    async def _pass_on(self, hint: Hint) -> None:
        self._heard(hint.repository)
        if not hint.is_review:
            self._specs.heard(
                hint.repository, hint.pull_requests, hint.head_sha, outsider=hint.outsider
            )
        self._stir_keepers(hint)
        heads = {sha for sha in (hint.head_sha, hint.former_sha) if sha is not None}
        async with self._records.connect() as conn:
            woken = await runs.watching(
                conn, hint.repository.id, heads=heads, pull_requests=hint.pull_requests
            )
        for run in woken:
            await self._hint(run)

    def _stir_keepers(self, hint: Hint) -> None:
        ref = hint.ref or ""
        if hint.head_sha and "gh-readonly-queue/" in ref:
            self._gate_reporter.merge_group(hint.repository, hint.head_sha, ref)
        elif ref.startswith("refs/heads/"):
            if not ref.startswith(_OUR_RECORDS):
                self._gate_reporter.pushed(hint.repository, may_configure=hint.may_configure)
            self._flag_keeper.pushed(hint.repository)
            self._records_keeper.pushed(hint.repository, ref, hint.head_sha)
        elif hint.about_pull_request:
            self._gate_reporter.pull_request(
                hint.repository,
                hint.pull_requests,
                hint.labels,
                by_outsider=hint.outsider is not None,
            )
        else:
            self._gate_reporter.stirred(hint.repository)
