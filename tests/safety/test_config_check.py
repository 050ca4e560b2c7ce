"""`playbooks config`: a pull request that changes the configuration is told what it would do."""

from __future__ import annotations

from typing import Any

from tests.shop import Shop

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

    async def gated() -> Any:
        return "self-work gate" in await shop.alice.check_runs(other)

    await shop.eventually(gated)
    assert "playbooks config" not in await shop.alice.check_runs(other)


async def test_caps_count_only_after_a_founder_approved_them(shop: Shop) -> None:
    number, head = await proposed(shop, "caps", "caps: {reverts_a_day: 0}\n")
    run = await config_check(shop, head, "neutral")
    assert "`caps`" in run["output"]["summary"]
    assert await (await shop.says(number, "/approve", shop.bob)).reaction() == "confused"
    await shop.bob.merge(number)
    repository = next(iter(shop.bot.gatekeeper._repositories.values()))
    for each in shop.bot.gatekeeper._repositories.values():
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


async def test_what_was_approved_stays_so_when_something_else_is_pushed(shop: Shop) -> None:
    number, head = await proposed(shop, "caps", "caps: {reverts_a_day: 0}\n")
    await config_check(shop, head, "neutral")
    assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"
    later = await shop.bob.push("caps", {"x.txt": "x\n"}, "Something else")
    run = await config_check(shop, later, "success")
    assert run["output"]["title"] == "It can be used; a Founder approved it"


async def test_a_persons_revert_is_never_refused_for_a_cap(shop: Shop) -> None:
    number, _ = await proposed(shop, "caps", "caps: {reverts_a_day: 0}\n")
    await (await shop.says(number, "/approve", shop.olivia)).reaction()
    await shop.bob.merge(number)
    broken = await shop.broken()
    await shop.says(broken, "/pause because everything is on fire")
    await shop.bob.label(broken, "playbook:off")
    await shop.says(broken, "/revert")
    await shop.merged_hotfix()


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
