"""`playbooks config`: a pull request that changes the configuration is told what it would do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.records import sensitive_config
from bot.records.sensitive_config import ConfigQuestion
from fakegithub.changes import checks
from tests.shop import A_WHILE, Shop

PATH = ".github/playbooks.yml"


async def config_check(shop: Shop, sha: str, conclusion: str) -> Any:
    async def says() -> Any:
        found = await shop.alice.get(f"commits/{sha}/check-runs", check_name="playbooks config")
        runs = [run for run in found["check_runs"] if run["conclusion"] == conclusion]
        return runs[0] if runs else None

    return await shop.eventually(says)


async def proposed(shop: Shop, branch: str, text: str) -> tuple[int, str]:
    number = await shop.bob.open_pull_request("Configure", {PATH: text}, branch=branch)
    return number, await shop.bob.head(branch)


async def gated(shop: Shop, sha: str) -> None:
    async def says() -> bool:
        return "self-work gate" in await shop.alice.check_runs(sha)

    await shop.eventually(says)


async def test_a_broken_version_fails_with_the_line_and_what_is_allowed(shop: Shop) -> None:
    _, head = await proposed(shop, "broken", "checks:\n  smoke: [unit]\n  timeout: 5\n")
    run = await config_check(shop, head, "failure")
    assert "line 3: 'checks.timeout' is not known" in run["output"]["summary"]
    assert "the last good version stays in force" in run["output"]["summary"]


async def test_an_ordinary_change_passes_and_other_pull_requests_hear_nothing(shop: Shop) -> None:
    _, head = await proposed(shop, "fine", "checks: {smoke: [smoke]}\n")
    await config_check(shop, head, "success")
    await shop.bob.open_pull_request("Other", {"x.txt": "x\n"}, branch="other")
    other = await shop.bob.head("other")
    await gated(shop, other)
    assert "playbooks config" not in await shop.alice.check_runs(other)


@pytest.mark.parametrize("path", [".github/playbooks.yaml", ".github/Playbooks.yml"])
async def test_a_file_that_is_not_read_for_its_name_is_told_apart(shop: Shop, path: str) -> None:
    files: dict[str, str | None] = {path: "triggers: {autonomy: off}\n"}
    await shop.bob.open_pull_request("Configure", files, branch="misnamed")
    said = (await config_check(shop, await shop.bob.head("misnamed"), "neutral"))["output"]
    assert f"`{path}` is not read" in said["summary"]
    assert f"`{PATH}`" in said["summary"]


async def test_a_check_that_no_commit_ever_had_is_said_with_the_nearest(shop: Shop) -> None:
    _, head = await proposed(shop, "typo", "checks: {smoke: [smokes], evals: [quality]}\n")
    said = (await config_check(shop, head, "neutral"))["output"]["summary"]
    assert "`smokes`: did you mean `smoke`?" in said
    assert "- `quality`" in said


@pytest.mark.thorough
async def test_behind_more_files_than_github_lists_a_change_is_found(shop: Shop) -> None:
    # GitHub lists 3,000, by their names.
    many = {f"!/{number}": "x\n" for number in range(3000)}
    text = "checks:\n  smoke: [unit]\n  timeout: 5\n"
    await shop.bob.open_pull_request("Much", {**many, PATH: text}, branch="much")
    await config_check(shop, await shop.bob.head("much"), "failure")
    await shop.bob.open_pull_request("As much", many, branch="as-much")
    head = await shop.bob.head("as-much")
    await gated(shop, head)
    assert "playbooks config" not in await shop.alice.check_runs(head)


@pytest.mark.thorough
async def test_a_check_of_long_ago_is_not_taken_for_a_typo(shop: Shop) -> None:
    await shop.report("success", "old", branch="main")
    shop.verdicts.clear()
    await shop.alice.push("main", {"more.txt": "1\n"}, "More")
    _, head = await proposed(shop, "old", "checks: {smoke: [old]}\n")
    await shop.report("success", "other", branch="old")
    said = (await config_check(shop, head, "success"))["output"]["summary"]
    assert "No commit has had" not in said


async def test_caps_count_only_after_a_founder_approved_them(shop: Shop) -> None:
    number, head = await proposed(shop, "caps", "caps: {reverts_a_day: 0}\n")
    run = await config_check(shop, head, "neutral")
    assert "`caps`" in run["output"]["summary"]
    assert await (await shop.says(number, "/approve", shop.bob)).reaction() == "confused"
    await shop.bob.merge(number)
    repository = next(iter(shop.bot.gate_reporter._repositories.values()))
    for each in shop.bot.gate_reporter._repositories.values():
        if each.id == shop.repository.id:
            repository = each
    shop.bot.config.forget(repository.id)
    before = await shop.bot.config.of(repository)
    assert (before.config.caps.reverts_a_day, bool(before.waiting)) == (10, True)

    assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"
    shop.bot.config.forget(repository.id)
    after = await shop.bot.config.of(repository)
    assert (after.config.caps.reverts_a_day, after.waiting) == (0, None)

    # Going back needs a new yes: an old one is not replayed.
    back = await shop.merged("Undo it", {PATH: None})
    shop.bot.config.forget(repository.id)
    assert (await shop.bot.config.of(repository)).config.caps.reverts_a_day == 0
    assert await (await shop.says(back, "/approve", shop.olivia)).reaction() == "+1"
    shop.bot.config.forget(repository.id)
    assert (await shop.bot.config.of(repository)).config.caps.reverts_a_day == 10


@pytest.mark.thorough
async def test_what_was_approved_stays_so_when_something_else_is_pushed(shop: Shop) -> None:
    number, head = await proposed(shop, "caps", "caps: {reverts_a_day: 0}\n")
    await config_check(shop, head, "neutral")
    assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"
    later = await shop.bob.push("caps", {"x.txt": "x\n"}, "Something else")
    run = await config_check(shop, later, "success")
    assert run["output"]["title"] == "It can be used; a Founder approved it"


@pytest.mark.thorough
async def test_a_persons_revert_is_never_refused_for_a_cap(shop: Shop) -> None:
    number, _ = await proposed(shop, "caps", "caps: {reverts_a_day: 0}\n")
    await (await shop.says(number, "/approve", shop.olivia)).reaction()
    await shop.bob.merge(number)
    broken = await shop.broken()
    await shop.says(broken, "/pause because everything is on fire")
    await shop.bob.label(broken, "playbook:off")
    await shop.says(broken, "/revert")
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_prometheus_is_named_and_nobody_said_where_it_is(shop: Shop) -> None:
    text = (
        "capabilities: {llm.summarize: {baseline: provider-a, candidates: [provider-b], "
        "prometheus: {successes: answers_total, failures: errors_total}}}\n"
    )
    _, head = await proposed(shop, "counted", text)
    run = await config_check(shop, head, "failure")
    assert run["output"]["title"] == "It names Prometheus, which this bot cannot ask"
    assert "`llm.summarize`" in run["output"]["summary"]
    assert "PROMETHEUS_URL is not set" in run["output"]["summary"]


async def asked(shop: Shop, commit: str) -> ConfigQuestion:
    """The question about the default branch, once this commit was told."""

    async def look() -> ConfigQuestion | None:
        return next((each for each in await questions(shop) if each.commit_sha == commit), None)

    found: ConfigQuestion = await shop.eventually(look)
    return found


async def questions(shop: Shop) -> list[ConfigQuestion]:
    async with shop.bot.read_only.connect() as conn:
        return await sensitive_config.waiting(conn, [shop.repository.id])


async def press_approve(shop: Shop, run: Any, login: str) -> None:
    check = shop.repository.check_runs[run["id"]]
    checks.press(
        shop.github.world, shop.repository, check, "approve", shop.github.world.users[login]
    )


@pytest.mark.thorough
async def test_caps_that_were_pushed_count_when_a_founder_presses_the_button(shop: Shop) -> None:
    await known(shop)
    head = await shop.bob.push("main", {PATH: "caps: {reverts_a_day: 3}\n"}, "Fewer")
    run = await config_check(shop, head, "neutral")
    assert "changes of these count only after a Founder approved them" in run["output"]["summary"]
    assert "A Founder presses Approve on this check." in run["output"]["summary"]
    assert (await asked(shop, head)).sections == ("caps",)

    await press_approve(shop, run, "bob")

    async def refused() -> bool:
        said = (await config_check(shop, head, "neutral"))["output"]["summary"]
        return "Only a Founder approves these sections (`olivia`)." in said

    await shop.eventually(refused)
    repository = shop.bot.gate_reporter._repositories[shop.repository.id]
    assert (await shop.bot.config.of(repository)).config.caps.reverts_a_day == 10

    await press_approve(shop, run, "olivia")
    run = await config_check(shop, head, "success")
    assert run["output"]["summary"] == "It counts."
    assert (await shop.bot.config.of(repository)).config.caps.reverts_a_day == 3
    assert not await questions(shop)


@pytest.mark.thorough
async def test_the_button_on_an_older_commit_approves_what_still_stands_and_nothing_else(
    shop: Shop,
) -> None:
    await known(shop)
    first = await shop.bob.push("main", {PATH: "caps: {reverts_a_day: 3}\n"}, "Fewer")
    run = await config_check(shop, first, "neutral")
    second = await shop.bob.push("main", {PATH: "caps: {reverts_a_day: 4}\n"}, "Not so few")
    newer = await config_check(shop, second, "neutral")
    await press_approve(shop, run, "olivia")
    await asyncio.sleep(A_WHILE)
    repository = shop.bot.gate_reporter._repositories[shop.repository.id]
    assert (await shop.bot.config.of(repository)).config.caps.reverts_a_day == 10

    third = await shop.bob.push("main", {"x.txt": "x\n"}, "Something else")
    await asked(shop, third)
    await press_approve(shop, newer, "olivia")
    await config_check(shop, second, "success")
    await config_check(shop, third, "success")
    assert (await shop.bot.config.of(repository)).config.caps.reverts_a_day == 4


async def test_a_broken_version_that_was_pushed_is_told_on_the_default_branch_until_it_is_mended(
    shop: Shop,
) -> None:
    await known(shop)
    head = await shop.bob.push("main", {PATH: "timeout: 5\n"}, "Break it")
    run = await config_check(shop, head, "failure")
    assert "line 1: 'timeout' is not known" in run["output"]["summary"]
    assert "'timeout' is not known" in (await asked(shop, head)).fault
    later = await shop.bob.push("main", {"x.txt": "x\n"}, "Something else")
    await config_check(shop, later, "failure")
    await asked(shop, later)
    mended = await shop.bob.push("main", {PATH: None}, "Mend it")

    async def nothing_asked() -> bool:
        return not await questions(shop)

    await shop.eventually(nothing_asked)
    assert "playbooks config" not in await shop.alice.check_runs(mended)


@pytest.mark.thorough
async def test_what_a_pull_request_was_asked_about_is_not_asked_again_where_it_is_merged(
    shop: Shop,
) -> None:
    number, head = await proposed(shop, "caps", "caps: {reverts_a_day: 0}\n")
    await config_check(shop, head, "neutral")
    await shop.bob.merge(number)
    await asyncio.sleep(A_WHILE)
    assert [each.number for each in await questions(shop)] == [number]
    assert "playbooks config" not in await shop.alice.check_runs(await shop.bob.head("main"))


async def known(shop: Shop) -> None:
    """Wait until the bot looks after this repository."""
    await shop.merged("Begin", {"begin.txt": "x\n"})

    async def looked_after() -> bool:
        return shop.repository.id in shop.bot.gate_reporter._repositories

    await shop.eventually(looked_after)
