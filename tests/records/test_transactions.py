"""Records hold inside the engine's own transactions: serializable and retried."""

from __future__ import annotations

import asyncio

import pytest
from dbos import AsyncSQLAlchemyDatasource
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.records import incidents, runs
from bot.records.audit import chain
from bot.records.audit.anchors import sign
from bot.records.audit.verify import Intact, verify
from bot.records.incidents import Incident
from tests.records.audit_chain.test_verification import KEY, PUBLIC
from tests.records.examples import NOON, REPOSITORY, opening, trigger


@pytest.fixture
async def datasource(
    url: str, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncSQLAlchemyDatasource:
    """The way a Run's steps write to the database."""
    # DBOS is one per process, and a bot of other tests may be running in this one.
    monkeypatch.setattr("dbos._datasource._register_datasource", lambda _: None)
    return await AsyncSQLAlchemyDatasource.create(url, engine=engine)


async def test_ten_runs_at_once_open_one_incident_and_one_chain(
    engine: AsyncEngine, datasource: AsyncSQLAlchemyDatasource
) -> None:
    async def open_incident(comment: str) -> Incident:
        conn: AsyncConnection = await datasource.sql_session().connection()
        incident, _ = await incidents.open_or_join(conn, opening(comment))
        await runs.start(
            conn,
            f"run-{comment}",
            trigger(comment),
            playbook="revert",
            at=NOON,
            incident_id=incident.id,
        )
        await chain.append(
            conn, REPOSITORY.id, "incident.opened", actor="alice", at=NOON, incident=incident.id
        )
        return incident

    opened = await asyncio.gather(
        *(datasource.run_tx_step_async(None, open_incident, str(n)) for n in range(10))
    )
    assert len({incident.id for incident in opened}) == 1
    async with engine.connect() as conn:
        entries = await chain.read(conn, REPOSITORY.id)
        head = await chain.head_of(conn, REPOSITORY.id)
        [incident] = await incidents.list_open(conn)
        assert len(await runs.of_incident(conn, incident.id)) == 10
    assert head is not None
    assert incident.alert_count == 10
    verdict = verify(entries, [sign(head, KEY, NOON)], PUBLIC, head)
    assert verdict == Intact(entries=10, anchored=10)


async def test_a_step_that_fails_leaves_neither_record_nor_audit_entry(
    engine: AsyncEngine, datasource: AsyncSQLAlchemyDatasource
) -> None:
    async def fail_after_writing() -> None:
        conn = await datasource.sql_session().connection()
        await incidents.open_or_join(conn, opening())
        await chain.append(conn, REPOSITORY.id, "incident.opened", actor="alice", at=NOON)
        raise RuntimeError("the step failed")

    with pytest.raises(RuntimeError, match="the step failed"):
        await datasource.run_tx_step_async(None, fail_after_writing)
    async with engine.connect() as conn:
        assert await incidents.list_open(conn) == []
        assert await chain.read(conn, REPOSITORY.id) == []
