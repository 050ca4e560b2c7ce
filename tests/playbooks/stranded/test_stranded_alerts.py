"""Alerts whose Run an update ended are followed anew: none is lost, none is told of twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import sqlalchemy as sa

from bot.playbooks.steps import Step
from bot.records import alerts, runs
from bot.records.incidents import Incident
from bot.records.lifecycle import RunState
from bot.records.runs import StoredRun
from bot.records.tables.intake import inbox
from tests.playbooks.alerts.alerting import Sender, alert
from tests.playbooks.autorevert.judging import self_work_pause
from tests.playbooks.stranded.updating import end_by_update, park
from tests.shop import BAD, Shop

FOLLOWED_ANEW = "I was updated while I followed these alerts"


@pytest.fixture
async def sender(shop: Shop) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(shop, session)


@pytest.fixture
async def incident(sender: Sender) -> Incident:
    """An alert fires, and its incident is open."""
    await sender.alertmanager("g", alert("A"))
    return await sender.incident("active")


async def _clears(shop: Shop, sender: Sender) -> None:
    """The alert is over, and so is all that is done about it."""
    await sender.alertmanager("g", alert("A", "resolved"))
    await sender.incident("resolved")
    await shop.alone()


async def _following(shop: Shop, incident: Incident) -> list[StoredRun]:
    """The Runs that follow its alerts or did, oldest first."""
    async with shop.bot.read_only.connect() as conn:
        found = await runs.of_incident(conn, incident.id)
    return [each for each in found if each.playbook == "triage"]


async def _waits(shop: Shop, incident: Incident, *, attempt: int = 1) -> StoredRun:
    """Wait until this attempt looks at the alerts."""

    async def looks() -> StoredRun | None:
        found = await _following(shop, incident)
        if len(found) < attempt or not found[attempt - 1].is_live:
            return None
        outputs = shop.bot.engine._system.tables.operation_outputs
        run = found[attempt - 1]
        query = sa.select(sa.func.count()).where(
            outputs.c.workflow_uuid == run.id, outputs.c.function_name == "DBOS.sleep"
        )
        with shop.bot.engine._system.engine.connect() as connection:
            return run if connection.execute(query).scalar_one() else None

    return await shop.eventually(looks)  # type: ignore[no-any-return]


async def _ended_by_update(shop: Shop, incident: Incident) -> StoredRun:
    """An update ends its Run while that waits; wait until another follows the alerts."""
    run = await _waits(shop, incident)
    await end_by_update(shop, run, at=Step.READ_ALERTS)
    await shop.told(incident.issue or 0, FOLLOWED_ANEW, times=1)
    await _waits(shop, incident, attempt=2)
    return run


async def _asked(shop: Shop, command: str) -> int:
    """How often this was asked for."""
    async with shop.bot.read_only.connect() as conn:
        payloads = (await conn.execute(sa.select(inbox.c.payload))).scalars().all()
    return sum(
        each["request"]["command"] == command and each["repository"]["id"] == shop.repository.id
        for each in payloads
    )


@pytest.mark.thorough
async def test_alerts_whose_run_an_update_ended_are_followed_again_and_told_of_once(
    shop: Shop, sender: Sender, incident: Incident
) -> None:
    run = await _ended_by_update(shop, incident)
    before, after = await _following(shop, incident)
    assert (before.id, before.state) == (run.id, RunState.FAILED)
    issue = await shop.alice.issue(incident.issue or 0)
    assert issue["body"].startswith("**Look at what fires")
    await _clears(shop, sender)
    assert [each.id for each in await sender.incidents()] == [incident.id]
    assert [each.id for each in await _following(shop, incident)] == [before.id, after.id]
    assert (await shop.alice.issue(incident.issue or 0))["state"] == "closed"
    await shop.told(incident.issue or 0, FOLLOWED_ANEW, times=1)


async def test_an_alert_that_clears_while_nobody_follows_it_is_resolved_all_the_same(
    shop: Shop, sender: Sender, incident: Incident
) -> None:
    run = await _waits(shop, incident)
    await end_by_update(shop, run, at=Step.READ_ALERTS)
    await _clears(shop, sender)
    assert [each.id for each in await sender.incidents()] == [incident.id]
    await shop.told(incident.issue or 0, FOLLOWED_ANEW, times=1)


@pytest.mark.thorough
async def test_a_run_that_goes_on_for_another_may_be_ended_by_an_update_too(
    shop: Shop, sender: Sender, incident: Incident
) -> None:
    await _ended_by_update(shop, incident)
    await end_by_update(shop, await _waits(shop, incident, attempt=2), at=Step.READ_ALERTS)
    await shop.told(incident.issue or 0, FOLLOWED_ANEW, times=2)
    await _waits(shop, incident, attempt=3)
    await _clears(shop, sender)


@pytest.mark.thorough
async def test_retry_where_alerts_are_followed_says_that_there_is_nothing_to_retry(
    shop: Shop, sender: Sender, incident: Incident
) -> None:
    await _ended_by_update(shop, incident)
    answer = await shop.says(incident.issue or 0, "/retry")
    assert await answer.reaction() == "confused"
    await shop.told(incident.issue or 0, "nothing to retry here: I follow these alerts", times=1)
    assert len(await _following(shop, incident)) == 2
    answer = await shop.says(incident.issue or 0, "/cancel")
    assert await answer.reaction() == "+1"
    await sender.incident("declined")
    await shop.alone()


@pytest.mark.thorough
async def test_what_followed_from_an_alert_is_neither_judged_nor_paused_nor_asked_anew(
    shop: Shop, sender: Sender
) -> None:
    config = "checks: {smoke: [smoke], evals: [evals]}\n"
    shop.verdicts["evals"] = "success"
    await shop.alice.push("main", {".github/playbooks.yml": config}, "Configure")
    culprit = await shop.bob.open_pull_request(
        "Cheaper prompts", {"shop.py": BAD}, branch=f"agent-{shop.repository.name}"
    )
    await shop.alice.label(culprit, "self-work")
    await shop.bob.merge(culprit)
    await sender.cloudevent("slo.breach", summary="it is slow", pull_request=culprit)
    await shop.merged_hotfix()
    incident = await sender.incident("active")
    assert await self_work_pause(shop) is not None
    answer = await shop.says(incident.issue or 0, "/unpause self-work")
    assert await answer.reaction() == "+1"
    await _ended_by_update(shop, incident)
    assert await self_work_pause(shop) is None
    issue = await shop.alice.issue(incident.issue or 0)
    assert f"I asked for a revert of #{culprit}" in issue["body"]
    await sender.cloudevent("slo.breach", 2, summary="it is well", status="resolved")
    await sender.incident("resolved")
    await shop.alone()
    assert await _asked(shop, "revert") == 1


@pytest.mark.thorough
async def test_a_bisect_is_asked_for_once_however_often_the_bot_is_updated(
    shop: Shop, sender: Sender
) -> None:
    await shop.merged("One", {"one.txt": "1\n"})
    await shop.merged("Two", {"two.txt": "2\n"})
    await shop.report("failure", "smoke", branch="main")
    await sender.just_now("slo.breach", summary="errors", severity="high")
    incident = await sender.incident("active")
    await _ended_by_update(shop, incident)
    await shop.alone()
    assert await _asked(shop, "bisect") == 1


@pytest.mark.thorough
async def test_retry_begins_a_revert_that_failed_although_its_alert_is_followed(
    shop: Shop, sender: Sender
) -> None:
    culprit = await shop.broken()
    await sender.alertmanager("g", alert("A", pull_request=str(culprit)))
    incident = await sender.incident("active")
    await _waits(shop, incident)
    await shop.standing(incident.issue or 0, "`/approve`")
    [revert] = await sender.incidents("revert")

    async def waiting() -> StoredRun | None:
        async with shop.bot.read_only.connect() as conn:
            [run] = await runs.of_incident(conn, revert.id)
        return run if run.watch_pull_request else None

    run = await shop.eventually(waiting)
    await end_by_update(shop, run, at=Step.READ_PULL_REQUEST)
    await shop.told(incident.issue or 0, "I was updated while this was under way", times=1)
    await shop.says(incident.issue or 0, "/retry")

    async def begun() -> bool:
        async with shop.bot.read_only.connect() as conn:
            return len(await runs.of_incident(conn, revert.id)) == 2

    await shop.eventually(begun)
    assert len(await _following(shop, incident)) == 1
    await shop.alone()


async def test_alerts_that_were_over_already_are_left_at_that_and_their_issue_is_closed(
    shop: Shop, sender: Sender, incident: Incident
) -> None:
    run = await _waits(shop, incident)
    number = incident.issue or 0
    with shop.holding_back(f"{shop.name}/git/refs/heads/playbooks/records", method="PATCH") as kept:
        await sender.alertmanager("g", alert("A", "resolved"))
        await sender.incident("resolved")
        await shop.eventually(kept)
        await end_by_update(shop, run, at=Step.READ_ALERTS)
    await shop.told(number, "It is over: you need do nothing", times=1)
    await shop.alone()
    issue = await shop.alice.issue(number)
    assert issue["state"] == "closed"
    assert issue["body"].startswith("**Done: ")
    assert len(await _following(shop, incident)) == 1
    assert (await sender.incident("resolved")).id == incident.id


@pytest.mark.thorough
async def test_alerts_that_somebody_gave_up_are_not_followed_again_until_retry(
    shop: Shop, sender: Sender, incident: Incident
) -> None:
    run = await _waits(shop, incident)
    await park(shop, run, at=Step.READ_ALERTS)
    answer = await shop.says(incident.issue or 0, "/retry")
    assert await answer.reaction() == "confused"
    await shop.told(incident.issue or 0, "begun by a newer version of this bot", times=1)
    answer = await shop.says(incident.issue or 0, "/cancel")
    assert await answer.reaction() == "+1"
    await shop.told(incident.issue or 0, "Comment `/retry`", times=1)
    async with shop.bot.read_only.connect() as conn:
        group = await alerts.find(conn, run.trigger["request"]["group"])  # type: ignore[index,call-overload,arg-type]
    assert group is not None
    assert not group.followed
    assert len(await _following(shop, incident)) == 1
    await shop.says(incident.issue or 0, "/retry")
    await _waits(shop, incident, attempt=2)
    await _clears(shop, sender)
    assert len(await _following(shop, incident)) == 2
