"""`doctor` says where others than the App can write records."""

from __future__ import annotations

from bot.doctor import DoctorFinding, examine
from tests.shop import Shop

RULES = ("creation", "update", "deletion", "non_fast_forward")


async def about_records(shop: Shop) -> list[DoctorFinding]:
    found = await examine(shop.bot.settings)
    return [each for each in found if "playbooks/records" in each.what]


async def test_doctor_names_the_ruleset_that_is_missing(shop: Shop) -> None:
    [finding] = await about_records(shop)
    assert finding.ok
    assert finding.subject == shop.name
    assert "playbooks/**" in finding.remedy
    await shop.olivia.post(
        "rulesets",
        name="Records",
        target="branch",
        enforcement="active",
        conditions={"ref_name": {"include": ["refs/heads/playbooks/**"], "exclude": []}},
        rules=[{"type": each} for each in RULES],
    )
    assert await about_records(shop) == []


async def test_doctor_says_where_no_rules_can_be_made(shop: Shop) -> None:
    assert not [each for each in await examine(shop.bot.settings) if "no rulesets" in each.what]
    shop.repository.private, shop.repository.plan = True, "free"
    [finding] = [each for each in await examine(shop.bot.settings) if "no rulesets" in each.what]
    assert finding.subject == shop.name
    assert "Name them in .github/playbooks.yml" in finding.remedy
