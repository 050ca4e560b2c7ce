"""What was put on each repository's records branch: what it must say, whoever pushed to it.

Anybody with write access may push to a branch. So its content is compared with what is kept here
before anything is built upon it, and is written again from here where it differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records.audit import chain
from bot.records.audit.anchors import Anchor
from bot.records.database import insert_into, reading
from bot.records.tables.recovery import incidents, record_anchors, record_files, record_looks
from bot.triggers import OURSELVES, Value

_PATHS_NOTED = 20


class KeptFile(Value):
    """One file as it was put there last, or is being put there.

    `blob` is git's name of its content, `former_blob` of what was there before.
    """

    path: str
    incident_id: str
    blob: str
    former_blob: str | None
    is_written: bool

    def may_be(self, found: str | None) -> bool:
        """Whether the branch may have this blob at its path just now; None: no file."""
        if found == self.blob:
            return True
        # What is there of a release that kept nothing is overwritten, and is no forgery.
        return not self.is_written and self.former_blob in (None, found)


class BranchLook(Value):
    """The head of the branch that was found to be as it must; what was told of last."""

    head: str | None = None
    told_of: str | None = None


class Wrong(Value):
    """How a branch differs from what is kept.

    Attributes:
        files: those that are missing or say something else.
        anchors: how many signed heads are missing.
        others: paths where somebody put what was never put there.
    """

    files: tuple[KeptFile, ...] = ()
    anchors: int = 0
    others: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it differs at all."""
        return bool(self.files or self.anchors or self.others)


class RecordStore:
    """Keeps them. Every method is a transaction of its own and may be done twice."""

    def __init__(
        self,
        engine: AsyncEngine,
        clock: Callable[[], datetime],
        signing_key: Ed25519PrivateKey,
    ) -> None:
        """Prepare; anchors that `signing_key` signed are ours."""
        self._engine = engine
        self._clock = clock
        self._signing_key = signing_key

    async def keep(
        self, repository_id: int, files: Mapping[str, str], anchor: Anchor, *, incident: str
    ) -> None:
        """Keep files (by path) and an anchor that are about to be put on the branch."""
        now = self._clock()
        async with self._engine.begin() as conn:
            for path, content in files.items():
                await _keep(conn, repository_id, path, content, incident, now)
            await _keep_anchors(conn, repository_id, [anchor], is_written=False)

    async def written(
        self, repository_id: int, paths: Collection[str], *, anchors: Collection[str]
    ) -> None:
        """Note that these are on the branch as they are kept here."""
        async with self._engine.begin() as conn:
            await conn.execute(
                sa.update(record_files)
                .where(
                    record_files.c.repository_id == repository_id, record_files.c.path.in_(paths)
                )
                .values(is_written=True)
            )
            await conn.execute(
                sa.update(record_anchors)
                .where(
                    record_anchors.c.repository_id == repository_id,
                    record_anchors.c.line.in_(anchors),
                )
                .values(is_written=True)
            )

    async def saw(self, repository_id: int, head: str) -> None:
        """Note a head of the branch that is as it must be."""
        async with self._engine.begin() as conn:
            await _note(conn, repository_id, {"head": head})

    async def looked(self, repository_id: int) -> BranchLook:
        """Read the head that was found in order last."""
        query = sa.select(record_looks.c.head, record_looks.c.told_of).where(
            record_looks.c.repository_id == repository_id
        )
        async with reading(self._engine).connect() as conn:
            row = (await conn.execute(query)).first()
        return BranchLook() if row is None else BranchLook.model_validate(dict(row._mapping))

    async def files(self, repository_id: int) -> tuple[KeptFile, ...]:
        """Read what must be there, without the contents; the newest first."""
        columns = [record_files.c[name] for name in KeptFile.model_fields]
        query = (
            sa.select(*columns)
            .where(record_files.c.repository_id == repository_id)
            .order_by(record_files.c.kept_at.desc())
        )
        async with reading(self._engine).connect() as conn:
            rows = (await conn.execute(query)).all()
        return tuple(KeptFile.model_validate(dict(row._mapping)) for row in rows)

    async def contents(self, repository_id: int, paths: Collection[str]) -> dict[str, str]:
        """Read the contents of these files, those that are kept."""
        query = sa.select(record_files.c.path, record_files.c.content).where(
            record_files.c.repository_id == repository_id, record_files.c.path.in_(paths)
        )
        async with reading(self._engine).connect() as conn:
            return {row.path: row.content for row in await conn.execute(query)}

    async def anchors(self, repository_id: int) -> dict[str, bool]:
        """Read the anchors' lines in order, each with whether it is known to be there."""
        query = (
            sa.select(record_anchors.c.line, record_anchors.c.is_written)
            .where(record_anchors.c.repository_id == repository_id)
            .order_by(record_anchors.c.seq, record_anchors.c.line)
        )
        async with reading(self._engine).connect() as conn:
            return {row.line: row.is_written for row in await conn.execute(query)}

    async def adopt(self, repository_id: int, found: Sequence[Anchor]) -> None:
        """Keep anchors of ours that were found there: a release before put them."""
        key = self._signing_key.public_key()
        ours = [a for a in found if a.repository_id == repository_id and a.is_signed_by(key)]
        if ours:
            async with self._engine.begin() as conn:
                await _keep_anchors(conn, repository_id, ours, is_written=True)

    async def tell(
        self, repository_id: int, wrong: Wrong, *, branch: str, commit: str | None, of: str
    ) -> None:
        """Note in the audit chain, once for each `of`, that a branch is written again.

        Args:
            repository_id: whose.
            wrong: how it differs.
            branch: its name.
            commit: its head that differs; None where it is gone.
            of: what makes this finding this one.
        """
        async with self._engine.begin() as conn:
            await _note(conn, repository_id, {})
            known = sa.select(record_looks.c.told_of).where(
                record_looks.c.repository_id == repository_id
            )
            if (await conn.execute(known.with_for_update())).scalar_one() == of:
                return
            await _note(conn, repository_id, {"told_of": of})
            await chain.append(
                conn,
                repository_id,
                "records.rebuilt",
                actor=OURSELVES.login,
                at=self._clock(),
                refs={"branch": branch, "commit": commit},
                data={
                    "why": "the branch was deleted" if commit is None else "it was changed",
                    "files": len(wrong.files) + len(wrong.others),
                    "paths": list(_paths(wrong)[:_PATHS_NOTED]),
                    "anchors": wrong.anchors,
                },
            )

    async def issues(self, incident_ids: Collection[str]) -> tuple[int, ...]:
        """Read the issues of these incidents, the newest first."""
        query = (
            sa.select(incidents.c.issue)
            .where(incidents.c.id.in_(incident_ids), incidents.c.issue.is_not(None))
            .order_by(incidents.c.id.desc())
        )
        async with reading(self._engine).connect() as conn:
            return tuple(row.issue for row in await conn.execute(query))

    async def kept_for(self) -> frozenset[int]:
        """Name the repositories of which anything is kept."""
        query = sa.select(record_files.c.repository_id).distinct()
        async with reading(self._engine).connect() as conn:
            return frozenset((await conn.execute(query)).scalars())


def _paths(wrong: Wrong) -> tuple[str, ...]:
    return (*(each.path for each in wrong.files), *wrong.others)


def blob_of(content: str) -> str:
    """Give git's name of a file's content: gitformat-loose(5)."""
    data = content.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


async def _keep(
    conn: AsyncConnection, repository_id: int, path: str, content: str, incident: str, now: datetime
) -> None:
    here = sa.and_(record_files.c.repository_id == repository_id, record_files.c.path == path)
    known = (await conn.execute(sa.select(record_files).where(here).with_for_update())).first()
    blob = blob_of(content)
    values = {"incident_id": incident, "content": content, "blob": blob, "is_written": False}
    if known is None:
        row = {"repository_id": repository_id, "path": path, "kept_at": now, **values}
        await conn.execute(sa.insert(record_files).values(row))
    elif known.blob != blob:
        former = known.blob if known.is_written else known.former_blob
        await conn.execute(
            sa.update(record_files).where(here).values(**values, former_blob=former, kept_at=now)
        )


async def _keep_anchors(
    conn: AsyncConnection, repository_id: int, anchors: Sequence[Anchor], *, is_written: bool
) -> None:
    insert = insert_into(conn)
    for anchor in anchors:
        await conn.execute(
            insert(record_anchors)
            .values(
                repository_id=repository_id,
                line=anchor.line(),
                seq=anchor.seq,
                is_written=is_written,
            )
            .on_conflict_do_nothing()
        )


async def _note(conn: AsyncConnection, repository_id: int, values: dict[str, str]) -> None:
    insert = insert_into(conn)
    made = insert(record_looks).values(repository_id=repository_id, **values)
    if values:
        made = made.on_conflict_do_update(
            index_elements=[record_looks.c.repository_id], set_=values
        )
    else:
        made = made.on_conflict_do_nothing()
    await conn.execute(made)
