"""What is known of alerts depends on what was said, never on its order or number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.intake.alerts.cloudevents import CloudEvent, event_report
from bot.records import alerts, incidents
from bot.records.alerts import (
    TOO_FAR_AHEAD,
    WELL_AFTER,
    Condition,
    ConditionReport,
    Said,
    supersedes,
)
from bot.records.lifecycle import IncidentStatus
from bot.triggers import Severity
from tests.records.examples import NOON, REPOSITORY, opening

SAID = Said(title="errors", severity=Severity.HIGH)


def _report(
    minute: int = 0,
    *,
    firing: bool = True,
    group: str = "g",
    fingerprint: str = "a",
    unseen: bool | None = None,
    event: str | None = None,
    opens_on_recovery: bool = True,
    renotifies: bool = False,
    severity: Severity = Severity.HIGH,
) -> ConditionReport:
    return ConditionReport(
        repository=REPOSITORY,
        source="alertmanager",
        group_key=group,
        fingerprint=fingerprint,
        event=event,
        at=NOON + timedelta(minutes=minute),
        firing=firing,
        unseen=unseen,
        opens_on_recovery=opens_on_recovery,
        renotifies=renotifies,
        said=SAID.model_copy(update={"severity": severity}),
    )


def _known(reports: Sequence[ConditionReport]) -> dict[str, tuple[datetime, bool]]:
    """What is known of each condition after hearing these, by the pure rule alone."""
    known: dict[str, Condition] = {}
    for report in reports:
        if supersedes(report, known.get(report.fingerprint), NOON):
            known[report.fingerprint] = Condition(
                fingerprint=report.fingerprint,
                at=report.at,
                firing=report.firing,
                said=SAID,
                heard_at=NOON,
            )
    return {name: (each.at, each.firing) for name, each in known.items()}


_REPORTS = st.lists(
    st.builds(
        _report,
        st.integers(0, 5),
        firing=st.booleans(),
        fingerprint=st.sampled_from("ab"),
    ),
    min_size=1,
    max_size=12,
)


@given(reports=_REPORTS, data=st.data())
def test_any_order_and_any_repeats_come_to_the_same(
    reports: list[ConditionReport], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(reports + data.draw(st.lists(st.sampled_from(reports)))))
    assert _known(shuffled) == _known(reports)


_AHEAD = TOO_FAR_AHEAD // timedelta(minutes=1)


@pytest.mark.parametrize(
    ("known", "told", "counts"),
    [
        # Local time called UTC, and a year that a template got wrong.
        ((_AHEAD + 30, True), (0, False), True),
        ((5_000_000, True), (0, False), True),
        ((5_000_000, False), (0, True), True),
        # Of two words of one wrong clock the newer counts.
        ((_AHEAD + 30, True), (_AHEAD + 29, False), False),
        ((_AHEAD + 30, True), (_AHEAD + 31, False), True),
        # Clocks may differ a little.
        ((_AHEAD, True), (0, False), False),
    ],
)
def test_a_moment_that_has_not_come_holds_no_later_word_back(
    known: tuple[int, bool], told: tuple[int, bool], *, counts: bool
) -> None:
    before = Condition(
        fingerprint="a",
        at=NOON + timedelta(minutes=known[0]),
        firing=known[1],
        said=SAID,
        heard_at=NOON,
    )
    assert supersedes(_report(told[0], firing=told[1]), before, NOON) is counts


async def test_the_first_word_begins_an_episode_and_repeats_do_not(conn: AsyncConnection) -> None:
    [first] = await alerts.take(conn, [_report()], at=NOON)
    assert (first.begins, first.group.episode) == (True, 1)
    assert await alerts.take(conn, [_report(), _report()], at=NOON) == []
    known = await alerts.find(conn, first.group.id)
    assert known is not None
    assert known.received == 3
    assert not known.is_clear


async def test_whoever_follows_is_told_when_the_last_condition_clears(
    conn: AsyncConnection,
) -> None:
    both = [_report(), _report(fingerprint="b")]
    await alerts.take(conn, both, at=NOON)
    assert await alerts.take(conn, [_report(firing=False)], at=NOON) == []
    [moved] = await alerts.take(conn, [_report(firing=False, fingerprint="b")], at=NOON)
    assert (moved.begins, moved.group.is_clear) == (False, True)


async def test_only_what_fires_begins_another_episode(conn: AsyncConnection) -> None:
    [first] = await alerts.take(conn, [_report(firing=False)], at=NOON)
    assert (first.begins, first.group.is_clear) == (True, True)
    await alerts.let_go(conn, first.group.id)
    assert await alerts.take(conn, [_report(), _report(firing=False)], at=NOON) == []
    [again] = await alerts.take(conn, [_report(9)], at=NOON)
    assert (again.begins, again.group.episode) == (True, 2)


@pytest.mark.parametrize(
    ("word", "hours", "begins"),
    [
        (_report(), 1, False),
        (_report(), 100, False),
        (_report(7), 1, True),  # Alertmanager: it began once more
        (_report(7, event="e2"), 1, True),
        (_report(7, renotifies=True), 1, False),
        (_report(7, renotifies=True), 25, True),
        (_report(7, renotifies=True, severity=Severity.CRITICAL), 1, True),
        (_report(fingerprint="b"), 1, True),
        (_report(fingerprint="b", firing=False), 1, False),
        (_report(unseen=True), 1, False),
        (_report(7, firing=False), 1, False),
    ],
)
async def test_what_a_person_cancelled_begins_anew_only_by_more_than_its_own_repeat(
    conn: AsyncConnection, word: ConditionReport, hours: int, begins: bool
) -> None:
    [first] = await alerts.take(conn, [_report()], at=NOON)
    about = {"kind": alerts.KIND, "subject": alerts.subject_of(first.group.id)}
    opened, _ = await incidents.open_or_join(conn, opening().model_copy(update=about))
    await alerts.let_go(conn, first.group.id)
    await incidents.move(conn, opened.id, IncidentStatus.DECLINED, at=NOON)
    moved = await alerts.take(conn, [word], at=NOON + timedelta(hours=hours))
    assert [each.begins for each in moved] == [True] * begins
    if not begins:
        over = await alerts.take(conn, [_report(9, firing=False)], at=NOON + timedelta(hours=hours))
        assert over == []


async def test_an_event_that_was_heard_before_is_dropped(conn: AsyncConnection) -> None:
    [first] = await alerts.take(conn, [_report(event="e1"), _report(event="e1")], at=NOON)
    assert await alerts.take(conn, [_report(7, event="e1")], at=NOON) == []
    known = await alerts.find(conn, first.group.id)
    assert known is not None
    assert known.received == 1


@pytest.mark.parametrize("identity", ["a\x00b", "\U0001f600" * 500])
async def test_ids_that_postgresql_cannot_keep_are_kept(
    conn: AsyncConnection, identity: str
) -> None:
    event = CloudEvent(specversion="1.0", id=identity, source="\U0001f680" * 500, type="slo.breach")
    report = event_report(event, REPOSITORY, NOON)
    assert len(await alerts.take(conn, [report], at=NOON)) == 1
    assert await alerts.take(conn, [report], at=NOON) == []


async def test_what_is_unseen_is_never_clear(conn: AsyncConnection) -> None:
    await alerts.take(conn, [_report(unseen=False)], at=NOON)
    [moved] = await alerts.take(conn, [_report(firing=False, unseen=True)], at=NOON)
    assert not moved.group.is_clear
    [moved] = await alerts.take(conn, [_report(firing=False, unseen=False)], at=NOON)
    assert moved.group.is_clear


async def test_groups_and_repositories_do_not_mix(conn: AsyncConnection) -> None:
    moved = await alerts.take(conn, [_report(group="g"), _report(group="h")], at=NOON)
    assert len({each.group.id for each in moved}) == 2


@pytest.mark.parametrize("minute", [0, -30])
async def test_what_fires_well_after_its_recovery_was_heard_fires_again(
    conn: AsyncConnection, minute: int
) -> None:
    [first] = await alerts.take(conn, [_report()], at=NOON)
    await alerts.take(conn, [_report(firing=False)], at=NOON)
    await alerts.let_go(conn, first.group.id)
    [again] = await alerts.take(conn, [_report(minute)], at=NOON + WELL_AFTER)
    assert (again.begins, again.group.episode, again.group.is_clear) == (True, 2, False)
    [over] = await alerts.take(conn, [_report(minute, firing=False)], at=NOON + WELL_AFTER)
    assert over.group.is_clear


async def test_a_firing_word_that_its_recovery_overtook_changes_nothing(
    conn: AsyncConnection,
) -> None:
    [first] = await alerts.take(conn, [_report()], at=NOON)
    await alerts.take(conn, [_report(firing=False)], at=NOON)
    await alerts.let_go(conn, first.group.id)
    soon = NOON + WELL_AFTER - timedelta(seconds=1)
    assert await alerts.take(conn, [_report()], at=soon) == []


async def test_a_recovery_of_what_was_never_reported_opens_nothing_for_such_senders(
    conn: AsyncConnection,
) -> None:
    over = _report(1, firing=False, opens_on_recovery=False)
    assert await alerts.take(conn, [over], at=NOON) == []
    assert await alerts.take(conn, [_report(opens_on_recovery=False)], at=NOON) == []
    [begun] = await alerts.take(conn, [_report(2, opens_on_recovery=False)], at=NOON)
    assert (begun.begins, begun.group.episode) == (True, 1)


async def test_keys_of_any_length_are_told_apart_and_kept_short(conn: AsyncConnection) -> None:
    long = "{}:{" + "x" * 100_000
    reports = [_report(group=f"{long}{n}", event=f"{long}{n}") for n in "ab"]
    moved = await alerts.take(conn, reports, at=NOON)
    assert len({each.group.id for each in moved}) == 2
    kept = {each.group.group_key for each in moved}
    assert len(kept) == 2
    assert max(map(len, kept)) < 600
    assert await alerts.take(conn, reports, at=NOON) == []
