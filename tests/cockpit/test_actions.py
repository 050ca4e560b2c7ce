"""What people do in the cockpit happens as if they had commented it, without JavaScript too."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from bot.cockpit import preview_planner
from bot.cockpit.actions import MOST_WITHOUT_RIGHT
from bot.triggers import Severity
from fakegithub.faults.request_faults import Fail
from fakegithub.server import DemoGitHub
from tests.cockpit.asking import answered, start
from tests.cockpit.conftest import Arrives, known_to_bot
from tests.cockpit.house import House
from tests.cockpit.visitor import Page
from tests.playbooks.bisect.bisecting import history
from tests.safety.test_founder import MIGRATION, shop_with_a_founder
from tests.security.test_late_words import said_long_ago
from tests.shop import Shop


@pytest.mark.thorough
async def test_a_revert_shows_its_plan_first_and_then_plays_to_its_end(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    broken = await shop.broken()
    alice = await arrives("alice")

    plan = await start(alice, shop, f"/revert #{broken}", "totals are zero")

    assert plan.title == "Plan"
    assert f"Undo #{broken}, Faster totals (1 commit)" in plan.words
    assert "It applies cleanly" in plan.words
    assert "Publish the hotfix Can be undone: its branch is deleted" in plan.words
    assert "All of it can be taken back or made good." in plan.words
    assert "Nothing has been done yet" in plan.words
    assert await shop.last_run() is None

    page = await alice.press(plan, "/revert")

    assert await answered(alice, shop, page) == "Done."
    hotfix = await shop.merged_hotfix()
    assert "totals are zero" in (await shop.report_of(hotfix))["reason"]
    run = await shop.last_run()
    assert run is not None
    assert (run.actor, run.trigger["source"]["kind"]) == ("alice", "cockpit")
    now = await alice.get(f"/ui/incidents?repo={shop.name}")
    assert "resolved" in now.words
    incident = re.search(r'href="(/ui/incidents/[0-9a-z]{26})"', now.text)
    assert incident
    page = await alice.get(incident[1])
    assert re.search(r"publish the hotfix .{4,40} Can be undone ?: its branch", page.words)
    assert re.search(r"merge the pull request .{4,40}Can be made good", page.words)


@pytest.mark.thorough
async def test_the_same_form_sent_twice_is_one_request(arrives: Arrives, shop: Shop) -> None:
    await known_to_bot(shop.bot, shop)
    broken = await shop.broken()
    alice = await arrives("alice")
    plan = await start(alice, shop, f"/revert #{broken}")
    form = plan.form("/revert")
    first = await alice.post("/ui/act", form)
    second = await alice.post("/ui/act", form)
    assert first.url == second.url
    await shop.merged_hotfix()
    assert len(await shop.hotfixes()) == 1


async def test_one_form_with_two_commands_is_two_requests_and_one_unheard_of_is_none(
    arrives: Arrives, shop: Shop, house: House
) -> None:
    incident, run = await house.incident("Logins fail", severity=Severity.HIGH)
    alice = await arrives("alice")
    address = f"/ui/incidents/{incident.id}"
    for unknown in ("nonsense", "%F0%9F%92%A9", "0" * 26, run.id[:-1]):
        page = await alice.get(f"{address}?request={unknown}")
        assert "Your request" not in page.words, unknown
    form = next(each for each in page.forms() if each["action"] == "/ui/act" and "line" not in each)
    for level in ("critical", "low"):
        page = await alice.post("/ui/act", form | {"line": f"/severity {level}"})
        assert await answered(alice, shop, page) == "Done."
    assert "● low" in (await alice.get(address)).words.partition("opened by")[0]


async def test_what_follows_a_form_leads_back_to_the_page_it_stood_on(
    arrives: Arrives, shop: Shop, house: House
) -> None:
    del house
    alice = await arrives("alice")
    back = f"/ui/start?repo={shop.name}"
    for line, title in (("/pause self-work because x", "Plan"), ("/revrt #1", "Start a playbook")):
        page = await start(alice, shop, line)
        assert page.title == title
        assert "data-events" not in page.text
        ways = {each["back"] for each in page.forms() if "back" in each}
        assert ways <= {back, "/ui/"}, ways
        colours = next(each for each in page.forms() if each["action"] == "/ui/theme")
        assert (await alice.post("/ui/theme", colours)).title == "Start a playbook"
    nobody = await arrives("")
    refused = await nobody.post("/ui/act", {"line": "/status"})
    assert (refused.status, 'href="/ui/login"' in refused.text) == (401, True)


async def test_a_plan_that_comes_to_nothing_says_why_and_offers_no_start(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    number = await shop.bob.open_pull_request("Not merged", {"a.txt": "a"}, branch="not-merged")
    alice = await arrives("alice")
    plan = await start(alice, shop, f"/revert #{number}")
    assert "Nothing would be done" in plan.words
    assert "not merged" in plan.words
    assert "Start it" not in plan.words


@pytest.mark.thorough
async def test_a_plan_is_not_waited_for_while_github_does_not_answer(
    arrives: Arrives, github: DemoGitHub, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_planner, "SOON_S", 0.2)
    await known_to_bot(shop.bot, shop)
    alice = await arrives("alice")
    github.faults.add(Fail(502), path="/pulls/7", times=None)
    async with asyncio.timeout(6):
        plan = await start(alice, shop, "/revert #7")
    assert "The plan takes long to work out" in plan.words
    assert plan.form("/revert")["line"] == "/revert #7"


async def test_a_plan_says_that_a_founder_is_asked_before_what_cannot_be_undone(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    broken = await shop_with_a_founder(shop)
    plan = await start(await arrives("alice"), shop, f"/revert #{broken}")
    assert f"It changes {MIGRATION} , which another revert cannot restore" in plan.words
    assert "Merge the pull request, once a Founder has approved it Cannot be undone" in plan.words
    assert "Not all of it can be undone, so a Founder is asked first." in plan.words


async def test_the_plan_of_a_bisect_says_which_number_it_goes_by(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    past = await history(shop, 3, 2)
    await past.says_ci_on_the_end("success")
    line = f"/bisect {past.commits[0]}..main numeric latency:higher"
    alice = await arrives("alice")
    plan = await start(alice, shop, line)
    assert "by the number latency of the trials, where higher is worse." in plan.words
    plan = await start(alice, shop, f"{line} check smoke")
    assert "by the number latency of smoke , where higher is worse." in plan.words


@pytest.mark.thorough
async def test_pausing_shows_what_it_holds_and_how_it_ends(arrives: Arrives, shop: Shop) -> None:
    await known_to_bot(shop.bot, shop)
    alice = await arrives("alice")
    unknown = await start(alice, shop, "/pause warehouse", "it smells")
    assert "There is no capability warehouse here." in unknown.words
    assert "Start it" not in unknown.words

    plan = await start(alice, shop, "/pause self-work", "the evals are red")
    assert "self-work gate fails on every open pull request of self-work" in plan.words
    assert "Can be undone: /unpause self-work" in plan.words
    assert await answered(alice, shop, await alice.press(plan, "/pause")) == (
        "Done. self-work is paused: the evals are red self-work gate now fails on every pull "
        "request of self-work; others and hotfixes pass. To let it go on: /unpause self-work "
        "because … ."
    )
    again = await start(alice, shop, "/pause self-work", "still red")
    assert "self-work is paused already: the evals are red (by alice)" in again.words

    plan = await start(alice, shop, "/unpause", "green again")
    assert "It is held: the evals are red (by alice)" in plan.words
    await answered(alice, shop, await alice.press(plan, "/unpause"))
    assert "Nothing is paused here." in (await start(alice, shop, "/unpause")).words


async def test_a_command_that_cannot_be_read_is_answered_by_what_is_allowed(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    alice = await arrives("alice")
    for line, said in (
        ("/bisect nonsense", "is not a range"),
        ("/revert <script>alert(1)</script>", "Nothing was done"),
        ("please", "That is not a command"),
        ("/revert " + "1" * 2000, "too long"),
    ):
        page = await start(alice, shop, line)
        assert page.status == 400
        assert said in page.words
        assert "<script>alert" not in page.text
    assert await shop.last_run() is None


async def test_somebody_who_may_only_read_is_refused_as_in_a_comment(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    broken = await shop.broken()
    mallory = await arrives("mallory")
    plan = await start(mallory, shop, f"/revert #{broken}")
    assert "You may look at this plan, not start it: that needs write access" in plan.words
    assert "and you have read." in plan.words
    assert re.search(r"<button [^>]*disabled[^>]*>Start it<", plan.text)
    page = await mallory.press(plan, "/revert")
    said = await answered(mallory, shop, page)
    assert said.startswith("It was not done.")
    assert "needs write access" in said
    assert await shop.hotfixes() == []


@pytest.mark.thorough
@pytest.mark.parametrize("address", ["/ui/act", "/ui/plan"])
async def test_who_may_only_read_is_told_so_a_few_times_and_no_more_is_kept(
    arrives: Arrives, shop: Shop, address: str
) -> None:
    await known_to_bot(shop.bot, shop)
    mallory = await arrives("mallory")
    csrf = (await mallory.get("/ui/")).forms()[-1]["csrf"]
    form = {"csrf": csrf, "repo": shop.name, "line": "/pause because I say so", "back": "/ui/"}
    pages = [
        await mallory.post(address, {**form, "once": str(n)}) for n in range(MOST_WITHOUT_RIGHT + 2)
    ]
    assert [page.status for page in pages] == [200] * MOST_WITHOUT_RIGHT + [429] * 2
    assert "try again in an hour" in pages[-1].words


async def test_what_waits_for_a_person_is_approved_on_its_page(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    # A check that counts is red since long before the incident: a person has to decide.
    config = "checks:\n  smoke: [smoke, links]\n"
    shop.verdicts["links"] = "failure"
    await shop.merged("Configure checks", {".github/playbooks.yml": config})
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    alice = await arrives("alice")

    async def asked() -> Page | None:
        now = await alice.get(f"/ui/?repo={shop.name}")
        return now if "already red before the incident" in now.words else None

    page: Page = await shop.eventually(asked)
    assert "Needs you" in page.words
    incident = re.search(r'href="(/ui/incidents/[0-9a-z]{26})"', page.text)
    assert incident
    page = await alice.get(incident[1])

    page = await alice.press(page, "/approve")

    assert await answered(alice, shop, page) == "Done."
    await shop.merged_hotfix()
    page = await alice.get(incident[1])
    assert "the approval was given" in page.words


@pytest.mark.thorough
async def test_a_comment_that_was_on_its_way_when_a_button_was_pressed_does_not_mean_it(
    arrives: Arrives, github: DemoGitHub, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    alice = await arrives("alice")
    plan = await start(alice, shop, "/pause self-work because evals fell")

    async def pressed() -> None:
        page = await alice.press(plan, "/pause")
        assert (await answered(alice, shop, page)).startswith("Done.")

    number, word = await shop.broken(), "/unpause because all is well"
    minute = timedelta(minutes=1)
    said = await said_long_ago(github, shop, number, word, pressed, ago=minute)
    assert await said.reaction() == "confused"
    assert "Self-work: paused" in (await alice.get("/ui/")).words


@pytest.mark.thorough
@pytest.mark.parametrize("has_issues", [True, False])
async def test_a_run_is_cancelled_with_a_reason_and_its_severity_changed(
    arrives: Arrives, shop: Shop, *, has_issues: bool
) -> None:
    await known_to_bot(shop.bot, shop)
    shop.repository.has_issues = has_issues
    broken = await shop.broken()
    shop.verdicts = {}
    await shop.says(broken, "/revert")
    await shop.eventually(shop.hotfixes)
    alice = await arrives("alice")
    page = await alice.get(f"/ui/incidents?repo={shop.name}")
    incident = re.search(r'href="(/ui/incidents/[0-9a-z]{26})"', page.text)
    assert incident
    page = await alice.get(incident[1])
    form = next(each for each in page.forms() if "because" in page.text and "csrf" in each)
    severity = {k: form[k] for k in ("csrf", "back")} | {
        "once": "s", "line": "/severity critical", "incident": incident[1].rpartition("/")[2],
    }  # fmt: skip
    page = await alice.post("/ui/act", severity)
    assert await answered(alice, shop, page) == "Done."
    page = await alice.get(incident[1])
    assert "critical" in page.words.partition("opened by")[0]

    page = await alice.press(page, "/cancel", because="we fix forward")

    assert await answered(alice, shop, page) == "Done."

    async def ended() -> bool:
        return "declined" in (await alice.get(incident[1])).words

    await shop.eventually(ended)


@pytest.mark.thorough
async def test_a_yes_is_to_the_commit_that_the_page_showed_and_to_no_other(
    arrives: Arrives, shop: Shop
) -> None:
    await known_to_bot(shop.bot, shop)
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    branch = (await shop.hotfix())["head"]["ref"]
    shop.verdicts["smoke"] = "success"
    first = await shop.bob.push(branch, {"more.py": "x\n"}, "More")
    await shop.standing(broken, f"/approve {first[:12]}")
    alice = await arrives("alice")
    now = await alice.get(f"/ui/?repo={shop.name}")
    incident = re.search(r'href="(/ui/incidents/[0-9a-z]{26})"', now.text)
    assert incident
    old = await alice.get(incident[1])
    assert "I did not make this commit" in old.words
    assert old.form("/approve")["line"] == f"/approve {first[:12]}"

    second = await shop.bob.push(branch, {"more.py": "y\n"}, "Still more")
    await shop.standing(broken, f"/approve {second[:12]}")
    page = await alice.press(old, "/approve")
    assert await answered(alice, shop, page) != "Done."
    assert not (await shop.hotfix())["merged_at"]

    page = await alice.get(incident[1])
    assert page.form("/approve")["line"] == f"/approve {second[:12]}"
    page = await alice.press(page, "/approve")
    assert await answered(alice, shop, page) == "Done."
    assert (await shop.merged_hotfix())["head"]["sha"] == second
