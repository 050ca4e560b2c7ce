"""The words people and programs say about a revert, wherever they say them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import uuid
from typing import Any

import aiohttp
import pytest

from bot.records import incidents
from bot.records.audit import chain
from fakegithub.changes import checks
from tests.shop import API_TOKEN, BAD, GOOD, SECRET, Clock, Shop


async def test_the_label_does_the_same_as_the_command(shop: Shop) -> None:
    broken = await shop.broken()
    await shop.alice.label(broken, "playbook:revert")
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD
    assert (await shop.final_word(broken)).startswith("@alice Done: ")
    # On an issue that is no incident's it means as little as the command, and is told so.
    issue = await shop.alice.open_issue("Totals are zero")
    await shop.alice.label(issue, "playbook:revert")
    await shop.told(issue, "is an issue, not a pull request", times=1)


@pytest.mark.thorough
async def test_a_commit_is_reverted_by_its_sha_from_any_issue(shop: Shop) -> None:
    sha = await shop.alice.push("main", {"shop.py": BAD}, "Straight to main")
    issue = await shop.alice.open_issue("Totals are zero")
    answer = await shop.says(issue, f"/revert {sha[:10]} because totals are zero")
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    hotfix = await shop.hotfix()
    assert hotfix["title"] == f'Revert {sha[:7]} "Straight to main"'


@pytest.mark.thorough
async def test_the_sha_of_a_merge_stands_for_its_pull_request(shop: Shop) -> None:
    broken = await shop.broken()
    merge = (await shop.alice.pull_request(broken))["merge_commit_sha"]
    issue = await shop.alice.open_issue("Totals are zero")
    assert await (await shop.says(issue, f"/revert {merge}")).reaction() == "+1"
    assert (await shop.hotfix())["title"] == f'Revert #{broken} "Faster totals"'


@pytest.mark.thorough
async def test_a_command_in_a_review_comment_works(shop: Shop) -> None:
    broken = await shop.broken()
    head = (await shop.alice.pull_request(broken))["head"]["sha"]
    comment = await shop.alice.post(
        f"pulls/{broken}/comments", body="/revert", commit_id=head, path="shop.py", line=1
    )
    await shop.merged_hotfix()
    await shop.final_word(broken)
    given = await shop.alice.get(f"pulls/comments/{comment['id']}/reactions")
    assert {"eyes", "+1"} <= {each["content"] for each in given}


@pytest.mark.thorough
async def test_a_command_in_a_review_works_and_the_pull_request_shows_it_was_seen(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    await shop.alice.review(broken, "COMMENT", "/revert because totals are zero")
    await shop.merged_hotfix()
    given = await shop.alice.get(f"issues/{broken}/reactions")
    assert "eyes" in {each["content"] for each in given}


async def _post(shop: Shop, clock: Clock, body: dict[str, Any]) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{shop.bot.port}/incidents/revert"
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    asked = {"repository": shop.name, **body}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.post(url, json=asked) as answer:
                if answer.status != 404:
                    return answer.status, await answer.json()
            # Where it is installed the bot asks at most once a minute.
            clock.forward(minutes=2)


async def test_a_program_asks_over_http_and_finds_the_artifact_where_it_was_told(
    shop: Shop, clock: Clock
) -> None:
    broken = await shop.broken()
    status, answer = await _post(shop, clock, {"pull_request": broken, "reason": "SLO breach"})
    assert status == 202
    incident = answer["incident"]
    path = f"apps/orchestrator/orchestrator/incidents/revert-{incident}.json"
    assert answer["artifact"] == {"path": path, "ref": "playbooks/records"}
    await shop.standing(broken, "evals are not configured")
    pending = json.loads(await shop.alice.file(path, (await shop.hotfix())["head"]["ref"]) or "")
    assert (pending["reason"], pending["outcome"]) == ("SLO breach", "pending")
    await (await shop.says(broken, "/approve")).reaction()
    await shop.merged_hotfix()
    text = await shop.eventually(lambda: shop.alice.file(path, answer["artifact"]["ref"]))
    report = json.loads(text)
    assert text == json.dumps(report, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert (report["reason"], report["outcome"]) == ("SLO breach", "confirmed")


@pytest.mark.thorough
async def test_a_program_needs_a_persons_yes_where_there_are_no_evals(
    shop: Shop, clock: Clock
) -> None:
    broken = await shop.broken()
    await _post(shop, clock, {"pull_request": broken, "reason": "SLO breach"})
    await shop.standing(broken, "evals are not configured")
    assert not (await shop.hotfix())["merged_at"]
    await shop.says(broken, "/approve")
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_program_needs_nobody_where_evals_are_green(shop: Shop, clock: Clock) -> None:
    config = "checks:\n  smoke: [smoke]\n  evals: [quality]\n"
    shop.verdicts["quality"] = "success"
    await shop.merged("Configure checks", {".github/playbooks.yml": config})
    broken = await shop.broken()
    await _post(shop, clock, {"pull_request": broken, "reason": "eval drop", "severity": "high"})
    await shop.merged_hotfix()
    [issue] = await shop.incidents()
    assert "severity:high" in {label["name"] for label in issue["labels"]}


async def test_the_command_twice_at_once_is_one_incident(shop: Shop) -> None:
    broken = await shop.broken()
    first, second = await asyncio.gather(
        shop.says(broken, "/revert"), shop.says(broken, "/revert", shop.bob)
    )
    await asyncio.gather(first.reaction(), second.reaction())
    await shop.merged_hotfix()
    assert len(await shop.incidents()) == 1
    assert len(await shop.hotfixes()) == 1
    joined = [said for said in await shop.from_bot(broken) if "already being reverted" in said]
    assert len(joined) == 1


@pytest.mark.thorough
async def test_one_delivery_sent_twenty_times_at_once_is_one_incident(shop: Shop) -> None:
    broken = await shop.broken()
    app = next(a for a in shop.github.world.apps.values() if a.slug == "playbooks")
    hook, app.webhook_url = app.webhook_url, None
    comment = await shop.alice.comment(broken, "/revert")
    app.webhook_url = hook
    payload = {
        "action": "created",
        "comment": comment,
        "issue": await shop.alice.issue(broken),
        "repository": await shop.alice.get(""),
        "sender": comment["user"],
        "installation": {"id": next(iter(_installations(shop, app.id)))},
    }
    await asyncio.gather(*[_deliver(shop, payload, "the-same-guid") for _ in range(20)])
    await shop.merged_hotfix()
    await shop.final_word(broken)
    assert len(await shop.incidents()) == 1
    assert len(await shop.hotfixes()) == 1
    assert len(await shop.mentions(broken)) == 1


def _installations(shop: Shop, app: int) -> list[int]:
    return [each.id for each in shop.github.world.installations.values() if each.app.id == app]


async def _deliver(shop: Shop, payload: dict[str, Any], guid: str) -> None:
    body = json.dumps(payload).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "issue_comment",
        "X-GitHub-Delivery": guid or str(uuid.uuid4()),
        "X-Hub-Signature-256": f"sha256={signature}",
    }
    url = f"http://127.0.0.1:{shop.bot.port}/webhooks/github"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers=headers) as answer,
    ):
        assert answer.status == 202


@pytest.mark.thorough
async def test_a_legitimate_second_revert_works_later(shop: Shop) -> None:
    broken = await shop.broken()
    await (await shop.says(broken, "/revert")).reaction()
    await shop.alice.push("main", {"shop.py": BAD}, "Land it again")
    assert await (await shop.says(broken, "/revert because it broke again")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert len(await shop.incidents()) == 2
    assert len(await shop.hotfixes()) == 2


@pytest.mark.thorough
async def test_status_says_the_next_thing_first(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    answer = await shop.says(broken, "/status", shop.mallory)
    assert await answer.reaction() == "+1"
    said = (await shop.from_bot(broken))[-1]
    assert said.startswith("- In progress: I am waiting for `smoke`.")
    assert "is **verifying**" in said


async def test_status_where_nothing_runs_says_what_could_be_done(shop: Shop) -> None:
    broken = await shop.broken()
    await (await shop.says(broken, "/status")).reaction()
    [said] = await shop.from_bot(broken)
    assert said.startswith("Nothing is running here")
    assert "`/revert`" in said


async def test_help_lists_the_commands_to_anyone(shop: Shop) -> None:
    issue = await shop.alice.open_issue("How does this work?")
    assert await (await shop.says(issue, "/help", shop.mallory)).reaction() == "+1"
    [said] = await shop.from_bot(issue)
    assert "/revert [#PR" in said


async def test_a_typo_gets_a_suggestion_and_does_nothing(shop: Shop) -> None:
    broken = await shop.broken()
    assert await (await shop.says(broken, "/rever")).reaction() == "confused"
    [said] = await shop.from_bot(broken)
    assert "Did you mean `/revert`?" in said
    assert not await shop.incidents()


@pytest.mark.thorough
async def test_severity_changes_the_label_and_the_report(shop: Shop) -> None:
    # GitHub knows labels in any case, and keeps the one that was there first.
    await shop.alice.post("labels", name="Severity:Medium", color="ffffff")
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    assert await (await shop.says(broken, "/severity critical")).reaction() == "+1"
    [issue] = await shop.incidents()
    assert {each["name"] for each in issue["labels"]} == {"incident", "severity:critical"}
    hotfix = await shop.hotfix()
    await shop.report("success", branch=hotfix["head"]["ref"])
    assert "Severity: critical" in await shop.final_word(broken)


@pytest.mark.thorough
async def test_severity_of_all_that_is_under_way_in_one_place_is_in_each_ones_audit(
    shop: Shop,
) -> None:
    numbers = [await shop.merged(f"{n}", {f"{n}.py": "1\n"}) for n in range(2)]
    place = await shop.alice.open_issue("Both are broken", "I think.")
    shop.verdicts.clear()
    for number in numbers:
        await shop.says(place, f"/revert #{number}")

    async def both() -> bool:
        return len(await shop.hotfixes()) == 2

    await shop.eventually(both)
    assert await (await shop.says(place, "/severity critical")).reaction() == "+1"
    async with shop.bot.read_only.connect() as conn:
        known = await incidents.list_open(conn, shop.repository.id)
        told = [await chain.of_incident(conn, each.id) for each in known]
    assert [each.severity for each in known] == ["critical", "critical"]
    assert all("incident.severity" in [entry.action for entry in each] for each in told)


async def test_cancel_closes_the_hotfix_deletes_its_branch_and_says_so(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    assert await (await shop.says(hotfix["number"], "/cancel", shop.bob)).reaction() == "+1"
    last = await shop.final_word(broken)
    assert "`bob` cancelled this revert, and `main` is as it was." in last
    assert (await shop.hotfix())["state"] == "closed"
    status, _, _ = await shop.alice.request("GET", f"git/ref/heads/{hotfix['head']['ref']}")
    assert status == 404
    [issue] = await shop.incidents()
    assert issue["state"] == "closed"
    assert issue["state_reason"] == "not_planned"
    assert "cancelled this revert" in issue["body"]


async def test_cancel_before_there_is_a_hotfix_opens_none(shop: Shop) -> None:
    broken = await shop.broken()
    with shop.holding_back(r"/issues$", method="POST") as opens:
        await shop.says(broken, "/revert")
        await shop.eventually(opens)
        assert await (await shop.says(broken, "/cancel")).reaction() == "+1"
    last = await shop.final_word(broken)
    assert "cancelled this revert" in last
    assert "No hotfix was opened." in last
    assert not await shop.hotfixes()


async def test_cancel_where_nothing_runs_says_so(shop: Shop) -> None:
    broken = await shop.broken()
    assert await (await shop.says(broken, "/playbooks cancel")).reaction() == "confused"
    [said] = await shop.from_bot(broken)
    assert said.startswith("@alice There is nothing to cancel here.")


@pytest.mark.thorough
async def test_retry_waits_once_more_for_checks_that_did_not_report(
    shop: Shop, clock: Clock
) -> None:
    broken = await shop.broken()
    shop.verdicts["smoke"] = "pending"
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `smoke`")
    clock.forward(hours=2)
    await shop.standing(broken, "I have stopped waiting for it")
    assert await (await shop.says(broken, "/retry")).reaction() == "+1"
    await shop.standing(broken, "I am waiting for `smoke`")
    clock.forward(hours=2)
    _, again = await shop.told(broken, "I have stopped waiting for it", times=2)
    # One mention is enough until the end: whoever commented hears of this all the same.
    assert again.startswith("`alice`: ")
    # "I will go on by myself when the result arrives."
    await shop.report("success", branch=(await shop.hotfix())["head"]["ref"])
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD


@pytest.mark.thorough
async def test_a_button_on_the_check_does_the_same_as_the_command(shop: Shop) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `smoke`")
    hotfix = await shop.hotfix()

    async def check() -> Any:
        found = await shop.alice.get(f"commits/{hotfix['head']['sha']}/check-runs")
        return next((run for run in found["check_runs"] if run["name"] == "hotfix"), None)

    run = await shop.eventually(check)
    repository, user = shop.repository, shop.github.world.users["bob"]
    checks.press(shop.github.world, repository, repository.check_runs[run["id"]], "cancel", user)
    assert "`bob` cancelled this revert" in await shop.final_word(broken)
