"""Which configuration counts now: the last good version, its sensitive sections as approved."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import rfc8785
from cachetools import LRUCache
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import CONFIG_PATH, SENSITIVE, Config, InvalidConfig, parse_config
from bot.github.client import GitHub
from bot.records.database import reading
from bot.records.safety import sensitive_config
from bot.triggers import Repository, Value

KNOWN_FOR = timedelta(seconds=30)
"""How long an answer is used without asking GitHub again; a push is heard at once."""

Sections = dict[str, JsonValue]


class InForce(Value):
    """The configuration that counts.

    Attributes:
        config: as it counts.
        fault: why the newest version of the file is passed over, if it is.
        waiting: the digest of sensitive sections that no Founder has approved yet, if there are.
    """

    config: Config
    fault: str | None = None
    waiting: str | None = None


def sensitive_sections(config: Config) -> Sections:
    """The sections whose changes need a Founder."""
    return config.model_dump(mode="json", include=set(SENSITIVE))


def digest_of(sections: Sections) -> str:
    """Name a version of the sensitive sections by its content."""
    return hashlib.sha256(rfc8785.dumps(sections)).hexdigest()


def with_sections(config: Config, sections: Sections) -> Config:
    """The same configuration with other sensitive sections."""
    known = Config.model_validate({key: sections[key] for key in SENSITIVE if key in sections})
    return config.model_copy(update={name: getattr(known, name) for name in SENSITIVE})


class ConfigInForce:
    """Reads the configuration of any repository, and remembers it for a moment."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        *,
        last_good: Callable[[Repository], Awaitable[Config]],
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            github: has the file.
            records: have the approvals.
            last_good: finds an older version where the newest cannot be used.
            clock: tells the time (UTC).
        """
        self._github = github
        self._records = records
        self._last_good = last_good
        self._clock = clock
        self._known: LRUCache[int, tuple[datetime, InForce]] = LRUCache(1000)
        self._changes: Counter[int] = Counter()

    def forget(self, repository_id: int) -> None:
        """Read it anew next time: something was pushed or approved."""
        self._known.pop(repository_id, None)
        self._changes[repository_id] += 1

    async def of(self, repository: Repository) -> InForce:
        """Give the configuration that counts.

        Raises:
            GitHubError: the file could not be read.
        """
        now = self._clock()
        at, known = self._known.get(repository.id, (now, None))
        if known is not None and now - at < KNOWN_FOR:
            return known
        changes = self._changes[repository.id]
        client = self._github.repository(repository, playbook="config", recovery=True)
        file = await client.contents.read(CONFIG_PATH)
        fault = None
        try:
            config = parse_config(file.text) if file else Config()
        except InvalidConfig as invalid:
            fault = str(invalid)
            config = await self._last_good(repository)
        found = await self._approved(repository.id, config, now)
        found = found.model_copy(update={"fault": fault})
        # What changed while it was being read must not be kept as it was before.
        if self._changes[repository.id] == changes:
            self._known[repository.id] = (now, found)
        return found

    async def settled(self, repository_id: int, config: Config) -> Config:
        """Give a version of the configuration with its sensitive sections as approved."""
        return (await self._approved(repository_id, config, self._clock())).config

    async def _approved(self, repository_id: int, config: Config, now: datetime) -> InForce:
        wanted = sensitive_sections(config)
        digest = digest_of(wanted)
        async with reading(self._records).connect() as conn:
            counting = await sensitive_config.in_force(conn, repository_id)
        if digest == (counting.digest if counting else digest_of(sensitive_sections(Config()))):
            return InForce(config=config)
        async with self._records.begin() as conn:
            if await sensitive_config.come_into_force(conn, repository_id, digest, now):
                return InForce(config=config)
            # Another reader may have brought it into force since.
            counting = await sensitive_config.in_force(conn, repository_id)
        if counting and counting.digest == digest:
            return InForce(config=config)
        sections = counting.sections if counting else sensitive_sections(Config())
        return InForce(config=with_sections(config, sections), waiting=digest)
