"""Pauses: one in force per scope, stricter only, lifted by whom may."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.records import pauses
from bot.records.audit import chain
from bot.records.lifecycle import IllegalMove, StaleVersion
from bot.records.pauses import PauseKind, Pausing
from tests.records.examples import NOON


def wish(
    key: str = "1", kind: PauseKind = PauseKind.THRESHOLD, scope: str = "self-work"
) -> Pausing:
    return Pausing(
        key=key, repository_id=1, scope=scope, kind=kind, reason=f"reason {key}", by="alice",
        at=NOON,
    )  # fmt: skip


async def test_one_pause_is_in_force_per_scope(conn: AsyncConnection) -> None:
    first = await pauses.pause(conn, wish("1"))
    second = await pauses.pause(conn, wish("2"))
    await pauses.pause(conn, wish("3", scope="llm.summarize"))
    assert second == first
    found = await pauses.all_in_force(conn, 1)
    assert {each.scope for each in found} == {"self-work", "llm.summarize"}


async def test_a_stricter_reason_takes_over_and_a_milder_one_does_not(
    conn: AsyncConnection,
) -> None:
    await pauses.pause(conn, wish("1", PauseKind.MANUAL))
    strict = await pauses.pause(conn, wish("2", PauseKind.SAFETY))
    assert (strict.kind, strict.reason) == (PauseKind.SAFETY, "reason 2")
    assert await pauses.pause(conn, wish("3", PauseKind.THRESHOLD)) == strict


@pytest.mark.parametrize("kind", [PauseKind.MANUAL, PauseKind.SAFETY])
async def test_what_a_person_or_safety_held_is_lifted_by_a_person_only(
    conn: AsyncConnection, kind: PauseKind
) -> None:
    held = await pauses.pause(conn, wish(kind=kind))
    with pytest.raises(IllegalMove, match="by a person only"):
        await pauses.unpause(conn, held, by="bot", person=False, at=NOON, because="green")
    await pauses.unpause(conn, held, by="bob", person=True, at=NOON, because="seen to")
    assert await pauses.in_force(conn, 1, "self-work") is None


async def test_a_retry_does_not_pause_again_what_was_lifted_since(conn: AsyncConnection) -> None:
    held = await pauses.pause(conn, wish())
    await pauses.unpause(conn, held, by="bob", person=True, at=NOON, because="fine")
    again = await pauses.pause(conn, wish())
    assert (again.id, again.state) == (held.id, "lifted")


async def test_a_decision_on_an_old_look_is_refused(conn: AsyncConnection) -> None:
    held = await pauses.pause(conn, wish())
    await pauses.pause(conn, wish("2", PauseKind.SAFETY))
    with pytest.raises(StaleVersion):
        await pauses.unpause(conn, held, by="bot", person=False, at=NOON, because="green")


async def test_half_open_falls_back_at_any_new_reason(conn: AsyncConnection) -> None:
    held = await pauses.pause(conn, wish("1", PauseKind.MANUAL))
    half = await pauses.note(
        conn, held, state="half open", green_since=NOON - timedelta(hours=1), canary=7
    )
    assert half.canary == 7
    back = await pauses.pause(conn, wish("2", PauseKind.THRESHOLD))
    assert (back.state, back.canary, back.kind) == ("paused", None, PauseKind.MANUAL)


async def test_the_audit_tells_who_held_and_who_let_go(conn: AsyncConnection) -> None:
    held = await pauses.pause(conn, wish())
    await pauses.unpause(conn, held, by="bob", person=True, at=NOON, because="fine")
    told = [e for e in await chain.read(conn, 1) if isinstance(e, chain.AuditEntry)]
    assert [(e.action, e.actor) for e in told] == [
        ("self-work.paused", "alice"),
        ("self-work.unpaused", "bob"),
    ]
