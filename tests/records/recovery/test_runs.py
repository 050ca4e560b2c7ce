"""Runs, their steps and the outbox."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import incidents, notifications, runs, steps
from bot.records.lifecycle import IllegalMove, RunState, UnknownRecord
from bot.records.notifications import NotificationState
from bot.records.runs import StoredRun
from bot.records.steps import Reversibility
from tests.records.examples import NOON, REPOSITORY, opening, trigger

LATER = NOON + timedelta(minutes=5)


async def started(conn: AsyncConnection, run_id: str = "r1", comment: str = "1") -> StoredRun:
    return await runs.start(conn, run_id, trigger(comment), playbook="revert", at=NOON)


async def test_one_trigger_has_one_run(conn: AsyncConnection) -> None:
    first = await started(conn, "r1")
    assert await started(conn, "r2") == first
    assert first.state is RunState.QUEUED
    assert first.trigger["source"] == trigger().source.model_dump(mode="json")


async def test_a_run_finishes_and_is_no_longer_live(conn: AsyncConnection) -> None:
    await started(conn)
    for state in ("preflight", "running", "verifying", "succeeded"):
        run = await runs.move(conn, "r1", RunState(state), at=LATER)
    assert (run.finished_at, run.is_live) == (LATER, False)
    assert await runs.list_live(conn, REPOSITORY.id) == []
    with pytest.raises(IllegalMove, match="succeeded is final"):
        await runs.move(conn, "r1", RunState.RUNNING, at=LATER)


async def test_a_delivery_finds_the_live_runs_that_wait_on_it(conn: AsyncConnection) -> None:
    for number in ("1", "2", "3"):
        await started(conn, f"r{number}", number)
    await runs.watch(conn, "r1", at=NOON, head_sha="a" * 40, pull_request=7)
    await runs.watch(conn, "r2", at=NOON, head_sha="b" * 40, pull_request=8)
    await runs.watch(conn, "r3", at=NOON, head_sha="a" * 40, pull_request=9)
    await runs.move(conn, "r3", RunState.CANCELLED, at=LATER, reason="no longer needed")

    async def woken(**about: object) -> list[str]:
        return await runs.watching(conn, REPOSITORY.id, **about)  # type: ignore[arg-type]

    assert await woken(heads=["a" * 40]) == ["r1"]
    assert await woken(pull_requests=[8, 10]) == ["r2"]
    assert await woken(heads=["a" * 40, "c" * 40], pull_requests=[8]) == ["r1", "r2"]
    assert await woken() == []
    assert await runs.watching(conn, 1, heads=["a" * 40]) == []


async def test_what_becomes_known_about_a_run_is_noted(conn: AsyncConnection) -> None:
    incident, _ = await incidents.open_or_join(conn, opening())
    await started(conn)
    noted = await runs.note(
        conn, "r1", at=LATER, incident_id=incident.id, seed=str(2**64 - 1), artifact_path="a.json"
    )
    assert (noted.seed, noted.artifact_path, noted.version) == (str(2**64 - 1), "a.json", 2)
    assert await runs.note(conn, "r1", at=LATER, artifact_path="a.json") == noted
    assert await runs.of_incident(conn, incident.id) == [noted]


async def test_an_unknown_run_is_said_to_be_unknown(conn: AsyncConnection) -> None:
    with pytest.raises(UnknownRecord, match="no run r9"):
        await runs.move(conn, "r9", RunState.PREFLIGHT, at=NOON)


async def test_a_step_counts_its_attempts_and_keeps_what_it_made_first(
    conn: AsyncConnection,
) -> None:
    await started(conn)
    for _ in range(2):
        step = await steps.begin(
            conn,
            "r1",
            "publish hotfix branch",
            at=NOON,
            reversibility=Reversibility.REVERSIBLE,
            compensation="delete the branch",
        )
    assert step.attempt == 2
    await steps.finish(conn, "r1", step.name, at=LATER, external_ref="refs/heads/hotfix/revert-1")
    done = await steps.finish(conn, "r1", step.name, at=LATER, external_ref="something else")
    assert done.external_ref == "refs/heads/hotfix/revert-1"
    assert await steps.of_run(conn, "r1") == [done]


async def test_a_step_that_can_be_undone_must_say_how(conn: AsyncConnection) -> None:
    await started(conn)
    with pytest.raises(IntegrityError):
        async with conn.begin_nested():
            await steps.begin(
                conn, "r1", "merge", at=NOON, reversibility=Reversibility.COMPENSATABLE
            )


async def test_a_step_that_never_began_cannot_finish(conn: AsyncConnection) -> None:
    with pytest.raises(UnknownRecord, match="never began"):
        await steps.finish(conn, "r1", "merge", at=NOON)


async def posted(conn: AsyncConnection, name: str, because: str | None = None) -> None:
    await notifications.post(
        conn,
        name,
        repository_id=REPOSITORY.id,
        audience="founder",
        title="High",
        body="Login is broken",
        at=NOON,
        suppressed_because=because,
    )


async def due(conn: AsyncConnection, at: object = NOON) -> list[str]:
    return [message.id for message in await notifications.claim(conn, at=at, until=at)]  # type: ignore[arg-type]


async def test_a_message_is_due_until_it_is_sent(conn: AsyncConnection) -> None:
    await posted(conn, "n1")
    await posted(conn, "n1")
    assert await due(conn) == ["n1"]
    await notifications.sent(conn, "n1", at=NOON)
    assert await due(conn) == []


async def test_a_suppressed_message_is_kept_with_its_reason_and_never_due(
    conn: AsyncConnection,
) -> None:
    await posted(conn, "n1", "the severity is low")
    assert await due(conn) == []


async def test_a_failed_message_is_due_again_and_finally_dead(conn: AsyncConnection) -> None:
    await posted(conn, "n1")
    await notifications.failed(conn, "n1", at=NOON, reason="refused", again_at=LATER)
    assert (await due(conn), await due(conn, LATER)) == ([], ["n1"])
    [message] = await notifications.claim(conn, at=LATER, until=LATER)
    assert (message.state, message.attempts) == (NotificationState.FAILED, 2)
    await notifications.failed(conn, "n1", at=LATER, reason="refused", again_at=None)
    assert await due(conn, LATER) == []
