"""What somebody may do is what GitHub grants, however their organization calls it."""

from __future__ import annotations

import pytest

from bot.records import pauses
from bot.triggers import SELF_WORK, Repository, Role
from fakegithub.faults.request_faults import Fail
from tests.shop import Shop

CASES = (
    # What was granted, what it is called, what it comes to.
    ("read", "Security reviewer", Role.READ),
    ("read", "admin", Role.READ),
    ("triage", "maintain", Role.READ),
    ("write", "release manager", Role.WRITE),
    ("write", "admin", Role.WRITE),
    ("write", "triage", Role.WRITE),
    ("maintain", "maintain", Role.MAINTAIN),
    ("admin", "admin", Role.ADMIN),
    ("admin", "owner", Role.ADMIN),
)


async def test_a_role_that_is_called_like_a_greater_one_is_not_that(shop: Shop) -> None:
    here = Repository(
        id=shop.repository.id,
        owner="acme",
        name=shop.repository.name,
        installation_id=shop.installation().id,
    )
    permissions = shop.bot.github.repository(here, playbook="revert").permissions
    for granted, called, wanted in CASES:
        shop.github.set_collaborator(shop.repository, "mallory", granted)
        shop.repository.custom_roles["mallory"] = called
        assert await permissions.role_of("mallory") is wanted, (granted, called)
    assert await permissions.role_of("nobody-by-that-name") is Role.NONE


@pytest.mark.thorough
async def test_while_github_does_not_tell_a_role_nothing_is_done(shop: Shop) -> None:
    number = await shop.alice.open_issue("Talk")
    rule = shop.github.faults.add(Fail(500), method="GET", path=r"/permission$")
    comment = await shop.mallory.comment(number, "/pause because I say so")

    async def is_paused() -> bool:
        async with shop.bot.read_only.connect() as conn:
            return await pauses.in_force(conn, shop.repository.id, SELF_WORK) is not None

    async def asked() -> bool:
        return rule.fired > 0

    await shop.eventually(asked)
    assert not await is_paused()
    shop.github.faults.remove(rule)
    await shop.alone()
    assert not await is_paused()
    assert "+1" not in await shop.alice.reactions(comment["id"])
