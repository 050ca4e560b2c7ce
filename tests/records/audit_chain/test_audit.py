"""The audit chain: it can only grow, it never forks, and its hash can be computed by anyone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records.audit import chain
from bot.records.audit.chain import AuditEntry
from bot.records.tables.safety import audit_entries, audit_heads
from tests.records.examples import NOON

APPEND = """
import asyncio, sys
from datetime import UTC, datetime
from bot.records.audit import chain as audit
from bot.records.database import open_database

async def worker(engine, name, count):
    for number in range(count):
        async with engine.begin() as conn:
            await audit.append(conn, 1, "appended", actor=name, at=datetime.now(UTC),
                               data={"number": number})

async def main(url, name):
    engine = open_database(url)
    async with asyncio.TaskGroup() as group:
        for connection in range(5):
            group.create_task(worker(engine, f"{name}.{connection}", 10))
    await engine.dispose()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.sampled("postgresql")
async def test_two_hundred_appends_from_four_processes_make_one_chain(
    url: str, engine: AsyncEngine
) -> None:
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", APPEND, url, str(number), stderr=asyncio.subprocess.PIPE
        )
        for number in range(4)
    ]
    ended = [await process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * 4, ended
    async with engine.connect() as conn:
        entries = await chain.read(conn, 1)
        head = await chain.head_of(conn, 1)
    assert [entry.seq for entry in entries] == list(range(1, 201))
    previous = chain.GENESIS
    for entry in entries:
        assert isinstance(entry, AuditEntry)
        assert entry.prev_hash == previous
        assert entry.computed_hash() == entry.entry_hash
        previous = entry.entry_hash
    assert len({(entry.actor, entry.data["number"]) for entry in entries}) == 200  # type: ignore[union-attr]
    assert head is not None
    assert (head.seq, head.head_hash) == (200, previous)


async def test_every_repository_has_a_chain_of_its_own(conn: AsyncConnection) -> None:
    for repository in (1, 2, 1):
        await chain.append(conn, repository, "x", actor="a", at=NOON)
    assert [entry.seq for entry in await chain.read(conn, 1)] == [1, 2]
    assert [entry.seq for entry in await chain.read(conn, 2)] == [1]
    assert await chain.repositories(conn) == [1, 2]
    assert await chain.head_of(conn, 3) is None


async def test_what_is_rolled_back_was_never_in_the_chain(engine: AsyncEngine) -> None:
    async with engine.connect() as conn:
        await chain.append(conn, 1, "x", actor="a", at=NOON)
        await conn.rollback()
    async with engine.begin() as conn:
        assert (await chain.append(conn, 1, "y", actor="a", at=NOON)).seq == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'mallory' WHERE seq = 1",
        "DELETE FROM audit_entries WHERE seq = 2",
        "DELETE FROM audit_entries",
    ],
)
async def test_the_database_itself_refuses_to_change_or_remove_an_entry(
    engine: AsyncEngine, statement: str
) -> None:
    async with engine.begin() as conn:
        for _ in range(2):
            await chain.append(conn, 1, "x", actor="a", at=NOON)
    async with engine.connect() as conn:
        with pytest.raises(DBAPIError, match="can only be added"):
            await conn.exec_driver_sql(statement)


async def test_the_database_itself_refuses_to_replace_or_truncate(engine: AsyncEngine) -> None:
    sqlite = engine.dialect.name == "sqlite"
    async with engine.begin() as conn:
        await chain.append(conn, 1, "x", actor="a", at=NOON)
    async with engine.connect() as conn:
        with pytest.raises(DBAPIError, match="can only be added"):
            await conn.exec_driver_sql(
                "INSERT OR REPLACE INTO audit_entries SELECT repository_id, seq, time, 'mallory',"
                " action, incident, run, refs, data, prev_hash, entry_hash FROM audit_entries"
                if sqlite
                else "TRUNCATE audit_entries"
            )


async def test_two_entries_cannot_follow_the_same_one(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        first = await chain.append(conn, 1, "x", actor="a", at=NOON)
    fork = {"refs": "{}", "data": "{}", "time": "t", "actor": "a", "action": "x"}
    async with engine.connect() as conn:
        with pytest.raises(DBAPIError):
            await conn.execute(
                sa.insert(audit_entries).values(
                    repository_id=1, seq=2, prev_hash=first.prev_hash, entry_hash="0", **fork
                )
            )


async def test_the_hash_is_what_the_documentation_says(conn: AsyncConnection) -> None:
    entry = await chain.append(
        conn,
        2**53 + 1,
        "incident.opened",
        actor="alice",
        at=NOON,
        incident="i1",
        refs={"pull_request": 7},
        data={"reason": "é <b>"},
    )
    body = (
        '{"action":"incident.opened","actor":"alice","data":{"reason":"é <b>"},"incident":"i1",'
        '"refs":{"pull_request":7},"repository_id":"9007199254740993","run":null,"seq":"1",'
        '"time":"2026-03-01T12:00:00.000000Z"}'
    )
    link = b"incident-playbooks/audit/1\x00" + bytes(32) + body.encode()
    assert entry.entry_hash == hashlib.sha256(link).hexdigest()


async def test_numbers_json_cannot_carry_are_written_as_text(conn: AsyncConnection) -> None:
    data = {"seed": 2**64 - 1, "ratio": 5.0, "huge": 1e300, "list": [-(2**53)], "yes": True}
    await chain.append(conn, 1, "x", actor="a", at=NOON, data=data)  # type: ignore[arg-type]
    [entry] = await chain.read(conn, 1)
    assert isinstance(entry, AuditEntry)
    assert entry.data == {
        "seed": "18446744073709551615",
        "ratio": 5,
        "huge": "1e+300",
        "list": ["-9007199254740992"],
        "yes": True,
    }


async def test_a_number_that_is_not_finite_is_refused(conn: AsyncConnection) -> None:
    with pytest.raises(ValueError, match="nan"):
        await chain.append(conn, 1, "x", actor="a", at=NOON, data={"ratio": float("nan")})


async def test_the_story_of_an_incident_is_read_in_order(conn: AsyncConnection) -> None:
    for action, incident in (("opened", "i1"), ("opened", "i2"), ("merged", "i1")):
        await chain.append(conn, 1, action, actor="a", at=NOON, incident=incident)
    assert [entry.action for entry in await chain.of_incident(conn, "i1")] == ["opened", "merged"]


async def test_a_chain_is_read_in_pages(conn: AsyncConnection) -> None:
    for _ in range(5):
        await chain.append(conn, 1, "x", actor="a", at=NOON)
    assert [entry.seq for entry in await chain.read(conn, 1, after=2, limit=2)] == [3, 4]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_any_data_is_read_back_with_the_hash_it_was_written_with(data: dict[str, object]) -> None:
    entry = AuditEntry(
        repository_id=1,
        seq=1,
        time=NOON,
        actor="a",
        action="x",
        incident=None,
        run=None,
        refs={},
        data=chain.exact(data),  # type: ignore[arg-type]
        prev_hash=chain.GENESIS,
        entry_hash="",
    )
    text = json.dumps(entry.data)
    again = entry.model_copy(update={"data": json.loads(text)})
    assert again.computed_hash() == entry.computed_hash()


async def test_an_untouched_repository_has_no_head_row(conn: AsyncConnection) -> None:
    assert (await conn.execute(sa.select(audit_heads))).all() == []
