"""Alerts fire and clear: incidents, what follows from them, and their ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import aiohttp
import pytest

from bot.records import notifications
from bot.records.lifecycle import RunState
from demo.person import Person
from fakegithub.access.credentials import issue_token
from tests.playbooks.alerts.alerting import Sender, alert, event, grafana, payload
from tests.playbooks.autorevert.judging import flags_committed, self_work_pause
from tests.shop import BAD, Clock, Shop

CONFIG = "checks: {smoke: [smoke], evals: [evals]}\n"


@pytest.fixture
async def sender(shop: Shop) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession() as session:
        yield Sender(shop, session)


async def _self_work(shop: Shop) -> int:
    shop.verdicts["evals"] = "success"
    await shop.alice.push("main", {".github/playbooks.yml": CONFIG}, "Configure")
    number = await shop.bob.open_pull_request(
        "Cheaper prompts", {"shop.py": BAD}, branch=f"agent-{shop.repository.name}"
    )
    await shop.alice.label(number, "self-work")
    await shop.bob.merge(number)
    return number


async def test_a_group_of_alerts_is_one_incident_until_every_condition_has_cleared(
    shop: Shop, sender: Sender
) -> None:
    await sender.alertmanager("g", alert("A"), alert("B"))
    incident = await sender.incident("active")
    issue = await shop.alice.issue(incident.issue or 0)
    assert issue["title"] == "Incident: A is bad"
    assert "severity:critical" in [label["name"] for label in issue["labels"]]
    await sender.alertmanager("g", alert("A"), alert("B"))
    await sender.alertmanager("g", alert("A", "resolved"), alert("B"))
    assert (await sender.incident("active")).id == incident.id
    await sender.alertmanager("g", alert("A", "resolved"), alert("B", "resolved"))
    ended = await sender.incident("resolved")
    await shop.alone()
    assert [each.id for each in await sender.incidents()] == [incident.id]
    assert ended.alert_count == 8
    assert (await shop.alice.issue(incident.issue or 0))["state"] == "closed"
    adr = await shop.alice.file(ended.adr or "", "playbooks/records")
    assert adr is not None
    assert 'outcome: "confirmed"' in adr
    async with shop.bot.read_only.connect() as conn:
        said = {each.audience: each for each in await notifications.of_incident(conn, incident.id)}
    assert said["founder"].reason in (None, "NOTIFY_URLS names no address for the founder")


@pytest.mark.thorough
async def test_an_incident_follows_its_issue_where_another_app_closes_or_opens_it(
    shop: Shop, sender: Sender
) -> None:
    robot = await _robot(shop)
    await sender.alertmanager("g", alert("A", "resolved"))
    issue = (await sender.incident("resolved")).issue or 0
    await shop.alone()
    await robot.patch(f"issues/{issue}", state="open")
    await sender.incident("active")
    await robot.patch(f"issues/{issue}", state="closed")
    await sender.incident("resolved")
    assert await shop.from_bot(issue) == []
    await _but_no_bot_brings_the_end_of_a_pause_nearer(shop, sender, robot, issue)
    await robot.close()


async def _but_no_bot_brings_the_end_of_a_pause_nearer(
    shop: Shop, sender: Sender, robot: Person, issue: int
) -> None:
    """Whoever is held may have written what speaks through it; that is said once, not each time."""
    assert await (await shop.says(issue, "/pause self-work because of it")).reaction() == "+1"
    for _ in range(2):
        await robot.patch(f"issues/{issue}", state="open")
        await sender.incident("active")
        await robot.patch(f"issues/{issue}", state="closed")
        await shop.looked_again()
    await shop.told(issue, "no bot may resolve an incident meanwhile", times=1)
    await shop.alice.patch(f"issues/{issue}", state="open")
    await shop.alice.patch(f"issues/{issue}", state="closed")
    await sender.incident("resolved")


async def _robot(shop: Shop) -> Person:
    """Another App that may write to issues."""
    owner = shop.repository.owner
    app = shop.github.create_app("robot", owner=owner, permissions={"issues": "write"}, events=[])
    installed = shop.github.install(app, owner)
    return Person(shop.github.url, issue_token(shop.github.world, installed, None).token, shop.name)


@pytest.mark.thorough
async def test_what_fires_again_has_an_issue_though_somebody_deleted_its_first_one(
    shop: Shop, sender: Sender
) -> None:
    await sender.alertmanager("g", alert("A"))
    first = await sender.incident("active")
    await shop.bob.open_issue("Another number")
    del shop.repository.issues[first.issue or 0]
    await sender.alertmanager("g", alert("A", "resolved"))
    await sender.incident("resolved")
    await shop.alone()
    await sender.alertmanager("g", alert("A", at=timedelta(minutes=9)))
    [issue] = await shop.eventually(shop.incidents)
    assert issue["number"] != first.issue

    async def known() -> bool:
        return (await sender.incident("active")).issue == issue["number"]

    await shop.eventually(known)


@pytest.mark.thorough
async def test_an_end_that_comes_when_nobody_follows_any_more_ends_its_incident_all_the_same(
    shop: Shop, sender: Sender, clock: Clock
) -> None:
    await sender.just_now("slo.breach", summary="slow")
    incident = await sender.incident("active")
    clock.forward(days=15)

    async def given_up() -> bool:
        run = await shop.last_run()
        return run is not None and run.state is RunState.TIMED_OUT

    await shop.eventually(given_up)
    over = event("slo.breach", 2, repository=shop.name, status="resolved", summary="slow")
    del over["time"]
    await sender.post("/alerts/cloudevents", over, "application/cloudevents+json")
    assert (await sender.incident("resolved")).id == incident.id
    await shop.alone()
    assert (await shop.alice.issue(incident.issue or 0))["state"] == "closed"
    assert len(await sender.incidents()) == 1


@pytest.mark.thorough
async def test_what_a_person_says_of_its_severity_stands_until_the_alerts_get_worse(
    shop: Shop, sender: Sender
) -> None:
    await sender.alertmanager("g", alert("A", severity="high"))
    number = (await sender.incident("active")).issue or 0

    async def says(severity: str) -> None:
        async def shown() -> bool:
            issue = await shop.alice.issue(number)
            labels = [each["name"] for each in issue["labels"]]
            is_labelled = [each for each in labels if "severity" in each] == [
                f"severity:{severity}"
            ]
            return is_labelled and f"\nSeverity: {severity} · " in issue["body"]

        await shop.eventually(shown)

    await says("high")
    assert await (await shop.says(number, "/severity low")).reaction() == "+1"
    await says("low")
    await sender.alertmanager(
        "g", alert("A", "resolved", severity="high"), alert("B", severity="high")
    )
    await shop.looked_again()
    await says("low")
    await sender.alertmanager("g", alert("C"))
    await says("critical")


@pytest.mark.thorough
async def test_what_grafana_says_opens_an_incident_and_resolves_it(
    shop: Shop, sender: Sender
) -> None:
    blind = alert("DatasourceNoData", rulename="Latency")
    answer = await sender.grafana("g", blind)
    assert answer["accepted"] == 0
    assert "could not evaluate its rule" in answer["rejected"][0]["problem"]
    assert await sender.incidents() == []
    answer = await sender.grafana("g", blind, alert("Latency"))
    assert (answer["accepted"], answer["rejected"][0]["index"]) == (1, 0)
    incident = await sender.incident("active")
    issue = await shop.alice.issue(incident.issue or 0)
    assert issue["title"] == "Incident: Latency is bad"
    await sender.grafana("g", alert("Latency", "resolved"))
    await sender.incident("resolved")
    await shop.alone()
    assert len(await sender.incidents()) == 1


@pytest.mark.thorough
async def test_a_recovery_heard_before_its_alert_is_one_incident_that_is_over(
    shop: Shop, sender: Sender
) -> None:
    await sender.alertmanager("g", alert("A", "resolved"))
    await sender.alertmanager("g", alert("A"))
    incident = await sender.incident("resolved")
    await shop.alone()
    assert len(await sender.incidents()) == 1
    async with shop.bot.read_only.connect() as conn:
        said = await notifications.of_incident(conn, incident.id)
    assert {each.reason for each in said} == {"it was over before I heard of it"}


async def test_what_a_sender_left_out_is_not_taken_for_recovered(
    shop: Shop, sender: Sender
) -> None:
    await sender.alertmanager("g", alert("A"))
    await sender.incident("active")
    await sender.alertmanager("g", alert("A", "resolved"), truncated=3)
    incident = await sender.incident("active")
    await shop.eventually(lambda: _says(shop, incident.issue, "left some alerts out"))
    await sender.alertmanager("g", alert("A", "resolved"))
    await sender.incident("resolved")
    await shop.alone()


@pytest.mark.thorough
async def test_where_a_sender_never_names_all_a_person_ends_it(shop: Shop, sender: Sender) -> None:
    # Alertmanager says nothing more of a group once its end was taken.
    await sender.alertmanager("g", alert("A"))
    incident = await sender.incident("active")
    await sender.alertmanager("g", alert("A", "resolved"), truncated=1)
    await shop.eventually(lambda: _says(shop, incident.issue, "comment `/cancel` once all is well"))
    await shop.says(incident.issue or 0, "/cancel")
    await shop.eventually(lambda: _says(shop, incident.issue, "Stopped: `alice` closed this."))
    assert (await sender.incidents())[0].status != "active"


@pytest.mark.thorough
async def test_what_fires_again_soon_is_the_same_incident_and_later_another(
    shop: Shop, sender: Sender
) -> None:
    hour = timedelta(hours=1)
    await sender.alertmanager("g", alert("A"))
    first = await sender.incident("active")
    await sender.alertmanager("g", alert("A", "resolved"))
    await sender.incident("resolved")
    await shop.alone()
    await sender.alertmanager("g", alert("A", at=hour))
    again = await sender.incident("active")
    assert again.id == first.id
    assert (await shop.eventually(lambda: _is_open(shop, first.issue))) is True
    await sender.alertmanager("g", alert("A", "resolved", at=hour))
    await sender.incident("resolved")
    await shop.alone()


@pytest.mark.thorough
async def test_an_alert_that_flaps_does_not_close_its_issue_every_time(
    shop: Shop, sender: Sender
) -> None:
    for time in range(8):
        later = timedelta(hours=time)
        await sender.alertmanager("g", alert("A", at=later))
        incident = await sender.incident("active")
        await shop.looked_again()
        await sender.alertmanager("g", alert("A", "resolved", at=later))
        await asyncio.sleep(0.8)
    events = await shop.alice.get(f"issues/{incident.issue}/events", per_page=100)
    assert 1 <= sum(each["event"] == "closed" for each in events) <= 4
    await sender.incident("resolved")
    await shop.alone()


@pytest.mark.sampled("eval.drop")
@pytest.mark.parametrize("kind", ["slo.breach", "eval.drop", "safety.violation", "budget.overrun"])
async def test_each_trigger_that_names_self_work_ends_in_a_merged_revert(
    shop: Shop, sender: Sender, kind: str
) -> None:
    culprit = await _self_work(shop)
    await sender.cloudevent(kind, summary="the checkout is bad", pull_request=culprit)
    hotfix = await shop.merged_hotfix()
    assert f"#{culprit}" in hotfix["title"]
    pause = await self_work_pause(shop)
    assert pause is not None
    assert (pause.kind == "safety") is (kind == "safety.violation")
    await sender.cloudevent(kind, 2, summary="it is well again", status="resolved")
    await sender.incident("resolved")
    await shop.alone()


@pytest.mark.thorough
async def test_a_persons_change_that_is_named_is_prepared_and_not_merged(
    shop: Shop, sender: Sender
) -> None:
    await shop.alice.push("main", {".github/playbooks.yml": CONFIG}, "Configure")
    shop.verdicts["evals"] = "success"
    culprit = await shop.broken()
    await sender.alertmanager("g", alert("A", pull_request=str(culprit)))
    incident = await sender.incident("active")
    await shop.hotfix()
    await shop.standing(incident.issue or 0, "`/approve`")
    assert await self_work_pause(shop) is None
    await sender.alertmanager("g", alert("A", "resolved", pull_request=str(culprit)))
    await sender.incident("resolved")


@pytest.mark.thorough
async def test_one_yes_is_enough_where_there_are_no_evals_either(
    shop: Shop, sender: Sender
) -> None:
    culprit = await shop.broken()
    await sender.alertmanager("g", alert("A", pull_request=str(culprit)))
    incident = await sender.incident("active")
    await shop.standing(incident.issue or 0, "evals are not configured")
    hotfix = await shop.hotfix()
    await shop.says(hotfix["number"], "/approve")
    await shop.merged_hotfix()
    await shop.alone()
    assert len(await shop.mentions(incident.issue or 0)) == 2, "asked once, and told of the end"


@pytest.mark.thorough
async def test_nothing_named_and_one_merge_makes_a_suspect_whose_revert_waits(
    shop: Shop, sender: Sender
) -> None:
    suspect = await shop.broken()
    await sender.just_now("slo.breach", summary="errors", severity="high")
    incident = await sender.incident("active")
    hotfix = await shop.hotfix()
    assert f"#{suspect}" in hotfix["title"]
    await shop.standing(incident.issue or 0, "`/approve`")
    assert not (await shop.alice.pull_request(hotfix["number"]))["merged"]
    assert await self_work_pause(shop) is None


@pytest.mark.thorough
async def test_our_own_commits_make_no_second_suspect(shop: Shop, sender: Sender) -> None:
    suspect = await shop.broken()
    await flags_committed(shop)
    await sender.just_now("slo.breach", summary="errors", severity="high")
    await sender.incident("active")
    hotfix = await shop.hotfix()
    assert f"#{suspect}" in hotfix["title"]
    await shop.looked_again()
    assert await sender.incidents("bisect") == []


@pytest.mark.thorough
async def test_nothing_named_and_several_merges_are_bisected(shop: Shop, sender: Sender) -> None:
    await shop.merged("One", {"one.txt": "1\n"})
    await shop.merged("Two", {"two.txt": "2\n"})
    await shop.report("failure", "smoke", branch="main")
    await sender.just_now("slo.breach", summary="errors", severity="high")
    incident = await sender.incident("active")
    await shop.eventually(lambda: _says(shop, incident.issue, "asked for a bisect"))

    async def bisecting() -> bool:
        return bool(await sender.incidents("bisect"))

    await shop.eventually(bisecting)
    assert await shop.hotfixes() == []


@pytest.mark.thorough
async def test_a_budget_nobody_spent_pauses_and_asks(shop: Shop, sender: Sender) -> None:
    await shop.broken()
    await sender.just_now("budget.overrun", summary="tokens are used up", share=1.2)
    incident = await sender.incident("active")
    await shop.eventually(
        lambda: _says(shop, incident.issue, "the report does not say what spent it")
    )
    assert await self_work_pause(shop) is not None
    assert await shop.hotfixes() == []


@pytest.mark.thorough
async def test_switching_automatic_action_off_counts_only_with_a_founders_yes(
    shop: Shop, sender: Sender
) -> None:
    culprit = await _self_work(shop)
    sneaky = CONFIG + "triggers: {autonomy: off}\n"
    await shop.alice.push("main", {".github/playbooks.yml": sneaky}, "Leave me alone")
    await sender.cloudevent("eval.drop", summary="worse", pull_request=culprit)
    hotfix = await shop.merged_hotfix()
    assert f"#{culprit}" in hotfix["title"]


@pytest.mark.thorough
async def test_opting_out_holds_for_alerts_too(shop: Shop, sender: Sender) -> None:
    culprit = await _self_work(shop)
    await shop.alice.label(culprit, "playbook:off")
    await sender.cloudevent("eval.drop", summary="worse", pull_request=culprit)
    incident = await sender.incident("active")
    await shop.eventually(lambda: _says(shop, incident.issue, "opted out"))
    assert await shop.hotfixes() == []


@pytest.mark.thorough
async def test_a_person_closes_what_nobody_reports_as_over(shop: Shop, sender: Sender) -> None:
    await sender.alertmanager("g", alert("A"))
    incident = await sender.incident("active")
    await shop.says(incident.issue or 0, "/cancel")
    await sender.incident("declined")
    await shop.alone()
    assert (await shop.alice.issue(incident.issue or 0))["state"] == "closed"
    # Alertmanager says so again and again.
    await sender.alertmanager("g", alert("A"))
    await shop.looked_again()
    assert [each.id for each in await sender.incidents()] == [incident.id]
    await sender.alertmanager("g", alert("A"), alert("B"))
    assert (await sender.incident("active")).id != incident.id


async def test_what_cannot_be_read_is_refused_with_its_field_and_changes_nothing(
    sender: Sender,
) -> None:
    good = payload("g", alert("A"))
    json_, ce = "application/json", "application/cloudevents+json"
    wrong = [
        (good | {"version": "3"}, "/alerts/alertmanager", json_, 400, "version"),
        (good | {"alerts": []}, "/alerts/alertmanager", json_, 400, "alerts"),
        ({**good, "alerts": [{**alert("A"), "startsAt": "noon"}]}, "/alerts/alertmanager", json_,
         400, "startsAt"),
        (payload("g", alert("A", repository="acme/none")), "/alerts/alertmanager", json_, 422,
         "labels.repository"),
        (event("slo.gone"), "/alerts/cloudevents", ce, 400, "type"),
        (event("slo.breach", pull_request=1, commit="a" * 40), "/alerts/cloudevents", ce, 400,
         "at most one"),
        (event("slo.breach", burn_rates={"soon": 1}), "/alerts/cloudevents", ce, 400, "5m"),
        (good, "/alerts/alertmanager", "text/plain", 415, "Content-Type"),
        (good, "/alerts/grafana", json_, 400, "version"),
        (grafana("g", alert("A") | {"fingerprint": "../x"}), "/alerts/grafana", json_, 400,
         "fingerprint"),
        (grafana("g", alert("A") | {"labels": {"a": 1}}), "/alerts/grafana", json_, 400, "labels"),
        (grafana("g", alert("A") | {"startsAt": "0001-01-01T00:00:00+02:00"}), "/alerts/grafana",
         json_, 400, "between the years"),
        (grafana("g", alert("A", repository="acme/none")), "/alerts/grafana", json_, 422,
         "labels.repository"),
    ]  # fmt: skip
    for body, path, kind, status, named in wrong:
        got, answer = await sender.post(path, body, kind)
        assert (got, named in str(answer)) == (status, True), answer
    got, _ = await sender.post("/alerts/alertmanager", good, json_, token="wrong")  # noqa: S106
    assert got == 401
    assert await sender.incidents() == []


async def _says(shop: Shop, number: int | None, words: str) -> bool:
    return words in (await shop.alice.issue(number or 0))["body"]


async def _is_open(shop: Shop, number: int | None) -> bool:
    return bool((await shop.alice.issue(number or 0))["state"] == "open")
