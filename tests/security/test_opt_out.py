"""`playbook:off` keeps automatic action off, where somebody put it on who may say so."""

from __future__ import annotations

from bot.config import SelfWork
from bot.playbooks.plan import is_opted_out
from bot.triggers import Repository
from tests.shop import Shop

WHO = {
    # Bob opened the pull requests; mallory may sort issues here, and label them.
    ("alice", "by hand"): True,
    ("bob", "by hand"): True,
    ("mallory", "by hand"): False,
    ("alice", "self-work"): True,
    ("bob", "self-work"): False,
    ("mallory", "self-work"): False,
}


async def test_it_counts_by_whom_it_was_put_on(shop: Shop) -> None:
    shop.github.set_collaborator(shop.repository, "mallory", "triage")
    here = Repository(
        id=shop.repository.id,
        owner="acme",
        name=shop.repository.name,
        installation_id=shop.installation().id,
    )
    github = shop.bot.github.repository(here, playbook="revert")
    numbers = {
        kind: await shop.bob.open_pull_request(kind, {f"{n}.txt": "x\n"}, branch=f"work-{n}")
        for n, kind in enumerate(("by hand", "self-work"))
    }
    await shop.alice.label(numbers["self-work"], "self-work")
    assert not await is_opted_out(await github.pulls.get(numbers["by hand"]), SelfWork(), github)
    for (who, kind), counts in WHO.items():
        number = numbers[kind]
        await getattr(shop, who).label(number, "playbook:off")
        pull = await github.pulls.get(number)
        assert await is_opted_out(pull, SelfWork(), github) is counts, (who, kind)
        await shop.alice.unlabel(number, "playbook:off")
