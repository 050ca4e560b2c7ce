"""Spec reports in pull requests of others, as their authors see them."""

from __future__ import annotations

import json

import pytest

from fakegithub.world.model import FakeInstallation
from tests.shop import Shop, forget_served
from tests.spec_reports.test_reading import REPORT, ROW

FILE = "self/spec_report.json"
SPEC = json.dumps(REPORT | {"spec": [ROW | {"check": "smoke"}]})


async def says(shop: Shop, number: int, words: str, *, gone: bool = False) -> str:
    """Wait until the description holds these words (or does not any more); give it."""

    async def look() -> str | None:
        body = str((await shop.alice.pull_request(number))["body"] or "")
        return (body or " ") if (words in body) != gone else None

    return str(await shop.eventually(look))


async def opened(shop: Shop, branch: str, files: dict[str, str | None]) -> int:
    return await shop.bob.open_pull_request("Mend it", files, branch=branch)


async def test_anybodys_spec_report_gets_its_table_and_follows_the_checks(shop: Shop) -> None:
    shop.verdicts = {}
    number = await opened(shop, "mend", {FILE: SPEC})
    await says(shop, number, "0 met, 0 unmet, 1 not known yet.")
    await shop.report("failure", branch="mend")
    await says(shop, number, "0 met, 1 unmet, 0 not known yet.")
    await shop.report("success", branch="mend")
    body = await says(shop, number, "1 met, 0 unmet, 0 not known yet.")
    assert "| R1 | unit passes | success |" in body
    assert "**Done: every requirement below is met.**" in body


async def test_the_authors_words_stay_and_the_section_goes_with_the_file(shop: Shop) -> None:
    number = await opened(shop, "mend", {FILE: SPEC, "other.txt": "x\n"})
    await says(shop, number, "1 met")
    await shop.bob.patch(f"pulls/{number}", body="My own words.")
    body = await says(shop, number, "1 met")
    assert body.startswith("My own words.\n\n<!-- playbooks:spec-start -->")
    await shop.bob.push("mend", {FILE: None}, "Without a report")
    assert await says(shop, number, "playbooks:spec", gone=True) == "My own words."


@pytest.mark.thorough
async def test_nothing_that_people_do_with_our_section_costs_them_their_words(shop: Shop) -> None:
    shop.verdicts = {}
    number = await opened(shop, "mend", {FILE: SPEC})
    body = await says(shop, number, "1 not known yet.")
    torn = f"Above.\n\n{body.replace('<!-- playbooks:spec-end -->', '')}\n\nBelow."
    await shop.bob.patch(f"pulls/{number}", body=torn)
    await says(shop, number, "<!-- playbooks:spec-end -->")
    await shop.report("success", branch="mend")
    body = await says(shop, number, "1 met")
    assert body.startswith(torn)
    copied = body.removeprefix(torn).strip()
    await shop.bob.patch(f"pulls/{number}", body=f"{copied}\n\nBetween.\n\n{copied}")
    await shop.report("failure", branch="mend")
    await says(shop, number, "1 unmet")
    body = await says(shop, number, "1 met", gone=True)
    assert body.endswith("\n\nBetween.")
    full = "w" * 65_400
    await shop.bob.patch(f"pulls/{number}", body=full)
    assert (await says(shop, number, "requirements are not met.**")).count("w" * 65_400) == 1
    await shop.bob.patch(f"pulls/{number}", body=full + "w" * 136)
    await shop.looked_again()
    assert (await shop.alice.pull_request(number))["body"] == full + "w" * 136


async def test_an_invalid_file_is_told_with_its_field_until_it_is_mended(shop: Shop) -> None:
    wrong = json.dumps(REPORT | {"spec": [ROW | {"verdict": "sure"}]})
    number = await opened(shop, "mend", {FILE: wrong})
    body = await says(shop, number, "it is not a spec report")
    assert "- `spec.0.verdict`: Input should be 'met', 'unmet' or 'unknown'" in body
    await shop.bob.push("mend", {FILE: SPEC}, "Mend the report")
    assert "no spec report" not in await says(shop, number, "1 met")


async def test_a_file_that_was_there_before_is_not_the_pull_requests_own(shop: Shop) -> None:
    await shop.alice.push("main", {FILE: SPEC}, "An old fix was merged")
    other = await opened(shop, "side", {"side.txt": "x\n"})
    own = await opened(shop, "mend", {FILE: SPEC.replace("R1", "R2")})
    await says(shop, own, "| R2 |")
    assert not (await shop.alice.pull_request(other))["body"]


async def test_a_report_missed_while_nobody_listened_is_found_by_the_sweep(shop: Shop) -> None:
    app = shop.installation().app
    heard, app.webhook_url = app.webhook_url, None
    number = await opened(shop, "mend", {FILE: SPEC})
    await shop.report("success", branch="mend")
    app.webhook_url = heard
    await forget_served(shop.bot)
    await shop.bot.specs._sweep()
    await says(shop, number, "1 met")


async def _is_served(shop: Shop) -> bool:
    return any(each.id == shop.repository.id for each in await shop.bot.served.served())


async def test_pull_requests_without_the_file_cost_two_requests_however_many_checks(
    shop: Shop,
) -> None:
    requests = shop.bot.github.requests
    shop.verdicts = {}
    # Deliveries about the repositories of other tests may still be on their way, and this one is
    # looked at once as it becomes known.
    await shop.eventually(lambda: _is_served(shop))
    await shop.looked_again()
    await shop.bot.specs._looks.idle()
    before = requests.by_route("spec")
    await opened(shop, "side", {"side.txt": "x\n"})

    async def looked() -> bool:
        return sum(requests.by_route("spec").values()) >= sum(before.values()) + 2

    await shop.eventually(looked)
    for number in range(10):
        await shop.report("success", f"check-{number}", branch="side")
    await shop.looked_again()
    now = requests.by_route("spec")
    spent = {route: count - before.get(route, 0) for route, count in now.items()}
    # Pull requests are listed by the hour, and other tests may have moved the clock.
    assert spent.pop("GET /repos/{owner}/{repo}/pulls", 0) <= 1
    assert {route: count for route, count in spent.items() if count} == {
        "GET /repos/{owner}/{repo}/pulls/{number}": 1,
        "GET /repos/{owner}/{repo}/contents/{path*}": 1,
    }


@pytest.mark.thorough
async def test_a_check_that_passed_in_a_newer_run_is_met_whatever_an_older_one_says(
    shop: Shop, ci_app: FakeInstallation
) -> None:
    shop.verdicts = {}
    number = await opened(shop, "mend", {FILE: SPEC})
    head = await shop.bob.head("mend")
    shop.github.report_check(shop.repository, ci_app.app, head, "smoke", "failure")
    await says(shop, number, "0 met, 1 unmet, 0 not known yet.")
    shop.github.report_check(shop.repository, ci_app.app, head, "smoke", "success")
    await says(shop, number, "1 met, 0 unmet, 0 not known yet.")
