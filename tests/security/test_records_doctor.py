"""`doctor` says where others than the App can write records, or pass the gate."""

from __future__ import annotations

from bot.doctor import DoctorFinding, examine
from bot.playbooks.checks.results import GATE_CHECK
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


async def test_doctor_says_where_anybody_can_report_the_gate(shop: Shop) -> None:
    us = shop.bot.settings.github_app_id

    async def require(**source: int) -> list[DoctorFinding]:
        wanted = {"context": GATE_CHECK, **source}
        parameters = {
            "strict_required_status_checks_policy": False,
            "required_status_checks": [wanted],
        }
        shop.github.add_ruleset(
            shop.repository,
            f"From {source}",
            [{"type": "required_status_checks", "parameters": parameters}],
        )
        return [each for each in await examine(shop.bot.settings) if GATE_CHECK in each.what]

    [finding] = await require()
    assert finding.ok
    assert "choose this App" in finding.remedy
    assert await require(integration_id=us) == []


async def test_doctor_says_where_no_rules_can_be_made(shop: Shop) -> None:
    assert not [each for each in await examine(shop.bot.settings) if "no rulesets" in each.what]
    shop.repository.private, shop.repository.plan = True, "free"
    [finding] = [each for each in await examine(shop.bot.settings) if "no rulesets" in each.what]
    assert finding.subject == shop.name
    assert "Name them in .github/playbooks.yml" in finding.remedy
