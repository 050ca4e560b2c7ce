"""The held never lift, let through or configure: by label too, whatever part they had in it."""

from __future__ import annotations

import pytest

from bot.records import incidents, pauses
from bot.records.pauses import PauseKind, Pausing
from bot.triggers import SELF_WORK
from tests.playbooks.revert.test_closing import _no_longer_watched
from tests.shop import Shop


async def work(shop: Shop, *, label: bool = True) -> int:
    """Bob, an agent under a plain account, opens a pull request."""
    number = await shop.bob.open_pull_request("By an agent", {"agent.txt": "x\n"}, branch="agent")
    if label:
        await shop.alice.label(number, "self-work")
    return number


async def paused(shop: Shop, kind: PauseKind = PauseKind.MANUAL) -> None:
    wanted = Pausing(
        key=f"test:{shop.name}", repository_id=shop.repository.id, scope=SELF_WORK, kind=kind,
        reason="we look", by="alice", at=shop.bot.clock(),
    )  # fmt: skip
    async with shop.bot.records.begin() as conn:
        await pauses.pause(conn, wanted)


async def is_paused(shop: Shop) -> bool:
    async with shop.bot.read_only.connect() as conn:
        return await pauses.in_force(conn, shop.repository.id, SELF_WORK) is not None


async def refused(shop: Shop, number: int, who: str, words: str = "/unpause because fine") -> str:
    person = getattr(shop, who)
    assert await (await shop.says(number, words, person)).reaction() == "confused"
    assert await is_paused(shop)
    return (await shop.from_bot(number))[-1]


@pytest.mark.sampled("merged")
@pytest.mark.parametrize("end", ["open", "merged", "closed"])
async def test_whoever_opened_self_work_does_not_lift_the_pause(shop: Shop, end: str) -> None:
    number = await work(shop)
    if end == "merged":
        await shop.alice.merge(number)
    elif end == "closed":
        await shop.bob.patch(f"pulls/{number}", state="closed")
    await paused(shop)
    said = await refused(shop, number, "bob")
    assert f"#{number} is self-work that you wrote" in said
    assert "`olivia`" in said
    assert "`alice`" in said
    assert "`bob`" not in said.partition("Ask")[2]
    assert await (await shop.says(number, "/unpause because fine", shop.alice)).reaction() == "+1"
    assert not await is_paused(shop)


async def test_whoever_pushed_a_commit_to_it_is_held_too(shop: Shop) -> None:
    number = await shop.alice.open_pull_request("Mine", {"a.txt": "x\n"}, branch="agent")
    await shop.alice.label(number, "self-work")
    await shop.bob.push("agent", {"more.txt": "y\n"}, "More")
    await paused(shop)
    assert f"#{number}" in await refused(shop, number, "bob")


async def committed_as(shop: Shop, author: str, branch: str) -> None:
    """Bob pushes a commit of which somebody else seems to be the author."""
    parent = await shop.bob.head(branch)
    who = {"name": author, "email": f"1+{author}@users.noreply.github.com"}
    tree = (await shop.bob.get(f"git/commits/{parent}"))["tree"]["sha"]
    commit = await shop.bob.post(
        "git/commits", message="More", tree=tree, parents=[parent], author=who, committer=who
    )
    await shop.bob.patch(f"git/refs/heads/{branch}", sha=commit["sha"])


async def test_whoever_pushed_it_under_another_name_is_held(shop: Shop) -> None:
    number = await shop.alice.open_pull_request("Mine", {"a.txt": "x\n"}, branch="agent")
    await shop.alice.label(number, "self-work")
    await committed_as(shop, "carol", "agent")
    await paused(shop)
    assert f"#{number}" in await refused(shop, number, "bob")


async def test_names_on_an_agents_commits_keep_no_founder_from_lifting(shop: Shop) -> None:
    number = await work(shop)
    for login in ("olivia", "alice"):
        await committed_as(shop, login, "agent")
    await paused(shop)
    # Who else it may have been is not known, so whoever is no Founder is held.
    assert "`olivia`" in await refused(shop, number, "alice")
    assert await (await shop.says(number, "/unpause because fine", shop.olivia)).reaction() == "+1"


@pytest.mark.thorough
async def test_where_github_does_not_tell_who_pushed_every_name_counts(shop: Shop) -> None:
    shop.repository.tells_activity = False
    number = await work(shop)
    await committed_as(shop, "olivia", "agent")
    await paused(shop)
    assert f"#{number}" in await refused(shop, number, "olivia")


async def test_a_safety_pause_needs_maintain_or_a_founder(shop: Shop) -> None:
    number = await shop.alice.open_issue("Talk")
    await paused(shop, PauseKind.SAFETY)
    said = await refused(shop, number, "bob")
    assert "maintain access, or a Founder" in said
    assert "`olivia`" in said
    assert await (await shop.says(number, "/unpause because fine", shop.alice)).reaction() == "+1"


async def test_one_of_the_held_lets_nobody_elses_commit_through(shop: Shop) -> None:
    theirs = await shop.alice.open_pull_request("Mine", {"a.txt": "x\n"}, branch="agent-1")
    await shop.alice.label(theirs, "self-work")
    number = await work(shop)
    await paused(shop)

    async def held() -> bool:
        runs = await shop.bob.check_runs(await shop.bob.head("agent"))
        return runs.get("self-work gate") == "failure"

    await shop.eventually(held)
    said = await refused(shop, number, "alice", "/approve")
    assert f"#{theirs} is self-work that you wrote" in said


@pytest.mark.thorough
async def test_one_of_the_held_approves_no_configuration(shop: Shop) -> None:
    shop.github.set_collaborator(shop.repository, "alice", "admin")
    theirs = await shop.alice.open_pull_request("Mine", {"a.txt": "x\n"}, branch="agent-1")
    await shop.alice.label(theirs, "self-work")
    config = {".github/playbooks.yml": "self_work: {label: nobody}\n"}
    number = await shop.merged("Configure", config)
    assert await (await shop.says(number, "/approve", shop.alice)).reaction() == "confused"
    assert "Ask another Founder: `olivia`" in (await shop.from_bot(number))[-1]
    assert await (await shop.says(number, "/approve", shop.olivia)).reaction() == "+1"


async def severity(shop: Shop) -> str:
    async with shop.bot.read_only.connect() as conn:
        [incident] = await incidents.list_recent(conn, shop.repository.id)
    return incident.severity if incident.is_open else "closed"


async def being_reverted(shop: Shop) -> int:
    """A pull request whose revert waits for its check."""
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    return broken


@pytest.mark.thorough
async def test_one_of_the_held_eases_no_incident_that_keeps_the_pause(shop: Shop) -> None:
    await work(shop)
    broken = await being_reverted(shop)
    assert await (await shop.says(broken, "/severity critical")).reaction() == "+1"
    await paused(shop)
    said = await refused(shop, broken, "bob", "/severity low")
    assert "nobody whose work is held may lower an incident's severity" in said
    assert "`alice`" in said
    assert await severity(shop) == "critical"
    # Worse is always heard.
    assert await (await shop.says(broken, "/severity high", shop.bob)).reaction() == "+1"


@pytest.mark.thorough
async def test_one_of_the_held_cancels_no_recovery_that_keeps_the_pause(shop: Shop) -> None:
    await work(shop)
    broken = await being_reverted(shop)
    await paused(shop)
    said = await refused(shop, broken, "bob", "/cancel")
    assert "nobody whose work is held may cancel what is under way" in said
    assert "`alice`" in said
    assert await severity(shop) != "closed"
    assert await (await shop.says(broken, "/cancel")).reaction() == "+1"


@pytest.mark.thorough
async def test_one_of_the_held_resolves_no_incident_by_closing_its_issue(shop: Shop) -> None:
    await work(shop)
    issue = await _no_longer_watched(shop)
    await paused(shop)
    await shop.bob.patch(f"issues/{issue}", state="closed")

    async def told() -> bool:
        return any(
            "nobody whose work is held may resolve an incident" in each
            for each in await shop.from_bot(issue)
        )

    await shop.eventually(told)
    assert await severity(shop) != "closed"
    await shop.alice.patch(f"issues/{issue}", state="open")
    await shop.alice.patch(f"issues/{issue}", state="closed")

    async def closed() -> bool:
        return await severity(shop) == "closed"

    await shop.eventually(closed)
