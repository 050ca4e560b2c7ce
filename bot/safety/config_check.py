"""`playbooks config`: says whether a version of the file can be used, on heads that bring one.

A version that cannot be used fails, with the line and what is allowed; one whose sensitive sections
no Founder has approved yet is neutral and says what counts until then. It stands on the head of a
pull request that brings such a version, and on the default branch's where one came without.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from bot import markdown
from bot.config import CONFIG_PATH, Config, is_misnamed
from bot.config_versions import ConfigVersion
from bot.github.calls.checks import Button, CheckReport
from bot.github.calls.ensure import LOOKS, ONE_LOOK
from bot.github.client import RepositoryClient
from bot.github.errors import Forbidden, NotFound, Unprocessable, by_itself
from bot.github.models import FILES_LISTED, PullRequest
from bot.playbooks.checks.results import CONFIG_CHECK, Unheard, names_seen, unheard
from bot.records import gate_reports, sensitive_config
from bot.records.database import reading
from bot.records.gate_reports import SOMEBODY_ELSES
from bot.records.sensitive_config import DEFAULT_BRANCH, ConfigQuestion
from bot.safety.config_in_force import (
    ConfigInForce,
    Sections,
    approvals_since,
    counting_sections,
    digest_of,
    sensitive_sections,
    version_at,
)
from bot.safety.founders import SHOWN, changed_sections
from bot.triggers import Repository, Value

_MEANT_SO = "It can be used. Was this meant?"
_APPROVE = Button("Approve", "As a Founder, approve these sections", "approve")


class ConfigVerdict(Value):
    """What is said about one version of the file.

    Attributes:
        conclusion: of the check-run.
        title: what it comes to.
        summary: why, and what can be done (Markdown).
        asks: the sensitive sections that wait for a Founder.
        digest: of all sensitive sections, where some wait.
        shown: that digest, also where it was approved before.
    """

    conclusion: Literal["success", "failure", "neutral"]
    title: str
    summary: str
    asks: tuple[str, ...] = ()
    digest: str = ""
    shown: str = ""


def judge_config(
    version: ConfigVersion,
    counting: Sections,
    no_counters: str | None = None,
    *,
    on_default_branch: bool = False,
) -> ConfigVerdict:
    """Judge one version of `.github/playbooks.yml`. Pure.

    Args:
        version: the file as it was read.
        counting: the sensitive sections that count now.
        no_counters: why Prometheus cannot be asked; None: it can.
        on_default_branch: whether the default branch has it; otherwise a pull request brings it.
    """
    if on_default_branch:
        once, ask = "It counts.", "A Founder presses Approve on this check."
        rest = "Everything else counts already."
    else:
        once = "It counts once it is merged."
        ask = (
            "A Founder who did not write it comments {approve} on this pull request, before or "
            "after it is merged."
        )
        rest = "Everything else counts once it is merged."
    config = version.config
    if config is None:
        return ConfigVerdict(
            conclusion="failure",
            title="It cannot be used",
            summary=markdown.fence(version.fault)
            + "\n\nUntil it is fixed, the last good version stays in force.",
        )
    counted = sorted(name for name, each in config.capabilities.items() if each.prometheus)
    if counted and no_counters is not None:
        return ConfigVerdict(
            conclusion="failure",
            title="It names Prometheus, which this bot cannot ask",
            summary=f"{', '.join(map(markdown.code, counted))}: judged by Prometheus, but "
            f"{no_counters}. Ramps of it are refused as long as that is so.\n\n"
            "Whoever runs the bot sets it and restarts; or take `prometheus` out, and have clients "
            "report to `/providers/observations`.",
        )
    wanted = sensitive_sections(config)
    changed = changed_sections(wanted, counting)
    doubts = ""
    if version.doubts:
        doubts = "\n\n**Was this meant?**\n\n" + markdown.fence("\n".join(version.doubts))
    if not changed:
        return ConfigVerdict(
            conclusion="neutral" if doubts else "success",
            title=_MEANT_SO if doubts else "It can be used",
            summary=once + doubts,
        )
    named = ", ".join(markdown.code(name) for name in changed)
    digest = digest_of(wanted)
    asked = ask.format(approve=markdown.code(f"/approve {digest[:SHOWN]}"))
    return ConfigVerdict(
        conclusion="neutral",
        title="It can be used; a Founder has to approve a part",
        summary=f"{named}: changes of these count only after a Founder approved them, until then "
        f"what is in force stays so. {rest}\n\n{asked} (Digest "
        f"{markdown.code(digest[:SHOWN])}.){doubts}",
        asks=changed,
        digest=digest,
        shown=digest,
    )


def never_heard(names: Sequence[Unheard]) -> str:
    """Say that checks are configured which no commit had (Markdown); nothing where all did."""
    rows = [
        f"- {markdown.code(each.name)}"
        + (f": did you mean {markdown.code(each.nearest)}?" if each.nearest else "")
        for each in names
    ]
    if not rows:
        return ""
    return (
        "**No commit has had these checks yet**, neither the newest of the default branch nor "
        "those of pull requests:\n\n" + "\n".join(rows) + "\n\nA hotfix waits for each of its "
        "smoke checks and evals. Where they are new, nothing is wrong."
    )


async def _never_heard(client: RepositoryClient, head: str, config: Config) -> str:
    checks = config.checks
    named = (*checks.smoke, *checks.evals, *checks.slo, *checks.safety)
    if not named:
        return ""
    try:
        base = (await client.about()).default_branch
        seen = await names_seen(client, head, base, named)
    except (Forbidden, NotFound, Unprocessable):
        # Advice only: whether the file can be used does not hang on it.
        return ""
    return never_heard(unheard(named, seen))


class ConfigFiles(NamedTuple):
    """What a pull request does to the configuration.

    Attributes:
        is_changed: whether it touches the file.
        misnamed: a file that it brings, is surely meant as the configuration, and is not read.
    """

    is_changed: bool
    misnamed: str | None = None


async def config_files(client: RepositoryClient, pull: PullRequest) -> ConfigFiles:
    """Read what a pull request does to the configuration.

    Raises:
        GitHubError: its files could not be read.
    """
    made = client.git.made(pull.head.sha)
    if made is not None and made.is_all_of(pull):
        return ConfigFiles(CONFIG_PATH in made.paths)
    listed, misnamed = 0, None
    async for file in client.pulls.files(pull.number):
        if is_misnamed(file.filename) and file.status != "removed":
            misnamed = file.filename
        if CONFIG_PATH in (file.filename, file.previous_filename):
            return ConfigFiles(True, misnamed)
        listed += 1
    if listed < FILES_LISTED:
        return ConfigFiles(False, misnamed)
    # The file may be one of those that GitHub left out.
    proposed = await client.contents.read(CONFIG_PATH, pull.head.sha)
    present = await client.contents.read(CONFIG_PATH, pull.base.sha)
    return ConfigFiles((proposed and proposed.sha) != (present and present.sha), misnamed)


async def changes_config(client: RepositoryClient, pull: PullRequest) -> bool:
    """Tell whether a pull request touches the file.

    Raises:
        GitHubError: its files could not be read.
    """
    return (await config_files(client, pull)).is_changed


def not_read(path: str) -> ConfigVerdict:
    """Say that a file is no configuration, because of its name."""
    return ConfigVerdict(
        conclusion="neutral",
        title="It is not read: its name is another",
        summary=f"{markdown.code(path)} is not read, and changes nothing: the configuration is "
        f"{markdown.code(CONFIG_PATH)}. If it is meant as that, rename it.",
    )


async def verdict_at(
    client: RepositoryClient,
    head: str,
    counting: Sections,
    *,
    approved: Collection[str] = (),
    no_counters: str | None = None,
    on_default_branch: bool = False,
    note: str = "",
) -> ConfigVerdict:
    """Judge the version of the file that a commit has, with what GitHub knows of its checks.

    Args:
        client: the repository.
        head: the head of a pull request that touches the file, or of the default branch.
        counting: the sensitive sections that count now.
        approved: the digests of versions that were approved and wait for the merge.
        no_counters: why Prometheus cannot be asked; None: it can.
        on_default_branch: whether it is the default branch's.
        note: what else is to be read there (Markdown).

    Raises:
        GitHubError: GitHub could not be read.
    """
    version = await version_at(client, head)
    verdict = judge_config(version, counting, no_counters, on_default_branch=on_default_branch)
    if version.config is not None and verdict.conclusion != "failure":
        never = await _never_heard(client, head, version.config)
        note = "\n\n".join(filter(None, (note, never)))
        if never and verdict.conclusion == "success":
            verdict = verdict.model_copy(update={"conclusion": "neutral", "title": _MEANT_SO})
    if verdict.digest in approved:
        verdict = ConfigVerdict(
            conclusion="success",
            title="It can be used; a Founder approved it",
            summary="It counts once it is merged.",
            shown=verdict.digest,
        )
    if not note:
        return verdict
    return verdict.model_copy(update={"summary": f"{note}\n\n{verdict.summary}"})


async def report_verdict(
    client: RepositoryClient, head: str, verdict: ConfigVerdict, *, is_first: bool = False
) -> None:
    """Ensure the check-run that says so on a commit.

    Args:
        client: the repository.
        head: the commit that was judged.
        verdict: what to say.
        is_first: whether nobody has begun to judge this commit before.

    Raises:
        GitHubError: GitHub could not be read or told.
    """
    await client.checks.ensure_reported(
        None,
        head_sha=head,
        name=CONFIG_CHECK,
        external_id=f"config {head}",
        report=CheckReport(
            title=verdict.title,
            summary=verdict.summary,
            conclusion=verdict.conclusion,
            buttons=(_APPROVE,) if verdict.asks else (),
        ),
        look_first=True,
        looks=ONE_LOOK if is_first else LOOKS,
    )


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
        what = "the configuration was not judged"
        await by_itself(self.settle(client.repository, still_open), what, repository=name)
        await by_itself(self.judge_default_branch(client), what, repository=name)

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
            asked = {each.number for each in await sensitive_config.waiting(conn, [here])}
        async with self._records.begin() as conn:
            if not await gate_reports.claim_config(
                conn, here, sha, now, stale=now - SOMEBODY_ELSES
            ):
                return
        verdict = None
        files = await config_files(client, pull)
        unread = None if files.misnamed is None else not_read(files.misnamed)
        if files.is_changed:
            verdict = await verdict_at(
                client,
                sha,
                counting_sections(counting),
                approved=approved,
                no_counters=self._no_counters(),
                note=unread.summary if unread else "",
            )
        elif unread:
            verdict = unread
        if verdict is not None:
            await report_verdict(client, sha, verdict, is_first=known.config_at is None)
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
            known = {each.number: each for each in await sensitive_config.waiting(conn, [here])}
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
            asked = await sensitive_config.waiting(conn, [repository.id])
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
            await sensitive_config.ask(conn, question)

    async def _withdraw(self, here: int, numbers: Collection[int]) -> None:
        async with self._records.begin() as conn:
            for number in numbers:
                await sensitive_config.withdraw(conn, here, number)
