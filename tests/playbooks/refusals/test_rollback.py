"""Whatever GitHub refuses beside the fix, the baseline serves again and the fix is merged."""

from __future__ import annotations

import pytest

from tests.playbooks.providing import CAPABILITY, Providers, providers
from tests.playbooks.refusals.refusing import SAMPLE, Refusal, begin, choose, ended_well

__all__ = ["providers"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the cells."""
    choose(metafunc, SAMPLE)


@pytest.mark.thorough
@pytest.mark.chaos
async def test_the_baseline_serves_again_and_the_fix_is_merged(
    providers: Providers, refusal: Refusal, when: str
) -> None:
    shop = providers.shop
    issue = await providers.shadowed()
    await shop.says(issue, f"/ramp {CAPABILITY}")
    await providers.ramping(5)
    # Not an issue: those may be switched off.
    place = await shop.bob.open_pull_request("Later", {"later.txt": "1\n"}, branch="later")
    begin(refusal, when, shop, place)
    await shop.alice.comment(place, f"/rollback {CAPABILITY} because answers are empty")
    never = ("could not", "did not work", "fix the cause")
    # Only the gate reports on a rollback's fix.
    await ended_well(shop, "rollback", untold=refusal.untold, never=never, others=("check_run",))
    assert await providers.provider() == "provider-a"
    merged = await shop.alice.get("pulls", state="closed")
    assert [each["head"]["ref"].startswith("fix/rollback-") for each in merged] == [True]
    assert all(each["merged_at"] for each in merged)
