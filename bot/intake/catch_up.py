"""What deliveries may have missed: comments, labels, red checks, closed issues.

https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference

https://docs.github.com/en/rest/issues/events#list-issue-events

GitHub does not retry by itself, and now and then sends nothing at all. So (a) failed deliveries are
asked for again, by one list for the whole App, and (b) one look at a hundred repositories says
where anything moved (`bot/intake/activity.py`). What changed there is read and put into the words
of the deliveries that should have told it. Both end in the inbox, whose keys make a repeat a no-op.
Where something is under way this is read each minute, by one conditional request, and every third
time four more, for the checks of the default branch.

A look can be cut short at any moment: repositories are read in an order of chance, so that none is
always the one that is not reached, and each thing found is taken up at once.

https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog
from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import CONFIG_PATH
from bot.errors import Passing
from bot.github.calls.activity import AT_ONCE
from bot.github.calls.app import KEPT_BY_GITHUB
from bot.github.calls.checks import newest
from bot.github.calls.repository import Shown
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import GitHubError
from bot.intake import event_payloads, event_triggers
from bot.intake.activity import ActivityWatch, Moves
from bot.intake.event_payloads import (
    ASKING_LABELS,
    CheckFailed,
    CommentPosted,
    IncidentClosed,
    Labeled,
    OurApp,
)
from bot.intake.events import Delivery, meanings
from bot.intake.inbox import Inbox
from bot.playbooks.incident.record_files import RECORDS_BRANCH
from bot.records import answered, incidents
from bot.triggers import Repository, SourceKind, Trigger

log = structlog.get_logger(__name__)


async def failed_since(client: RepositoryClient, us: OurApp, since: datetime) -> list[CheckFailed]:
    """Read what fails on the newest commit of the default branch, our own checks left out.

    While nothing changes there, these are four conditional requests. A failure on an older commit
    is not read: where it was not mended, the newest fails as well.

    Args:
        client: the repository.
        us: our App.
        since: what failed before is none of our business.
    """
    base = (await client.about()).default_branch
    sha = await client.git.head(base)
    return [
        CheckFailed(client.repository, base=base, check=each.name, sha=sha, url=each.url)
        for each in newest(await client.checks.results(sha))
        if each.conclusion == "failure"
        and each.app_id != us.id
        and each.completed_at is not None
        and each.completed_at >= since
    ]


async def moved_since(
    client: RepositoryClient, records: AsyncEngine, issues: Iterable[Shown], since: datetime
) -> list[tuple[Shown, Shown]]:
    """Read which issues stand otherwise than their incidents: each with what happened to it last.

    Where they agree, and they nearly always do, nothing is asked.

    Args:
        client: the repository.
        records: have the incidents.
        issues: those that anything happened to.
        since: what happened before is none of our business.
    """
    found, us = [], (await client.app()).bot_login
    for issue in issues:
        number = event_payloads.number(issue, "number")
        if number is None or not event_payloads.may_be_of_incident(issue, us):
            continue
        async with records.connect() as conn:
            incident = await incidents.find_by_issue(conn, client.repository.id, number)
        if incident is None or incident.is_open is (issue.get("state") == "open"):
            continue
        events = await client.changes.events(number, "closed", "reopened")
        if events and datetime.fromisoformat(str(events[-1]["created_at"])) >= since:
            found.append((issue, events[-1]))
    return found


ASK_AGAIN_AFTER = timedelta(minutes=10)
"""How long a delivery that was asked for again is left alone."""
MOST_ASKED = 5
"""How often one delivery is asked for: what we refuse every time is not ours to take."""
OVERLAP = timedelta(minutes=3)
"""What was read already is read again: lists lag, clocks differ, stamps are whole seconds."""
CHECKS_EVERY = 3
"""Each so many looks the checks of the default branch are read: nothing tells that one changed."""
BEGUN_AT_ONCE = 500
"""Repositories that are noted in one transaction: all others who write wait for it."""
SIDE_BY_SIDE = 4
"""How many repositories of one installation are read side by side."""
MOST_SHARE = 0.04
"""Looking for what moved takes at most this share of an installation's points of the hour."""
QUERIES_A_ROUND = 10
"""How many such looks there are in a round, over all installations."""
MOST_ROUNDS = 12
"""After so many rounds an installation is looked at, whatever that takes."""
LONGEST_LOOK_S = 60.0
"""Seconds after which a look waits no longer for installations that are still being read."""

_PREFIX = "playbook:"

Served = Callable[[], Awaitable[Sequence[Repository]]]
Stir = Callable[[Repository, Moves, Collection[tuple[str, str]]], None]
"""Hears what moved, and what the merge queues test: each ref and its commit."""


class CatchUp:
    """Looks for what no delivery told."""

    def __init__(
        self,
        *,
        github: GitHub,
        us: OurApp,
        inbox: Inbox,
        records: AsyncEngine,
        served: Served,
        clock: Callable[[], datetime],
        rng: random.Random,
        watch: ActivityWatch,
        stir: Stir,
        cannot_keep: Callable[[], Awaitable[str | None]],
        listening_since: datetime,
        every: timedelta = timedelta(minutes=1),
    ) -> None:
        """Prepare; `run` does the work.

        Args:
            github: whom to ask.
            us: our App; what it does itself is never listened to.
            inbox: takes the Triggers.
            records: remembers what was read.
            served: gives the repositories to look at.
            clock: tells the time (UTC).
            rng: draws the order in which repositories are read.
            watch: knows where something is under way, and what was seen before.
            stir: passes on what moved to those who look after it.
            cannot_keep: tells why a delivery could not be kept just now; None: it could.
            listening_since: when a bot of this App first listened, perhaps long before GitHub
                said who it is; what failed before is none of our business.
            every: time between two looks; a label is acted on when it is older than this.
        """
        self._github = github
        self._us = us
        self._inbox = inbox
        self._records = records
        self._served = served
        self._clock = clock
        self._rng = rng
        self._watch = watch
        self._stir = stir
        self._cannot_keep = cannot_keep
        self._listening_since = listening_since
        self._begun: set[int] = set()
        self._looked: dict[int, datetime] = {}
        self._rest: dict[int, timedelta] = {}
        self._every = every
        self._overlap = max(OVERLAP, 2 * every)
        self._looking: dict[int | None, asyncio.Task[object]] = {}
        self._looks = 0
        self._asked: LRUCache[str, tuple[int, datetime]] = LRUCache(10_000)
        self._handled: LRUCache[int, tuple[tuple[object, object], ...]] = LRUCache(10_000)

    async def run(self) -> None:
        """Look until cancelled. What cannot be read now is read at a later look."""
        try:
            while True:
                try:
                    await self.look()
                except (GitHubError, Passing) as why:
                    log.warning("deliveries could not be looked after; trying again", why=str(why))
                except Exception:
                    log.exception("deliveries could not be looked after; trying again")
                await asyncio.sleep(self._every.total_seconds())
        finally:
            for task in self._looking.values():
                task.cancel()

    async def look(self) -> None:
        """Look once: at failed deliveries, and for what moved anywhere.

        One installation that takes long is left to go on by itself after a while, and is not
        looked at once more meanwhile. Of several replicas one looks.
        """
        if not await self._watch.is_first():
            return
        now = self._clock()
        async with self._records.connect() as conn:
            began = await answered.first_start(conn)
        self._looks += 1
        since = max(min(began or now, self._listening_since), now - KEPT_BY_GITHUB)
        self._begin(None, self._try(self._ask_again(since, now), "failed deliveries"))
        installations: dict[int, list[Repository]] = {}
        for each in await self._served():
            installations.setdefault(each.installation_id, []).append(each)
        under_way = await self._watch.under_way()
        queries = sum(-(-len(each) // AT_ONCE) for each in installations.values())
        for key, repositories in installations.items():
            self._rng.shuffle(repositories)
            is_first = began is None
            self._begin(key, self._look_at(key, repositories, under_way, queries, first=is_first))
        if self._looking:
            await asyncio.wait([*self._looking.values()], timeout=LONGEST_LOOK_S)

    async def _look_at(
        self,
        installation: int,
        repositories: Sequence[Repository],
        under_way: Collection[int],
        queries: int,
        *,
        first: bool,
    ) -> None:
        """Read what is under way in an installation, and what moved since it was its turn."""
        now = self._clock()
        # A repository that joins later may have spoken between its installation and this look.
        # GitHub's stamps are whole seconds, rounded down.
        begin = (now if first else now - 2 * self._every).replace(microsecond=0)
        unread = [each.id for each in repositories if each.id not in self._begun]
        for start in range(0, len(unread), BEGUN_AT_ONCE):
            some = unread[start : start + BEGUN_AT_ONCE]
            async with self._records.begin() as conn:
                await answered.begin_reading(conn, some, begin)
            self._begun.update(some)
        moved: dict[int, Moves] = {}
        if abs(now - self._looked.get(installation, (now - MOST_ROUNDS * self._every))) >= (
            self._rest.get(installation, timedelta())
        ):
            self._looked[installation] = now
            work = self._see_what_moved(installation, repositories, queries, moved)
            await self._try(work, f"installation {installation}")
        slots = asyncio.Semaphore(SIDE_BY_SIDE)

        async def read(each: Repository) -> None:
            async with slots:
                what, active = moved.get(each.id, Moves()), each.id in under_way
                is_read = True
                if active or what.issues:
                    is_read = await self._try(self._read(each, now), each.full_name)
                if what.checks or (active and self._looks % CHECKS_EVERY == 0):
                    is_read &= await self._try(self._read_checks(each), each.full_name)
                if not is_read:
                    # It stays among those that are looked at by themselves.
                    self._watch.heard(each)

        await asyncio.gather(
            *(read(each) for each in repositories if each.id in under_way or each.id in moved)
        )

    async def _see_what_moved(
        self,
        installation: int,
        repositories: Sequence[Repository],
        queries: int,
        moved: dict[int, Moves],
    ) -> None:
        by_id, cost, limit = {each.id: each for each in repositories}, 0, 1
        for start in range(0, len(repositories), AT_ONCE):
            seen = await self._github.installations.activity(
                repositories[start : start + AT_ONCE],
                config_path=CONFIG_PATH,
                records_branch=RECORDS_BRANCH,
            )
            cost, limit = cost + seen.cost, seen.limit
            found = await self._watch.compare(seen.of)
            moved.update(found)
            for key, what in found.items():
                self._watch.heard(by_id[key])
                self._stir(by_id[key], what, seen.of[key].groups)
        share = cost * timedelta(hours=1) / (MOST_SHARE * limit) / timedelta(minutes=1)
        rounds = min(max(1.0, share, queries / QUERIES_A_ROUND), MOST_ROUNDS)
        # A little less: what is due with a round must not wait for the next one.
        self._rest[installation] = (rounds - 0.5) * self._every

    def _begin(self, key: int | None, looking: Coroutine[None, None, object]) -> None:
        if key in self._looking:
            looking.close()
            return
        task = self._looking[key] = asyncio.create_task(looking, name="missed deliveries")
        task.add_done_callback(lambda _: self._looking.pop(key))

    async def _try(self, looking: Coroutine[None, None, None], at: str) -> bool:
        """One broken repository must not hide the others; whether it was read."""
        try:
            await looking
            return True
        except (GitHubError, Passing) as error:
            log.warning("could not be read; it will be tried again", at=at, why=str(error))
        except Exception:
            log.exception("could not be read; it will be tried again", at=at)
        return False

    # --- failed deliveries ---

    async def _ask_again(self, since: datetime, now: datetime) -> None:
        failed = await self._github.deliveries.failed(since)
        if failed and (fault := await self._cannot_keep()) is not None:
            # It would fail once more, and then be left alone for a while.
            log.warning("failed deliveries are not asked for yet", why=fault)
            return
        for delivery in failed:
            times, last = self._asked.get(delivery.guid, (0, None))
            if delivery.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                # We said ourselves that we could not keep it: that says nothing against it.
                times, last = max(times - 1, 0), None
            if times >= MOST_ASKED or (last is not None and now - last < ASK_AGAIN_AFTER):
                continue
            await self._github.deliveries.redeliver(delivery)
            self._asked[delivery.guid] = (times + 1, now)
            log.info("asked for a delivery again", delivery=delivery.guid, kind=delivery.event)

    # --- deliveries that never existed ---

    async def _read(self, repository: Repository, now: datetime) -> None:
        async with self._records.connect() as conn:
            reading = await answered.mark_of(conn, repository.id)
        if reading is None:
            return
        since = max(reading.began_at, reading.read_until - self._overlap)
        client = self._github.repository(repository, playbook="missed deliveries")
        issues = await client.changes.issues(since)
        seen = tuple((issue.get("number"), issue.get("updated_at")) for issue in issues)
        if not issues or self._handled.get(repository.id) == seen:
            return
        async for delivery in self._comments(client, issues, reading.began_at, since):
            await self._take(delivery)
        settled = await self._labels(client, issues, reading.began_at, now)
        settled &= await self._closings(client, issues, reading.began_at, now)
        newest = max(_moment(issue, "updated_at") for issue in issues)
        async with self._records.begin() as conn:
            await answered.advance_mark(conn, repository.id, min(newest, now))
        # Something more may have happened in the same second, or not be in the lists yet.
        if settled and now - newest >= self._every:
            self._handled[repository.id] = seen

    async def _comments(
        self,
        client: RepositoryClient,
        issues: Sequence[Shown],
        began: datetime,
        since: datetime,
    ) -> AsyncIterator[Delivery]:
        changed = {event_payloads.number(issue, "number"): issue for issue in issues}
        for comment in await client.changes.comments(since):
            number = (event_payloads.text(comment, "issue_url") or "").rpartition("/")[2]
            issue = changed.get(int(number) if number.isascii() and number.isdigit() else None)
            if issue is not None and _is_new(comment, began):
                about = {"issue": issue, "comment": comment}
                yield self._delivery("issue_comment", client.repository, about, comment)
        for number_, pull in changed.items():
            if number_ is None or "pull_request" not in pull:
                continue
            for comment in await client.changes.review_comments(number_, since):
                if _is_new(comment, began):
                    about = {"pull_request": pull, "comment": comment}
                    event = "pull_request_review_comment"
                    yield self._delivery(event, client.repository, about, comment)
            async for delivery in self._reviews(client, pull, number_, max(since, began)):
                yield delivery

    async def _reviews(
        self, client: RepositoryClient, pull: Shown, number: int, since: datetime
    ) -> AsyncIterator[Delivery]:
        for review in await client.changes.reviews(number):
            if not review.get("submitted_at") or _moment(review, "submitted_at") < since:
                continue
            about = {"action": "submitted", "pull_request": pull, "review": review}
            told = self._delivery("pull_request_review", client.repository, about, review)
            # An edited one never runs; asking whether it was costs a request, so only if it may.
            asks = [*_triggers(told, self._clock(), None)]
            if asks and not await client.changes.review_was_edited(str(review.get("node_id"))):
                yield told

    async def _labels(
        self, client: RepositoryClient, issues: Sequence[Shown], began: datetime, now: datetime
    ) -> bool:
        """Take labels that no delivery told; False while one is too young to tell."""
        settled = True
        for issue in issues:
            number = event_payloads.number(issue, "number")
            worn = _worn(issue)
            if number is None or not worn:
                continue
            # By name; of one put on again after it was taken off, the last time counts.
            put_on = {
                _label_of(each): each for each in await client.changes.events(number, "labeled")
            }
            for label in worn:
                if label not in put_on or (at := _moment(put_on[label], "created_at")) < began:
                    continue
                if now - at < self._every:
                    settled = False
                elif not await self._was_told(
                    client.repository, SourceKind.LABEL, number, label.removeprefix(_PREFIX), at
                ):
                    await self._take(await self._labeled(client, issue, put_on[label]))
        return settled

    async def _closings(
        self, client: RepositoryClient, issues: Sequence[Shown], began: datetime, now: datetime
    ) -> bool:
        """Take closed incidents that no delivery told; False while one is too young to tell."""
        settled = True
        for issue, event in await moved_since(client, self._records, issues, began):
            at, number = _moment(event, "created_at"), int(issue["number"])
            command = "close" if event["event"] == "closed" else "reopen"
            if now - at < self._every:
                settled = False
            elif not await self._was_told(client.repository, SourceKind.ISSUE, number, command, at):
                await self._take(self._closed(client.repository, issue, event))
        return settled

    async def _was_told(
        self, repository: Repository, kind: SourceKind, number: int, command: str, at: datetime
    ) -> bool:
        # A delivery names no event of the list, so the two are told apart by when they came.
        received = await self._inbox.received(repository.id, at - self._every)
        return any(
            each.source.kind is kind
            and each.source.subject == number
            and each.request.command == command
            for each in received
        )

    async def _read_checks(self, repository: Repository) -> None:
        async with self._records.connect() as conn:
            reading = await answered.mark_of(conn, repository.id)
        if reading is None:
            return
        client = self._github.repository(repository, playbook="missed checks")
        for failed in await failed_since(client, self._us, reading.began_at):
            for trigger in event_triggers.triggers(failed, self._clock()):
                await self._put(trigger)

    # --- as a delivery would have told it ---

    async def _labeled(self, client: RepositoryClient, issue: Shown, labeling: Shown) -> Delivery:
        kind, event = "issue", "issues"
        if "pull_request" in issue:
            kind, event = "pull_request", "pull_request"
            pull = await client.pulls.get(int(issue["number"]))
            issue = {**issue, "base": {"ref": pull.base.ref}}
        about = {"action": "labeled", "label": labeling["label"], kind: issue}
        return self._happened(event, client.repository, about, labeling, "labeling")

    def _closed(self, repository: Repository, issue: Shown, closing: Shown) -> Delivery:
        about = {"action": closing["event"], "issue": issue}
        return self._happened("issues", repository, about, closing, "closing")

    def _happened(
        self, event: str, repository: Repository, about: Shown, listed: Shown, called: str
    ) -> Delivery:
        sender = event_payloads.mapping(listed, "actor")
        told = self._delivery(event, repository, about, {"user": sender})
        # Its own id, since nothing else in it makes it this one.
        return replace(told, called=f"{called}-{event_payloads.number(listed, 'id')}")

    def _delivery(
        self, event: str, repository: Repository, about: Shown, written: Shown
    ) -> Delivery:
        web = f"{self._github.addresses.web}/{repository.full_name}"
        payload = {
            "action": "created",
            "repository": {
                "id": repository.id,
                "name": repository.name,
                "owner": {"login": repository.owner},
                "html_url": web,
            },
            "installation": {"id": repository.installation_id},
            "sender": event_payloads.mapping(written, "user"),
            **about,
        }
        return Delivery(event=event, payload=payload, us=self._us)

    async def _take(self, delivery: Delivery) -> None:
        for trigger, is_talk in _triggers(delivery, self._clock(), self._github.now()):
            await self._put(trigger, is_talk=is_talk)

    async def _put(self, trigger: Trigger, *, is_talk: bool = False) -> None:
        if (await self._inbox.put(trigger, is_talk=is_talk)).is_new and not is_talk:
            log.warning("a delivery never came; its request is taken up now", key=trigger.key)


def _triggers(
    delivery: Delivery, now: datetime, at_github: datetime | None
) -> Iterator[tuple[Trigger, bool]]:
    """What is asked for, each with whether it is a stranger's talk."""
    for meaning in meanings(delivery):
        if isinstance(meaning, CommentPosted | Labeled | IncidentClosed):
            is_talk = isinstance(meaning, CommentPosted) and meaning.by_outsider
            for trigger in event_triggers.triggers(meaning, now, at_github=at_github):
                yield trigger, is_talk


def _is_new(comment: Shown, began: datetime) -> bool:
    """Whether it may ask for something: written since we listen, and never edited."""
    unedited = comment.get("created_at") == comment.get("updated_at")
    return unedited and _moment(comment, "created_at") >= began


def _worn(issue: Shown) -> list[str]:
    """The labels on an issue or pull request that ask for something there, in lower case."""
    return sorted(
        ASKING_LABELS & {_label_of({"label": each}) for each in issue.get("labels") or ()}
    )


def _label_of(labeling: Shown) -> str:
    return (event_payloads.text(labeling, "label", "name") or "").lower()


def _moment(shown: Shown, field: str) -> datetime:
    return datetime.fromisoformat(str(shown[field]))
