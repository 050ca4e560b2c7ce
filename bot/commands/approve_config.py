"""A Founder's yes to sensitive sections of the configuration.

By `/approve` on the pull request that changes them, or by the button of `playbooks config` on the
default branch's head, where they came without one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from pydantic import Field, JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.commands import replies
from bot.commands.answer import Reply
from bot.config import CONFIG_PATH, Config
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import NotFound
from bot.github.models import PullRequest
from bot.playbooks.checks.results import CONFIG_CHECK
from bot.playbooks.run import Run, attempt
from bot.playbooks.steps import Step
from bot.records import gate_reports, sensitive_config
from bot.records.database import reading
from bot.safety.config_check import changes_config, report_verdict, verdict_at
from bot.safety.config_in_force import (
    ConfigInForce,
    Sections,
    approval_hours,
    counting_sections,
    digest_of,
    sensitive_sections,
    version_at,
)
from bot.safety.founders import (
    SHOWN,
    Objection,
    ShownConfig,
    changed_sections,
    digest_said,
    founders_of,
    is_founder,
    is_meant,
    objection_to_consent,
    writers_of,
    writers_on_branch,
)
from bot.safety.self_workers import judge_lifting, read_held
from bot.triggers import ApproveRequest, Source, SourceKind, Trigger, Value


class _Version(Value):
    """Which version of the file somebody means: as it is at `ref`, reported on `heads`."""

    ref: str | None
    heads: tuple[str, ...]
    on_default_branch: bool = False


class _Wanted(Value):
    """The sections somebody wants to have approved; no digest where there are none."""

    version: _Version | None = None
    digest: str = ""
    sections: dict[str, JsonValue] = Field(default_factory=dict)
    counting: dict[str, JsonValue] = Field(default_factory=dict)
    founders: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    is_held: bool = False
    """Whether whoever says yes writes self-work, while a Founder is there who does not."""
    seen: ShownConfig = ShownConfig()

    @property
    def changed(self) -> str:
        """The sections that would change (Markdown)."""
        names = changed_sections(self.sections, self.counting)
        return ", ".join(markdown.code(name) for name in names)


class ConfigApprovals:
    """Approves versions of the sensitive sections."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        config: ConfigInForce,
        founders: Sequence[str],
        *,
        no_counters: Callable[[], str | None],
    ) -> None:
        """Prepare.

        Args:
            github: where the pull requests are.
            records: what was approved.
            config: what is in force.
            founders: those of the process settings.
            no_counters: tells why Prometheus cannot be asked; None: it can.
        """
        self._github = github
        self._records = records
        self._config = config
        self._founders = founders
        self._no_counters = no_counters

    async def approve(self, run: Run, trigger: Trigger) -> Reply | None:
        """Approve what is changed here; None where nothing of the sort is."""
        if not (trigger.source.is_pull_request or _is_of_default_branch(trigger.source)):
            return None

        async def look(_: bool) -> _Wanted:
            return await self._wanted(trigger)

        wanted = await run.step(Step.READ_PENDING_CONFIGURATION, _Wanted, look)
        version = wanted.version
        if version is None or not wanted.digest:
            return None
        if refused := _refusal(trigger, wanted, version):
            return await self._refuse(run, trigger, wanted, version, *refused)
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            await sensitive_config.settle(conn, trigger.repository.id, wanted.digest)
            await sensitive_config.approve(
                conn, trigger.repository.id, wanted.digest, wanted.sections,
                by=trigger.actor.login, at=now, run=run.id,
            )  # fmt: skip
            return True

        await run.write(Step.APPROVE_CONFIGURATION, bool, change)

        async def report(_: bool) -> bool:
            self._config.forget(trigger.repository.id)
            # On the default branch it counts from now on.
            counting = wanted.sections if version.on_default_branch else wanted.counting
            await self._report(trigger, version, counting, approved=(wanted.digest,))
            return True

        what = "report the check"
        await attempt(
            run, Step.REPORT_CONFIGURATION_APPROVED, bool, report, what=what, otherwise=False
        )
        hours = approval_hours(wanted.counting)
        return Reply(
            text=f"Approved: {wanted.changed} (digest {markdown.code(wanted.digest[:SHOWN])}). It "
            f"counts as soon as the default branch has just this, within {hours} hours. Another "
            "change of these sections needs its own approval."
        )

    async def _refuse(
        self,
        run: Run,
        trigger: Trigger,
        wanted: _Wanted,
        version: _Version,
        reason: str,
        remedy: str,
    ) -> Reply:
        text = replies.refusal(trigger.actor, reason, remedy)
        if not version.on_default_branch:
            return Reply(text=text, done=False)

        async def report(_: bool) -> bool:
            # There is nothing to comment on: the answer stands where the button is.
            await self._report(trigger, version, wanted.counting, note=text)
            return True

        what = "report the check"
        await attempt(
            run, Step.REPORT_CONFIGURATION_APPROVERS, bool, report, what=what, otherwise=False
        )
        return Reply(text=text, done=False)

    async def _report(
        self,
        trigger: Trigger,
        version: _Version,
        counting: Sections,
        *,
        approved: Collection[str] = (),
        note: str = "",
    ) -> None:
        client = self._github.repository(trigger.repository, playbook="config")
        for head in version.heads:
            verdict = await verdict_at(
                client,
                head,
                counting,
                approved=approved,
                no_counters=self._no_counters(),
                on_default_branch=version.on_default_branch,
                note=note,
            )
            await report_verdict(client, head, verdict)

    async def _version(
        self, client: RepositoryClient, source: Source, pull: PullRequest | None
    ) -> _Version | None:
        if source.subject is None:
            return await self._of_default_branch(client, source)
        if pull is None or not await changes_config(client, pull):
            return None
        # What is merged stands on the default branch; what is not, on the head somebody looked at.
        return _Version(ref=None if pull.is_merged else pull.head.sha, heads=(pull.head.sha,))

    async def _of_default_branch(self, client: RepositoryClient, source: Source) -> _Version | None:
        check_run = await client.checks.get(int(source.object_id.partition(":")[0]))
        seen = check_run.head_sha
        base = (await client.about()).default_branch
        if not await client.git.is_ancestor(seen, base):
            # A pull request's, from a fork or closed since: whoever wrote that is another question.
            return None
        then = await client.contents.read(CONFIG_PATH, seen)
        now = await client.contents.read(CONFIG_PATH)
        if check_run.name != CONFIG_CHECK or (then and then.sha) != (now and now.sha):
            # Another version stands there by now; its own check asks.
            return None
        async with reading(self._records).connect() as conn:
            asked = await sensitive_config.waiting(conn, [client.repository.id])
        told = [each.commit_sha for each in asked if each.is_of_default_branch]
        heads = tuple(dict.fromkeys((seen, *told)))
        return _Version(ref=seen, heads=heads, on_default_branch=True)

    async def _wanted(self, trigger: Trigger) -> _Wanted:
        client = self._github.repository(trigger.repository, playbook="config")
        number = trigger.source.subject
        pull = None if number is None else await client.pulls.find(number)
        version = await self._version(client, trigger.source, pull)
        if version is None:
            return _Wanted()
        config = (await version_at(client, version.ref)).config
        if config is None:
            return _Wanted()
        async with reading(self._records).connect() as conn:
            approved = await sensitive_config.in_force(conn, trigger.repository.id)
        counting, sections = counting_sections(approved), sensitive_sections(config)
        digest = digest_of(sections)
        if digest == digest_of(counting):
            return _Wanted()
        in_force = (await self._config.of(trigger.repository)).config
        writers: tuple[str, ...] = ()
        if version.on_default_branch or version.ref is None:
            # Something else may have been pushed since what was merged.
            since = approved.in_force_at if approved else None
            base = (await client.about()).default_branch
            writers = await writers_on_branch(client, base, since=since)
        if pull is None:
            # The button stands on the check that showed it.
            seen = ShownConfig(digests=(digest,))
        else:
            seen = await self._seen(client, trigger.source, pull, digest)
            writers += await writers_of(client, pull)
        founders = await founders_of(client, in_force, self._founders)
        return _Wanted(
            version=version,
            digest=digest,
            sections=sections,
            counting=counting,
            founders=founders,
            writers=writers,
            is_held=await self._is_held(client, in_force, trigger, founders),
            seen=seen,
        )

    async def _is_held(
        self, client: RepositoryClient, config: Config, trigger: Trigger, founders: Sequence[str]
    ) -> bool:
        async def marked(numbers: Collection[int]) -> Collection[int]:
            async with reading(self._records).connect() as conn:
                return await gate_reports.marked(conn, client.repository.id, numbers)

        login = trigger.actor.login
        if not is_founder(login, founders):
            return False
        held = await read_held(client, config, marked, trigger.received_at)
        lifting = await judge_lifting(client, held, login, needed=None, founders=founders)
        is_held = lifting.held is not None and not lifting.held.is_only_said
        return is_held and bool(lifting.others)

    async def _seen(
        self, client: RepositoryClient, source: Source, pull: PullRequest, wanted: str
    ) -> ShownConfig:
        """What whoever says yes on a pull request can have seen of it by then."""
        async with reading(self._records).connect() as conn:
            shown = await gate_reports.configs_shown(conn, client.repository.id, pull.number)
        first = {each.config_digest or "": each for each in reversed(shown)}
        if source.kind is SourceKind.CHECK_RUN:
            check_run = await client.checks.get(int(source.object_id.partition(":")[0]))
            here = [d for d, each in first.items() if each.head_sha == check_run.head_sha]
            return ShownConfig(digests=tuple(here))
        said_at = await _said_at(client, source)
        if said_at is None:
            return ShownConfig()
        said, us = "", (await client.app()).bot_login
        async for comment in client.comments.list(pull.number, since=pull.created_at):
            is_before = comment.created_at <= said_at and str(comment.id) != source.object_id
            if is_before and comment.user.login == us:
                said = digest_said(comment.body or "") or said
        digests = tuple(first)
        if digests == (wanted,):
            shown_at = await client.checks.first_said(first[wanted].head_sha, CONFIG_CHECK)
            digests = digests if shown_at is not None and shown_at <= said_at else ()
        is_settled = not digests and await _was_merged(client, pull, wanted, said_at)
        return ShownConfig(said=said, digests=digests, is_settled=is_settled)


async def _said_at(client: RepositoryClient, source: Source) -> datetime | None:
    """When a comment was written, by GitHub's clock; None where that cannot be told."""
    if source.kind is not SourceKind.ISSUE_COMMENT:
        return None
    try:
        return (await client.comments.get(int(source.object_id))).created_at
    except NotFound:
        return None


async def _was_merged(
    client: RepositoryClient, pull: PullRequest, wanted: str, moment: datetime
) -> bool:
    """Whether a version had come to the default branch with this pull request by then."""
    if pull.merged_at is None or pull.merge_commit_sha is None or pull.merged_at > moment:
        return False
    brought = (await version_at(client, pull.merge_commit_sha)).config
    return brought is not None and digest_of(sensitive_sections(brought)) == wanted


def _refusal(trigger: Trigger, wanted: _Wanted, version: _Version) -> tuple[str, str] | None:
    """Why this yes does not count, and what to do (Markdown); None if it does."""
    login = trigger.actor.login
    on_check = version.on_default_branch
    objection = objection_to_consent(login, wanted.founders, wanted.writers)
    if objection is Objection.NO_FOUNDER:
        names = ", ".join(markdown.code(each) for each in wanted.founders)
        ask = "press Approve" if on_check else "read the change and comment `/approve`"
        return f"Only a Founder approves these sections ({names}).", f"Ask a Founder to {ask} here."
    if objection is Objection.THEIR_OWN:
        others = [each for each in wanted.founders if each.lower() != login.lower()]
        names = ", ".join(markdown.code(each) for each in others)
        return "Nobody may approve what they wrote themselves.", f"Ask another Founder: {names}."
    if wanted.is_held:
        others = [each for each in wanted.founders if each.lower() != login.lower()]
        names = ", ".join(markdown.code(each) for each in others)
        return (
            "Nobody who writes self-work may approve the configuration that holds it.",
            f"Ask another Founder: {names}.",
        )
    request = trigger.request
    named = request.approval if isinstance(request, ApproveRequest) else None
    if is_meant(wanted.digest, named, wanted.seen):
        return None
    command = markdown.code(f"/approve {wanted.digest[:SHOWN]}")
    return (
        "Nothing was approved: what stands here now is not what you approved, or was not shown "
        f"yet. It changes {wanted.changed} (digest {markdown.code(wanted.digest[:SHOWN])}).",
        f"Read it, then comment {command}.",
    )


def _is_of_default_branch(source: Source) -> bool:
    """Whether the button of a check that speaks for no Run and no pull request was pressed."""
    return source.kind is SourceKind.CHECK_RUN and source.run is None and source.subject is None
