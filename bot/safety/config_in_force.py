"""Which configuration counts now: the last good version, its sensitive sections as approved."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import rfc8785
from cachetools import LRUCache
from pydantic import JsonValue, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from bot.config import CONFIG_PATH, LARGEST_CONFIG, PROTECTED, Config
from bot.config_versions import NO_FILE, ConfigVersion, read_version
from bot.errors import Passing
from bot.github.client import GitHub, RepositoryClient
from bot.limits import Founder
from bot.records import sensitive_config
from bot.records.database import reading
from bot.records.sensitive_config import ApprovedSections
from bot.triggers import Repository, Value

KNOWN_FOR = timedelta(seconds=30)
"""How long an answer is used without asking GitHub again; a push is heard at once."""

SOON_S = 0.5
"""How long whoever wants an answer at once waits for GitHub."""

A_LINK = (
    f"{CONFIG_PATH} is a symbolic link. It has to be a file: behind a link the configuration could "
    "be changed without anybody noticing."
)
_regular: LRUCache[tuple[int, str], None] = LRUCache(10_000)
"""Versions, each with its repository, that were seen to be a file; looked for once."""

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


async def version_at(client: RepositoryClient, ref: str | None = None) -> ConfigVersion:
    """Read the file as it is at a commit, or at the head of the default branch.

    Raises:
        GitHubError: GitHub could not be read.
    """
    file = await client.contents.find(CONFIG_PATH, ref, largest=LARGEST_CONFIG)
    if file is None:
        return NO_FILE
    version = (client.repository.id, file.sha)
    if version not in _regular:
        if not await client.contents.is_regular(CONFIG_PATH, ref):
            return ConfigVersion(file.sha, None, fault=A_LINK)
        _regular[version] = None
    return await read_version(file.sha, file.content)


def sensitive_sections(config: Config) -> Sections:
    """What of the configuration is protected: its changes need a Founder."""
    written: Sections = config.model_dump(mode="json")
    return _only_protected(written)


def part_of(sections: Sections, key: str) -> JsonValue:
    """The value of a section, or of one key of it (`section.key`); None where there is none."""
    name, _, part = key.partition(".")
    found = sections.get(name)
    if not part:
        return found
    return found.get(part) if isinstance(found, dict) else None


def _only_protected(written: Sections) -> Sections:
    kept: Sections = {}
    for key in PROTECTED:
        name, _, part = key.partition(".")
        section = written.get(name)
        if not part and name in written:
            kept[name] = section
        elif isinstance(section, dict) and part in section:
            kept[name] = {**_mapping(kept.get(name)), part: section[part]}
    return kept


def _mapping(value: JsonValue) -> Sections:
    return value if isinstance(value, dict) else {}


def digest_of(sections: Sections) -> str:
    """Name a version of the sensitive sections by its content."""
    return hashlib.sha256(rfc8785.dumps(sections)).hexdigest()


def approval_hours(counting: Sections) -> int:
    """How long an approval is good for, by the Founder's section that counts."""
    return Founder.model_validate(counting.get("founder", {})).approval_hours


def approvals_since(counting: Sections, now: datetime) -> datetime:
    """Since when approvals have not expired."""
    return now - timedelta(hours=approval_hours(counting))


def with_sections(config: Config, sections: Sections) -> Config:
    """The same configuration with other protected parts; what is not in `sections` is default."""
    known = _readable(_only_protected(sections))
    parts: dict[str, Any] = {name: getattr(config, name) for name in Config.model_fields}
    for key in PROTECTED:
        name, _, part = key.partition(".")
        approved = getattr(known, name)
        if part:
            section = dict(parts[name])
            parts[name] = type(approved).model_construct(
                **section | {part: getattr(approved, part)}
            )
        else:
            parts[name] = approved
    return Config.model_construct(**parts)


def _readable(sections: Sections) -> Config:
    """Read what was approved; a section from which this release cannot read is default."""
    try:
        return Config.model_validate(sections)
    except ValidationError as error:
        wrong = {fault["loc"][0] for fault in error.errors(include_input=False)}
        return Config.model_validate({k: v for k, v in sections.items() if k not in wrong})


def counting_sections(approved: ApprovedSections | None) -> Sections:
    """The protected parts that count: the approved ones, or the defaults."""
    known = Config() if approved is None else with_sections(Config(), approved.sections)
    return sensitive_sections(known)


class ConfigInForce:
    """Reads the configuration of any repository, and remembers it for a moment."""

    def __init__(
        self,
        github: GitHub,
        records: AsyncEngine,
        *,
        last_good: Callable[[Repository], Awaitable[Config | None]],
        clock: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            github: has the file.
            records: have the approvals.
            last_good: finds an older version where the newest cannot be used; None: not now.
            clock: tells the time (UTC).
        """
        self._github = github
        self._records = records
        self._last_good = last_good
        self._clock = clock
        self._known: LRUCache[int, tuple[datetime, InForce]] = LRUCache(1000)
        self._last: LRUCache[int, tuple[int, Config]] = LRUCache(1000)
        self._changes: Counter[int] = Counter()
        self._turns = itertools.count()
        self._reading: dict[tuple[int, int], asyncio.Task[InForce]] = {}
        self._good: LRUCache[int, tuple[str, Config]] = LRUCache(1000)

    def forget(self, repository_id: int) -> None:
        """Read it again next time: something was pushed or approved."""
        self._known.pop(repository_id, None)
        self._changes[repository_id] += 1

    def is_disputed(self, repository_id: int) -> bool:
        """Whether what was read last does not count as it is: that is said on the newest commit."""
        _, known = self._known.get(repository_id, (None, None))
        return known is not None and not (known.fault is None and known.waiting is None)

    async def of(self, repository: Repository) -> InForce:
        """Give the configuration that counts.

        Raises:
            GitHubError: the file could not be read.
        """
        now = self._clock()
        at, known = self._known.get(repository.id, (now, None))
        if known is not None and now - at < KNOWN_FOR:
            return known
        changes, turn = self._changes[repository.id], next(self._turns)
        client = self._github.repository(repository, playbook="config", recovery=True)
        version = await version_at(client)
        config = await self._good_one(repository, version)
        found = await self._approved(repository.id, config, now)
        found = found.model_copy(update={"fault": version.fault or None})
        # A reading may end after one that began later.
        if turn >= self._last.get(repository.id, (0, found.config))[0]:
            self._last[repository.id] = turn, found.config
        # What changed while it was being read must not be kept as it was before.
        if self._changes[repository.id] == changes:
            self._known[repository.id] = (now, found)
        return found

    async def soon(self, repository: Repository) -> InForce | None:
        """The same for whoever wants an answer at once.

        None where GitHub does not tell at once; whether it is away, or its limits are used up, and
        there are minutes in which even recoveries wait for those.
        """
        # One reading for all who ask, and it goes on: whoever asks next has the use of it.
        key = repository.id, self._changes[repository.id]
        if key not in self._reading:
            task = self._reading[key] = asyncio.create_task(self.of(repository))
            task.add_done_callback(partial(self._was_read, key))
        done, _ = await asyncio.wait([reading := self._reading[key]], timeout=SOON_S)
        try:
            return reading.result() if done else None
        except Passing:
            return None

    def _was_read(self, key: tuple[int, int], reading: asyncio.Task[InForce]) -> None:
        del self._reading[key]
        if not reading.cancelled():
            # Whoever still waits hears it too.
            reading.exception()

    def read_last(self, repository_id: int) -> Config | None:
        """Give what was read last, however long ago; None: nothing yet."""
        _, config = self._last.get(repository_id, (0, None))
        return config

    async def _good_one(self, repository: Repository, version: ConfigVersion) -> Config:
        """This version, or the last good one before it; looked for once for each bad one."""
        blob, good = self._good.get(repository.id, ("", None))
        if version.config is not None:
            good = version.config
        elif good is None or blob != version.blob:
            good = await self._last_good(repository) or good or Config()
        self._good[repository.id] = (version.blob, good)
        return good

    async def settled(self, repository_id: int, config: Config) -> Config:
        """Give a version of the configuration with its sensitive sections as approved."""
        return (await self._approved(repository_id, config, self._clock())).config

    async def _approved(self, repository_id: int, config: Config, now: datetime) -> InForce:
        wanted = sensitive_sections(config)
        digest = digest_of(wanted)
        async with reading(self._records).connect() as conn:
            counting = await sensitive_config.in_force(conn, repository_id)
        sections = counting_sections(counting)
        if digest == digest_of(sections):
            return InForce(config=config)
        since = approvals_since(sections, now)
        async with self._records.begin() as conn:
            if await sensitive_config.come_into_force(
                conn, repository_id, digest, now, since=since
            ):
                return InForce(config=config)
            # Another reader may have brought it into force since.
            counting = await sensitive_config.in_force(conn, repository_id)
        sections = counting_sections(counting)
        if digest_of(sections) == digest:
            return InForce(config=config)
        return InForce(config=with_sections(config, sections), waiting=digest)
