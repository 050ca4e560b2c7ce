"""`/approve` by a Founder where a pull request changes sensitive sections of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field, JsonValue
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot import markdown
from bot.config import CONFIG_PATH, Config, InvalidConfig, parse_config
from bot.github.client import GitHub
from bot.intake.answering import replies
from bot.intake.answering.answer import Reply
from bot.playbooks.run import Run
from bot.records.database import reading
from bot.records.safety import config_questions, sensitive_config
from bot.safety.config_check import changes_config, counting_sections, report_config
from bot.safety.config_in_force import ConfigInForce, digest_of, sensitive_sections
from bot.safety.founders import founders_of, is_founder
from bot.triggers import Trigger, Value


class _Wanted(Value):
    """The sections somebody wants to have approved; no digest where there are none."""

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
        """Approve what the pull request here changes; None where it changes nothing of the sort."""
        number = trigger.source.subject
        if number is None or not trigger.source.is_pull_request:
            return None

        async def look(_: bool) -> _Wanted:
            return await self._wanted(trigger, number)

        wanted = await run.step("see what configuration is to be approved", _Wanted, look)
        if not wanted.digest:
            return None
        if not is_founder(trigger.actor.login, wanted.founders):
            names = ", ".join(markdown.code(each) for each in wanted.founders)
            return Reply(
                text=replies.refusal(
                    trigger.actor,
                    f"Only a Founder approves these sections ({names}).",
                    "Ask a Founder to read the change and comment `/approve` here.",
                ),
                done=False,
            )
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
            client = self._github.repository(trigger.repository, playbook="config")
            pull = await client.pulls.get(number)
            await report_config(
                client,
                pull,
                wanted.counting,
                approved=(wanted.digest,),
                no_counters=self._no_counters(),
                look_first=True,
            )
            return True

        await run.step("report the approved configuration", bool, report)
        return Reply(
            text=f"Approved (digest {markdown.code(wanted.digest[:12])}): it counts as soon as the "
            "default branch has just this. Another change of these sections needs its own approval."
        )

    async def _wanted(self, trigger: Trigger, number: int) -> _Wanted:
        client = self._github.repository(trigger.repository, playbook="config")
        pull = await client.pulls.find(number)
        if pull is None or not await changes_config(client, pull):
            return _Wanted()
        # What is merged stands on the default branch; what is not, on the head somebody looked at.
        file = await client.contents.read(CONFIG_PATH, None if pull.is_merged else pull.head.sha)
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
            digest=digest_of(sections),
            sections=sections,
            counting=counting,
            founders=await founders_of(client, in_force, self._founders),
        )
