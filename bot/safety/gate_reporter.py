"""Keeps `self-work gate` true on every open pull request's head and on every merge group.

It compares what should be said with what was said, and makes the difference so: after every
delivery about a pull request, after every change of a pause, and now and then. So nothing that was
missed stays missed, and replicas need not know of each other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import Config
from bot.errors import Passing
from bot.github.calls.checks import Button, CheckReport
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import GitHubError, by_itself
from bot.github.models import PullRequest
from bot.playbooks.checks.results import GATE_CHECK
from bot.playbooks.pull_request.ownership import Foreign, read_foreign
from bot.records import gate_reports, pauses
from bot.records.database import reading
from bot.records.gate_reports import NOT_YET, SOMEBODY_ELSES, GateReport
from bot.records.pauses import Pause
from bot.safety.budgets import Look
from bot.safety.config_check import ConfigWatch
from bot.safety.config_in_force import ConfigInForce
from bot.safety.gate import Gate, GatedHead, pushed_by_agent, strictest, why_self_work
from bot.safety.self_work import SelfWorkResumer
from bot.safety.self_workers import marked_in, read_held
from bot.triggers import SELF_WORK, Repository

log = structlog.get_logger(__name__)

LOOK_AT_RECORDS = 0.5
"""Seconds between two looks for changed pauses in the records."""
KEPT_AGAIN = timedelta(seconds=1)
"""How soon one repository is looked at again: what comes in a burst is one more look."""
MERGE_GROUPS_LIVE = timedelta(hours=24)
MOST_ROUNDS = 5
AT_LEAST = 10
"""So many heads are reported on before it is looked for new ones: a thousand take minutes."""
OUTSIDERS_EVERY = timedelta(seconds=5)
"""How often it is looked for what outsiders did, however much that is."""
MOST_FORKS = 10
"""Heads from forks that are reported on before all others are looked at again."""

JUDGED_AGAIN = timedelta(minutes=5)
"""So long it holds that nobody who pushed to one of ours writes self-work."""

_UNSEEN = Foreign(head="", unknown=True)
"""Of a head nobody has looked at yet."""
_IN_QUEUE = re.compile(r"gh-readonly-queue/.+/pr-(\d{1,9})-[0-9a-f]{40}$")
_APPROVE = Button("Let this one through", "Merge this commit in spite of the pause", "approve")


class GateReporter:
    """Reports the gate, and sees pauses through to their end."""

    def __init__(
        self,
        *,
        github: GitHub,
        records: AsyncEngine,
        config: ConfigInForce,
        resumer: SelfWorkResumer,
        look_at_budgets: Look,
        served: Callable[[], Awaitable[Sequence[Repository]]],
        clock: Callable[[], datetime],
        config_watch: ConfigWatch,
        make_way: Callable[[], Awaitable[None]],
        every: timedelta = timedelta(minutes=1),
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            github: where it is reported.
            records: pauses, and what was said.
            config: says what is self-work.
            resumer: moves pauses on.
            look_at_budgets: passes on what they say, also that a new window has begun.
            served: gives the repositories to keep.
            clock: tells the time (UTC).
            config_watch: judges the configuration that pull requests bring.
            make_way: waits while people with rights are being served.
            every: time between two looks at everything.
        """
        self._github = github
        self._records = records
        self._config = config
        self._resumer = resumer
        self._look_at_budgets = look_at_budgets
        self._served = served
        self._clock = clock
        self._config_watch = config_watch
        self._make_way = make_way
        self._every = every
        self._waiting: dict[int, Repository] = {}
        self._keeping: dict[int, asyncio.Task[None]] = {}
        self._began_at: dict[int, datetime] = {}
        self._open: dict[int, frozenset[int]] = {}
        self._to_judge: dict[int, tuple[RepositoryClient, Sequence[PullRequest]]] = {}
        self._judging: dict[int, asyncio.Task[None]] = {}
        self._repositories: dict[int, Repository] = {}
        self._whose: dict[tuple[int, str], Foreign | None] = {}
        self._judged: dict[tuple[int, str], datetime] = {}
        self._labels: dict[tuple[int, int], frozenset[str]] = {}
        self._groups: dict[tuple[int, str], str] = {}
        self._queues_seen: dict[int, datetime] = {}
        self._news = asyncio.Event()
        self._known: dict[int, object] = {}
        self._lifting: set[int] = set()
        self._of_outsiders: dict[int, Repository] = {}
        self._looked_for_outsiders: dict[int, datetime] = {}

    def pull_request(
        self,
        repository: Repository,
        numbers: Sequence[int],
        labels: frozenset[str],
        *,
        by_outsider: bool = False,
    ) -> None:
        """Hear of a pull request, and of the labels it had at that moment.

        What outsiders do is looked at together, after OUTSIDERS_EVERY. One that is new is looked
        at at once: it may be merged within the second.
        """
        for number in numbers:
            seen = self._labels.get((repository.id, number), frozenset())
            self._labels[repository.id, number] = seen | labels
        if by_outsider:
            self._of_outsiders[repository.id] = repository
            return
        if not self._open.get(repository.id, frozenset()).issuperset(numbers):
            self._began_at.pop(repository.id, None)
        self._look_at(repository)

    def merge_group(self, repository: Repository, sha: str, ref: str) -> None:
        """Hear of a merge group that waits for its checks."""
        self._groups[repository.id, sha] = ref
        self._look_at(repository)

    def pushed(self, repository: Repository, *, may_configure: bool = True) -> None:
        """Hear that a branch moved: the configuration may be another, the branch green."""
        if may_configure or self._config.is_disputed(repository.id):
            self._config.forget(repository.id)
            self._look_at(repository)
        else:
            self.stirred(repository)

    def stirred(self, repository: Repository) -> None:
        """Hear that anything happened: of interest while a pause is on its way to its end."""
        if repository.id in self._lifting:
            self._look_at(repository)

    def _look_at(self, repository: Repository) -> None:
        self._repositories[repository.id] = repository
        self._waiting[repository.id] = repository
        self._news.set()

    async def run(self) -> None:
        """Keep the gate until cancelled. What cannot be said now is said at a later look."""
        last: datetime | None = None
        try:
            while True:
                try:
                    now = self._clock()
                    if last is None or now - last >= self._every:
                        last = now
                        for repository in await self._served():
                            self._look_at(repository)
                    self._look_for_outsiders(now)
                    await self._see_changed_pauses()
                except (GitHubError, Passing) as error:
                    log.warning("the gate could not be looked after", why=str(error))
                except Exception:
                    log.exception("the gate could not be looked after; trying again")
                self._begin_keeping()
                self._news.clear()
                with suppress(TimeoutError):
                    # `wait_for` would swallow a cancellation that comes together with news.
                    async with asyncio.timeout(LOOK_AT_RECORDS):
                        await self._news.wait()
        finally:
            for task in (*self._keeping.values(), *self._judging.values()):
                task.cancel()

    def _look_for_outsiders(self, now: datetime) -> None:
        """Look where they did something, however much it was, once in a while."""
        for key in [*self._of_outsiders]:
            looked = self._looked_for_outsiders.get(key)
            if looked is None or not timedelta() <= now - looked < OUTSIDERS_EVERY:
                self._looked_for_outsiders[key] = now
                self._look_at(self._of_outsiders.pop(key))

    def _begin_keeping(self) -> None:
        # One at a time for each repository, so that what is said last is what was seen last; and
        # a repository whose requests are used up holds up no other.
        now = self._clock()
        for key in [key for key in self._waiting if key not in self._keeping]:
            began = self._began_at.get(key)
            if began is not None and timedelta() <= now - began < KEPT_AGAIN:
                continue
            self._began_at[key] = now
            task = asyncio.create_task(self._keep(self._waiting.pop(key)), name="gate")
            self._keeping[key] = task
            task.add_done_callback(partial(self._kept, key))

    def _kept(self, key: int, _: asyncio.Task[None]) -> None:
        del self._keeping[key]
        if key in self._waiting:
            self._news.set()

    async def _see_changed_pauses(self) -> None:
        async with reading(self._records).connect() as conn:
            held = [p for p in await pauses.all_in_force(conn) if p.scope == SELF_WORK]
            through = await gate_reports.exemptions_made(conn) if held else {}
        now: dict[int, object] = {
            pause.repository_id: (pause.id, pause.version, through.get(pause.repository_id))
            for pause in held
        }
        self._lifting = {pause.repository_id for pause in held if pause.lifts_itself}
        before, self._known = self._known, now
        changed = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
        if changed:
            for key in changed & self._repositories.keys():
                self._look_at(self._repositories[key])

    async def _keep(self, repository: Repository) -> None:
        try:
            await self.keep(repository)
        except (GitHubError, Passing) as error:
            # One broken repository must not hold up the others.
            log.warning("no gate", repository=repository.full_name, why=str(error))
        except Exception:
            log.exception("no gate", repository=repository.full_name)

    async def keep(self, repository: Repository) -> None:
        """Make the gate of one repository true.

        Raises:
            GitHubError: GitHub could not be read or told.
        """
        client = self._github.repository(repository, playbook=GATE_CHECK, recovery=True)
        config = (await self._config.of(repository)).config
        # How many are open is anybody's doing: the list is in no cap.
        reader = self._github.repository(
            repository, playbook=GATE_CHECK, recovery=True, metered=False
        )
        pulls = sorted([p async for p in reader.pulls.list()], key=lambda pull: pull.number)
        self._open[repository.id] = frozenset(pull.number for pull in pulls)
        await self._see_whose(client, pulls)
        self_work = await self._mark(client, config, pulls)
        await self._look_for_merge_groups(client)
        await self._look_at_budgets(repository, config)
        await self._resumer.hold_for_many(repository.id, config)
        await self._resumer.move_on(client, config, self_work)
        for _ in range(MOST_ROUNDS):
            # Said, then looked again: a pause that came meanwhile must not leave a green behind.
            if not await self._say_all(client, pulls):
                break
        else:
            self._look_at(repository)
        self._judge(client, pulls)

    def _judge(self, client: RepositoryClient, pulls: Sequence[PullRequest]) -> None:
        """Have the configuration judged that these bring, without the gate waiting for it."""
        key = client.repository.id
        self._to_judge[key] = (client, pulls)
        if key not in self._judging:
            self._judging[key] = asyncio.create_task(self._judge_all(key), name="config")

    async def _judge_all(self, key: int) -> None:
        try:
            while wanted := self._to_judge.pop(key, None):
                await self._config_watch.look(*wanted)
        except Passing as error:
            log.warning("no configuration was judged", repository=key, why=str(error))
        except Exception:
            log.exception("no configuration was judged", repository=key)
        finally:
            del self._judging[key]

    async def _look_for_merge_groups(self, client: RepositoryClient) -> None:
        """Now and then see for ourselves what the queues test: a delivery may have been missed."""
        here, now = client.repository.id, self._clock()
        seen = self._queues_seen.get(here)
        if seen is not None and now - seen < self._every:
            return
        for ref, sha in (await client.git.merge_groups()).items():
            self._groups.setdefault((here, sha), ref)
        self._queues_seen[here] = now

    async def _see_whose(self, client: RepositoryClient, pulls: Sequence[PullRequest]) -> None:
        """See of each pull request of ours whose head it has; once for each head."""
        here, us = client.repository.id, (await client.app()).bot_login
        seen = {key: whose for key, whose in self._whose.items() if key[0] != here}
        for pull in pulls:
            if not _is_ours(pull, us):
                continue
            key = (here, pull.head.sha)
            if key in self._whose:
                seen[key] = self._whose[key]
                continue
            made = client.git.made(pull.head.sha)
            if made is not None and made.is_all_of(pull):
                seen[key] = None
                continue
            try:
                seen[key] = await read_foreign(client, pull)
            except (GitHubError, Passing) as error:
                # Judged at the next look; until then nothing is said of it.
                log.info("not seen whose head", number=pull.number, why=str(error))
        self._whose = seen
        self._judged = {key: at for key, at in self._judged.items() if key in seen}

    def _is_wholly_ours(self, here: int, pull: PullRequest, us: str) -> bool:
        """Whether it is ours, and nobody else has pushed to it."""
        return _is_ours(pull, us) and self._whose.get((here, pull.head.sha), _UNSEEN) is None

    async def _why_held(
        self, client: RepositoryClient, config: Config, pull: PullRequest, us: str
    ) -> str | None:
        """Say why a pull request is self-work; None if it is not.

        One of ours is, where an agent had a part in its head.
        """
        here = client.repository.id
        seen = self._labels.get((here, pull.number), ())
        if not _is_ours(pull, us):
            return why_self_work(
                config.self_work, author=pull.user.login, labels=pull.labels, seen=seen
            )
        whose = self._whose.get((here, pull.head.sha), _UNSEEN)
        if whose is None or whose is _UNSEEN:
            return None
        by_label = why_self_work(config.self_work, author=us, labels=pull.labels, seen=seen)
        if by_label or (pushed := pushed_by_agent(config.self_work, whose.makers)):
            return by_label or pushed
        if not whose.makers:
            return "commits of somebody whom GitHub does not name"
        key, now = (here, pull.head.sha), self._clock()
        if (judged := self._judged.get(key)) is not None and now - judged < JUDGED_AGAIN:
            return None
        held = await read_held(client, config, marked_in(self._records, here), now)
        for login in whose.makers:
            if (why := await held.why(login)) is not None:
                return f"pushed to by {login}, who wrote #{why.number}"
        self._judged[key] = now
        return None

    async def _mark(
        self, client: RepositoryClient, config: Config, pulls: Sequence[PullRequest]
    ) -> list[PullRequest]:
        """Note which pull requests are self-work; those of them that are not ours."""
        here = client.repository.id
        us = (await client.app()).bot_login
        now = self._clock()
        async with reading(self._records).connect() as conn:
            known = await gate_reports.marked(conn, here, [pull.number for pull in pulls])
        fresh = {}
        for pull in pulls:
            if pull.number in known:
                continue
            if (why := await self._why_held(client, config, pull, us)) is not None:
                fresh[pull.number] = why
        if fresh:
            async with self._records.begin() as conn:
                for number, why in fresh.items():
                    await gate_reports.mark(conn, here, number, why, now)
        for pull in pulls:
            self._labels.pop((here, pull.number), None)
        self_work = known.keys() | fresh.keys()
        return [pull for pull in pulls if pull.number in self_work and not _is_ours(pull, us)]

    async def _say_all(self, client: RepositoryClient, pulls: Sequence[PullRequest]) -> bool:
        """Report on every head that should say something else; whether there was one."""
        here, us = client.repository.id, (await client.app()).bot_login
        groups = await self._merge_groups(here)
        unseen = {
            pull.number: pull.head.sha
            for pull in pulls
            if _is_ours(pull, us) and (here, pull.head.sha) not in self._whose
        }
        pause = await self._pause(here)
        async with reading(self._records).connect() as conn:
            through = {} if pause is None else await gate_reports.exempted(conn, here, pause.id)
            numbers = {pull.number for pull in pulls} | {n for n in groups.values() if n}
            marked = await gate_reports.marked(conn, here, numbers)
        heads = [
            GatedHead(
                number=pull.number,
                sha=pull.head.sha,
                ours=self._is_wholly_ours(here, pull, us),
                self_work=marked.get(pull.number),
                exempted_by=through.get(pull.head.sha),
            )
            for pull in pulls
            if pull.head.sha not in unseen.values()
        ]
        shas = {pull.number: pull.head.sha for pull in pulls}
        ours = {pull.number for pull in pulls if self._is_wholly_ours(here, pull, us)}
        heads += [
            GatedHead(
                number=number,
                sha=sha,
                ours=number in ours,
                # A group nobody can place is held as if it were self-work.
                self_work=marked.get(number) if number else "a merge group of unknown origin",
                exempted_by=through.get(shas.get(number or 0, "")),
            )
            for sha, number in groups.items()
            if number not in unseen
        ]
        async with reading(self._records).connect() as conn:
            known = await gate_reports.of_heads(conn, here, [head.sha for head in heads])
        wanted = strictest(heads, pause)
        unsaid = [
            (head, verdict)
            for head, verdict in wanted
            if head.sha not in known or known[head.sha].said != verdict.digest
        ]
        over = {head.sha for head, _ in unsaid if head.sha in groups and head.sha in known}
        if over:
            # One that was merged is the branch's own commit now: nothing is held there.
            over -= {*(await client.git.merge_groups()).values()}
            unsaid = [each for each in unsaid if each[0].sha not in over]
        # Upon a commit of ours anybody may open one more: it stays ours to report on at once.
        here_too = {pull.head.sha for pull in pulls if not pull.is_from_fork}
        strangers = {
            pull.head.sha: client.about_head_of(pull)
            for pull in pulls
            if pull.is_from_fork and pull.head.sha not in here_too
        }
        # Who has no word yet waits for one; and what is held must not be merged meanwhile.
        own = sorted(
            (each for each in unsaid if each[0].sha not in strangers),
            key=lambda each: (each[0].sha in known, each[1].conclusion != "failure"),
        )
        said: list[bool | None] = []
        for each in own:
            said.append(await self._say_by_itself(client, *each))
            if await self._pause(here) != pause:
                # Of a thousand, what is not said yet is wrong now.
                return True
            if here in self._waiting and len(said) >= AT_LEAST:
                return False
        others = [
            (strangers[head.sha], head, verdict)
            for head, verdict in unsaid
            if head.sha in strangers and strangers[head.sha].has_room
        ]
        for theirs, head, verdict in others[:MOST_FORKS]:
            if theirs.has_room:
                await self._make_way()
                if await self._pause(here) != pause:
                    return True
                said.append(await self._say_by_itself(theirs, head, verdict))
        if len(others) > MOST_FORKS:
            # However many there are: in between it is seen what has become of the others.
            self._look_at(client.repository)
            return any(said[: len(own)])
        return any(said)

    async def _pause(self, here: int) -> Pause | None:
        async with reading(self._records).connect() as conn:
            return await pauses.in_force(conn, here, SELF_WORK)

    async def _say_by_itself(
        self, client: RepositoryClient, head: GatedHead, wanted: Gate
    ) -> bool | None:
        return await by_itself(
            self._say(client, head, wanted),
            "the gate of a head was not said",
            repository=client.repository.full_name,
            number=head.number,
            head=head.sha,
        )

    async def _merge_groups(self, here: int) -> dict[str, int | None]:
        heard = {sha: ref for (of, sha), ref in self._groups.items() if of == here}
        now = self._clock()
        if heard:
            async with self._records.begin() as conn:
                for sha, ref in heard.items():
                    await gate_reports.claim(
                        conn, here, sha, _queued(ref), ref, now - SOMEBODY_ELSES
                    )
            for sha in heard:
                self._groups.pop((here, sha), None)
        async with reading(self._records).connect() as conn:
            known = await gate_reports.of_merge_groups(conn, here, now - MERGE_GROUPS_LIVE)
        return {each.head_sha: each.number for each in known}

    async def _say(self, client: RepositoryClient, head: GatedHead, wanted: Gate) -> bool:
        here, now = client.repository.id, self._clock()
        async with self._records.begin() as conn:
            first = await gate_reports.claim(conn, here, head.sha, head.number, None, now)
            known = await gate_reports.find(conn, here, head.sha)
            if known is None or known.said == wanted.digest:
                return False
            if not first and _somebody_elses(known, now):
                return False
            # Until it is said, nobody may take the old word for true.
            await gate_reports.note(
                conn, here, head.sha, said="", conclusion="", check_run=known.check_run
            )
        check_run = await client.checks.ensure_reported(
            None if known.check_run == NOT_YET else known.check_run,
            head_sha=head.sha,
            name=GATE_CHECK,
            external_id=f"gate {head.sha}",
            report=CheckReport(
                title=wanted.title,
                summary=wanted.summary,
                conclusion=wanted.conclusion,
                buttons=(_APPROVE,) if wanted.offers_approval else (),
            ),
            look_first=not first,
        )
        async with self._records.begin() as conn:
            await gate_reports.note(
                conn, here, head.sha, said=wanted.digest, conclusion=wanted.conclusion,
                check_run=check_run,
            )  # fmt: skip
        return True


def _is_ours(pull: PullRequest, us: str) -> bool:
    return pull.user.login == us and not pull.is_from_fork


def _queued(ref: str) -> int | None:
    found = _IN_QUEUE.search(ref)
    return int(found[1]) if found else None


def _somebody_elses(known: GateReport, now: datetime) -> bool:
    return known.check_run == NOT_YET and now - known.first_at < SOMEBODY_ELSES
