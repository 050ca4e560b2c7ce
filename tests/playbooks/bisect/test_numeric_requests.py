"""A number instead of a failure: how it is asked for on GitHub, and what is planned then."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from bot.config import BisectConfig, Config
from bot.github.models import CheckKind, CheckResult
from bot.playbooks.bisect.messages import incident_title
from bot.playbooks.bisect.plan import BisectPlan, which_reports
from bot.playbooks.plan import Declined
from bot.triggers import BisectRequest
from tests.playbooks.bisect.bisecting import UNHURRIED_TRIAL, History, history
from tests.shop import API_TOKEN, Shop

TRIES = Config(bisect=BisectConfig(workflow="trial.yml"))


def passed(*names: str) -> list[CheckResult]:
    return [
        CheckResult(
            name=each, kind=CheckKind.CHECK_RUN, id=1, status="completed", conclusion="success"
        )
        for each in names
    ]


async def asked(past: History, what: str) -> int:
    """Alice asks on an issue of its own."""
    issue, _ = await past.bisected(f"/bisect {past.commits[0][:12]}..main {what}")
    return issue


async def called(shop: Shop, **body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {API_TOKEN}"}) as session,
        session.post(
            f"http://127.0.0.1:{shop.bot.port}/incidents/bisect",
            json={"repository": shop.name, "bad": "main", **body},
        ) as answer,
    ):
        return answer.status, await answer.json()


async def test_without_a_good_end_there_is_nothing_to_compare_with(shop: Shop) -> None:
    past = await history(shop, 3, 2)
    issue, said = await past.bisected('/bisect ..main numeric "p95 latency":higher')
    assert await said.reaction() == "confused"
    [told] = await shop.told(issue, "no good end is named", times=1)
    assert "Nothing says what `p95 latency` was before it changed" in told
    assert '`/bisect GOOD..main numeric "p95 latency":higher`' in told
    assert await shop.incidents() == []


async def test_ends_the_wrong_way_round_are_turned_with_the_number_in_the_command(
    shop: Shop,
) -> None:
    past = await history(shop, 3, 2)
    issue, _ = await past.bisected(f"/bisect main..{past.commits[1]} numeric latency")
    [told] = await shop.told(issue, "The ends are the wrong way round", times=1)
    assert f"`/bisect {past.commits[1]}..main numeric latency`" in told


async def test_where_nothing_is_tried_the_check_that_carries_the_number_is_asked_for(
    shop: Shop,
) -> None:
    past = await history(shop, 3, 2, trial=None)
    await past.says_ci_on_the_end("success", "bench")
    [told] = await shop.told(await asked(past, "numeric latency"), "nothing tells", times=1)
    assert "name a trial workflow in `.github/playbooks.yml`" in told
    assert "`/bisect GOOD..BAD numeric METRIC check NAME`" in told
    [told] = await shop.told(
        await asked(past, "check bench numeric latency"), "No check named", times=1
    )
    assert "Reported there: `bench`." in told
    assert "`numeric NAME` stands before `check`." in told


async def test_no_check_has_to_fail_and_each_number_is_an_incident_of_its_own(shop: Shop) -> None:
    past = await history(shop, 12, 6, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("success")
    for what in ("numeric latency", "numeric latency:higher", "numeric score:lower check smoke"):
        await asked(past, what)

    async def opened() -> list[Any] | None:
        found = await shop.incidents()
        return found if len(found) == 3 else None

    incidents = await shop.eventually(opened)
    assert sorted(each["title"] for each in incidents) == [
        "Incident: latency changed on main",
        "Incident: latency got higher on main",
        "Incident: score got lower on main",
    ]
    between = f"between [`{past.commits[0][:7]}`]"
    for each in incidents:
        assert between in each["body"]
        assert "and I am looking for the commit that did it." in each["body"]
    again = await asked(past, "numeric latency")
    [said] = await shop.told(again, "already being searched for", times=1)
    assert "This culprit" in said
    await asyncio.gather(*(shop.says(each["number"], "/cancel") for each in incidents))


async def test_the_api_names_the_field_that_is_wrong(shop: Shop) -> None:
    await history(shop, 1, 0)
    for body, field, said in (
        ({"numeric": "latency"}, "numeric", "needs a good end to compare with"),
        ({"numeric": "a:b", "good": "main~1"}, "numeric", "`latency`, `latency:higher`"),
        ({"numeric": "a\u202eb", "good": "main~1"}, "numeric", "visible characters"),
        ({"numeric": "x" * 256, "good": "main~1"}, "numeric", "at most 255 characters"),
        ({"numeric": "latency", "good": "a..b"}, "good", "must be a branch"),
    ):
        status, answer = await called(shop, **body)
        assert status == 400, body
        [wrong] = answer["errors"]
        assert wrong["field"] == field
        assert said in wrong["detail"]
    assert await shop.last_run() is None


async def test_the_api_asks_for_a_number_as_a_comment_does(shop: Shop) -> None:
    await history(shop, 3, 2, trial=None)
    status, answer = await called(shop, good="main~2", numeric="p95 latency:higher")
    assert status == 202, answer

    async def ended() -> Any:
        run = await shop.last_run()
        return run if run is not None and run.reason else None

    run = await shop.eventually(ended)
    assert run.trigger["request"]["numeric"] == "p95 latency:higher"
    assert "nothing tells the number" in run.reason


@pytest.mark.parametrize(
    ("named", "config", "found"),
    [
        ("Bench", TRIES, "bench"),
        ("bench", Config(), "bench"),
        (None, TRIES, None),
    ],
)
def test_which_reports_carry_a_number_does_not_hang_on_what_fails(
    named: str | None, config: Config, found: str | None
) -> None:
    assert which_reports(named, passed("bench", "lint"), config) == found
    failing = [each.model_copy(update={"conclusion": "failure"}) for each in passed("bench", "x")]
    assert which_reports(named, failing, config) == found


def test_a_check_that_did_not_report_carries_no_number() -> None:
    missing = which_reports("perf", passed("bench"), TRIES)
    assert isinstance(missing, Declined)
    assert "Reported there: `bench`." in missing.remedy


def test_titles_say_what_happened_to_which_number() -> None:
    assert incident_title("unit", "main") == "unit fails on main"
    assert incident_title("unit", "main", "latency") == "latency changed on main"
    assert incident_title(None, "main", "score:lower") == "score got lower on main"


def test_what_was_stored_before_there_were_numbers_is_read() -> None:
    request = BisectRequest.model_validate({"command": "bisect", "good": "v1", "check": "unit"})
    assert request.numeric is None
    assert not BisectPlan.model_fields["numeric"].is_required()
