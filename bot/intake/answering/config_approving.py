"""A Founder's yes to sensitive sections of the configuration.

By `/approve` on the pull request that changes them, or by the button of `playbooks config` on the
default branch's head, where they came without one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pydantic import Field, JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.config import CONFIG_PATH, Config, InvalidConfig, parse_config
from bot.github.client import GitHub, RepositoryClient
from bot.intake.answering import replies
from bot.intake.answering.answer import Reply
from bot.playbooks.run import Run
from bot.records.database import reading
from bot.records.safety import config_questions, sensitive_config
from bot.safety.config_check import NAME, changes_config, counting_sections, report_config
from bot.safety.config_in_force import ConfigInForce, Sections, digest_of, sensitive_sections
from bot.safety.founders import founders_of, is_founder
from bot.triggers import Source, SourceKind, Trigger, Value


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


class ConfigApproving:
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

        wanted = await run.step("see what configuration is to be approved", _Wanted, look)
        version = wanted.version
        if version is None or not wanted.digest:
            return None
        if not is_founder(trigger.actor.login, wanted.founders):
            return await self._refuse(run, trigger, wanted, version)
        now = await run.now()

        async def change(conn: AsyncConnection) -> bool:
            await config_questions.settle(conn, trigger.repository.id, wanted.digest)
            await sensitive_config.approve(
                conn, trigger.repository.id, wanted.digest, wanted.sections,
                by=trigger.actor.login, at=now, run=run.id,
            )  # fmt: skip
            return True

        await run.write("approve the configuration", bool, change)

        async def report(_: bool) -> bool:
            self._config.forget(trigger.repository.id)
            # On the default branch it counts from now on.
            counting = wanted.sections if version.on_default_branch else wanted.counting
            await self._report(trigger, version, counting, approved=(wanted.digest,))
            return True

        await run.step("report the approved configuration", bool, report)
        return Reply(
            text=f"Approved (digest {markdown.code(wanted.digest[:12])}): it counts as soon as the "
            "default branch has just this. Another change of these sections needs its own approval."
        )

    async def _refuse(
        self, run: Run, trigger: Trigger, wanted: _Wanted, version: _Version
    ) -> Reply:
        names = ", ".join(markdown.code(each) for each in wanted.founders)
        reason = f"Only a Founder approves these sections ({names})."
        if not version.on_default_branch:
            remedy = "Ask a Founder to read the change and comment `/approve` here."
            return Reply(text=replies.refusal(trigger.actor, reason, remedy), done=False)
        text = replies.refusal(trigger.actor, reason, "Ask a Founder to press Approve here.")

        async def report(_: bool) -> bool:
            # There is nothing to comment on: the answer stands where the button is.
            await self._report(trigger, version, wanted.counting, note=text)
            return True

        await run.step("report who may approve the configuration", bool, report)
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
            await report_config(
                client,
                head,
                counting,
                approved=approved,
                no_counters=self._no_counters(),
                on_default_branch=version.on_default_branch,
                note=note,
                look_first=True,
            )

    async def _version(self, client: RepositoryClient, source: Source) -> _Version | None:
        if source.subject is None:
            return await self._of_default_branch(client, source)
        pull = await client.pulls.find(source.subject)
        if pull is None or not await changes_config(client, pull):
            return None
        # What is merged stands on the default branch; what is not, on the head somebody looked at.
        return _Version(ref=None if pull.is_merged else pull.head.sha, heads=(pull.head.sha,))

    async def _of_default_branch(self, client: RepositoryClient, source: Source) -> _Version | None:
        check_run = await client.checks.get(int(source.object_id.partition(":")[0]))
        seen = check_run.head_sha
        then = await client.contents.read(CONFIG_PATH, seen)
        now = await client.contents.read(CONFIG_PATH)
        if check_run.name != NAME or (then and then.sha) != (now and now.sha):
            # Another version stands there by now; its own check asks.
            return None
        async with reading(self._records).connect() as conn:
            asked = await config_questions.waiting(conn, [client.repository.id])
        told = [each.commit_sha for each in asked if each.is_of_default_branch]
        heads = tuple(dict.fromkeys((seen, *told)))
        return _Version(ref=seen, heads=heads, on_default_branch=True)

    async def _wanted(self, trigger: Trigger) -> _Wanted:
        client = self._github.repository(trigger.repository, playbook="config")
        version = await self._version(client, trigger.source)
        if version is None:
            return _Wanted()
        file = await client.contents.read(CONFIG_PATH, version.ref)
        try:
            config = Config() if file is None else parse_config(file.text)
        except InvalidConfig:
            return _Wanted()
        async with reading(self._records).connect() as conn:
            counting = counting_sections(
                await sensitive_config.in_force(conn, trigger.repository.id)
            )
        sections = sensitive_sections(config)
        if digest_of(sections) == digest_of(counting):
            return _Wanted()
        in_force = (await self._config.of(trigger.repository)).config
        return _Wanted(
            version=version,
            digest=digest_of(sections),
            sections=sections,
            counting=counting,
            founders=await founders_of(client, in_force, self._founders),
        )


def _is_of_default_branch(source: Source) -> bool:
    """Whether the button of a check that speaks for no Run and no pull request was pressed."""
    return source.kind is SourceKind.CHECK_RUN and source.run is None and source.subject is None
