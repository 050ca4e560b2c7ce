"""What lies at the configuration's path, besides a file: none of it configures anything unseen."""

from __future__ import annotations

import pytest

from bot.config import Config
from bot.records import sensitive_config
from tests.safety.test_config_check import PATH, config_check, known
from tests.safety.test_config_consent import counts
from tests.shop import Shop

THERE = "checks: {smoke: [linked]}\nfounder: {people: [bob]}\n"


async def commit(shop: Shop, branch: str, *entries: dict[str, str | None]) -> str:
    """Bob commits entries of a tree as git has them; the new head."""
    parent = await shop.bob.head(branch)
    base = (await shop.bob.get(f"git/commits/{parent}"))["tree"]["sha"]
    tree = await shop.bob.post("git/trees", base_tree=base, tree=list(entries))
    made = await shop.bob.post(
        "git/commits", message="Configure", tree=tree["sha"], parents=[parent]
    )
    await shop.bob.patch(f"git/refs/heads/{branch}", sha=made["sha"])
    return str(made["sha"])


def file(path: str, content: str) -> dict[str, str | None]:
    return {"path": path, "mode": "100644", "type": "blob", "content": content}


LINK: dict[str, str | None] = {
    "path": PATH, "mode": "120000", "type": "blob", "content": "../config/playbooks.yml",
}  # fmt: skip


async def test_a_link_configures_nothing_and_is_said_where_it_is_proposed(shop: Shop) -> None:
    await known(shop)
    await shop.bob.post("git/refs", ref="refs/heads/link", sha=await shop.bob.head("main"))
    head = await commit(shop, "link", file("config/playbooks.yml", THERE), LINK)
    await shop.bob.open_pull_request("Configure", None, branch="link")
    run = await config_check(shop, head, "failure")
    assert "is a symbolic link. It has to be a file" in run["output"]["summary"]


async def test_what_a_link_leads_to_changes_nothing_on_the_default_branch(shop: Shop) -> None:
    await known(shop)
    await commit(shop, "main", file(PATH, "checks: {smoke: [smoke]}\n"))
    head = await commit(shop, "main", file("config/playbooks.yml", THERE), LINK)
    await config_check(shop, head, "failure")
    assert (await counts(shop)).checks.smoke == ("smoke",)
    await commit(shop, "main", file("config/playbooks.yml", THERE + "# More\n"))
    assert (await counts(shop)).checks.smoke == ("smoke",)
    assert (await counts(shop)).founder.people == ()


@pytest.mark.thorough
@pytest.mark.parametrize("path", [f"{PATH}/inside.yml", ".github/playbooks.yaml", "playbooks.yml"])
async def test_elsewhere_and_as_a_folder_it_is_no_configuration(shop: Shop, path: str) -> None:
    await known(shop)
    await commit(shop, "main", file(path, THERE))
    await shop.looked_again()
    assert await counts(shop) == Config()
    async with shop.bot.read_only.connect() as conn:
        assert await sensitive_config.waiting(conn, [shop.repository.id]) == []
