"""Judges the configuration that comes, by pull request or without, and says what does not count."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from bot.github.client import RepositoryClient
from bot.github.errors import by_itself
from bot.github.models import PullRequest
from bot.records import config_questions, gate_reports, sensitive_config
from bot.records.config_questions import DEFAULT_BRANCH, ConfigQuestion
from bot.records.database import reading
from bot.safety.config_check import (
    ConfigVerdict,
    changes_config,
    report_verdict,
    verdict_at,
)
from bot.safety.config_in_force import (
    ConfigInForce,
    approvals_since,
    counting_sections,
    digest_of,
)
from bot.triggers import Repository

SOMEBODY_ELSES = timedelta(seconds=30)
"""How long a head that another replica judges is left to it."""


class ConfigWatch:
    """Reports `playbooks config`, and keeps the questions to Founders that follow from it."""

    def __init__(
        self,
        records: AsyncEngine,
        config: ConfigInForce,
        *,
        clock: Callable[[], datetime],
        no_counters: Callable[[], str | None],
        make_way: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            records: have the approvals and the questions.
            config: knows what the default branch has that is not approved.
            clock: tells the time (UTC).
            no_counters: tells why Prometheus cannot be asked; None: it can.
            make_way: waits while people with rights are being served.
        """
        self._make_way = make_way
        self._records = records
        self._config = config
        self._clock = clock
        self._no_counters = no_counters

    async def look(self, client: RepositoryClient, pulls: Sequence[PullRequest]) -> None:
        """Judge what open pull requests bring and what the default branch has, each by itself.

        Raises:
            Passing: what all of it needs is away.
        """
        name = client.repository.full_name
        here = client.repository.id
        async with reading(self._records).connect() as conn:
            known = await gate_reports.of_heads(conn, here, [pull.head.sha for pull in pulls])
        unjudged = [
            pull
            for pull in pulls
            if pull.head.sha in known and known[pull.head.sha].config_digest is None
        ]
        for pull in sorted(unjudged, key=lambda pull: pull.is_from_fork):
            theirs = client.about_head_of(pull)
            if not theirs.has_room:
                continue
            if pull.is_from_fork:
                await self._make_way()
            what = "the configuration of a pull request was not judged"
            await by_itself(self.judge(theirs, pull), what, repository=name, number=pull.number)
        still_open = [pull.number for pull in pulls]
        for work in (
            self.settle(client.repository, still_open),
            self.judge_default_branch(client),
        ):
            await by_itself(work, "the configuration was not judged", repository=name)

    async def judge(self, client: RepositoryClient, pull: PullRequest) -> None:
        """Judge the configuration of a head that the gate knows, once.

        Raises:
            GitHubError: GitHub could not be read or told.
        """
        here, sha, now = client.repository.id, pull.head.sha, self._clock()
        async with reading(self._records).connect() as conn:
            known = await gate_reports.find(conn, here, sha)
            if known is None or known.config_digest is not None:
                return
            counting = await sensitive_config.in_force(conn, here)
            since = approvals_since(counting_sections(counting), now)
            approved = await sensitive_config.approved_ahead(conn, here, since=since)
            asked = {each.number for each in await config_questions.waiting(conn, [here])}
        async with self._records.begin() as conn:
            if not await gate_reports.claim_config(
                conn, here, sha, now, stale=now - SOMEBODY_ELSES
            ):
                return
        verdict = None
        if await changes_config(client, pull):
            verdict = await verdict_at(
                client,
                sha,
                counting_sections(counting),
                approved=approved,
                no_counters=self._no_counters(),
            )
            await report_verdict(client, sha, verdict)
        # Whoever may not even push a branch here is no reason to call a Founder.
        if verdict is not None and verdict.asks and not pull.is_from_fork:
            await self._ask(here, pull, verdict)
        elif pull.number in asked:
            await self._withdraw(here, [pull.number])
        async with self._records.begin() as conn:
            shown = verdict.shown if verdict is not None else ""
            await gate_reports.note_config(conn, here, sha, shown, self._clock())

    async def judge_default_branch(self, client: RepositoryClient) -> None:
        """Say on the default branch's head what of its configuration does not count, and why.

        Where a pull request that was asked about brought it, the answer belongs there.

        Raises:
            GitHubError: GitHub could not be read or told.
        """
        here = client.repository.id
        found = await self._config.of(client.repository)
        async with reading(self._records).connect() as conn:
            known = {each.number: each for each in await config_questions.waiting(conn, [here])}
            counting = await sensitive_config.in_force(conn, here)
        said = known.pop(DEFAULT_BRANCH, None)
        if found.waiting == digest_of(counting_sections(counting)):
            # Another replica heard the Founder's yes.
            self._config.forget(here)
            return
        elsewhere = {each.digest for each in known.values()}
        counts = found.fault is None and (found.waiting is None or found.waiting in elsewhere)
        if counts and said is None:
            return
        head = await client.git.head((await client.about()).default_branch)
        is_told = said is not None and said.commit_sha == head
        if is_told and not counts:
            return
        if counts and not is_told:
            await self._withdraw(here, [DEFAULT_BRANCH])
            return
        verdict = await verdict_at(
            client,
            head,
            counting_sections(counting),
            no_counters=self._no_counters(),
            on_default_branch=True,
        )
        if not (is_told or verdict.asks or verdict.conclusion == "failure"):
            # Mended since the configuration was read.
            self._config.forget(here)
            return
        await report_verdict(client, head, verdict)
        if counts:
            await self._withdraw(here, [DEFAULT_BRANCH])
            return
        question = ConfigQuestion(
            repository_id=here,
            number=DEFAULT_BRANCH,
            digest=verdict.digest,
            sections=verdict.asks,
            asked_by="",
            asked_at=self._clock(),
            commit_sha=head,
            fault=(found.fault or verdict.title) if verdict.conclusion == "failure" else "",
        )
        if said is not None and (said.digest, said.fault) == (question.digest, question.fault):
            question = question.model_copy(update={"asked_at": said.asked_at})
        await self._note(question)

    async def settle(self, repository: Repository, still_open: Collection[int]) -> None:
        """Drop the questions of pull requests that are closed, unless the default branch has them.

        Raises:
            GitHubError: GitHub could not be read.
        """
        async with reading(self._records).connect() as conn:
            asked = await config_questions.waiting(conn, [repository.id])
        closed = [
            each
            for each in asked
            if each.number not in still_open and not each.is_of_default_branch
        ]
        if not closed:
            return
        found = await self._config.of(repository)
        if any(each.digest != found.waiting for each in closed):
            # It may have been merged a moment ago, and what is known may be older.
            self._config.forget(repository.id)
            found = await self._config.of(repository)
        over = [each.number for each in closed if each.digest != found.waiting]
        if over:
            await self._withdraw(repository.id, over)

    async def _ask(self, here: int, pull: PullRequest, verdict: ConfigVerdict) -> None:
        question = ConfigQuestion(
            repository_id=here,
            number=pull.number,
            digest=verdict.digest,
            sections=verdict.asks,
            asked_by=pull.user.login,
            asked_at=self._clock(),
        )
        await self._note(question)

    async def _note(self, question: ConfigQuestion) -> None:
        async with self._records.begin() as conn:
            await config_questions.ask(conn, question)

    async def _withdraw(self, here: int, numbers: Collection[int]) -> None:
        async with self._records.begin() as conn:
            for number in numbers:
                await config_questions.withdraw(conn, here, number)
