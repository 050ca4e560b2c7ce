"""Whatever GitHub refuses beside the search and its fix, the culprit is found and taken back."""

from __future__ import annotations

import pytest

from tests.playbooks.bisect.bisecting import fixes, history
from tests.playbooks.refusals.refusing import SAMPLE, Refusal, begin, choose, ended_well
from tests.shop import Shop


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the cells."""
    choose(metafunc, SAMPLE | {("labels", "before")})


@pytest.mark.sampled("comments, after")
@pytest.mark.chaos
async def test_the_culprit_is_found_and_its_fix_ends_the_incident(
    shop: Shop, refusal: Refusal, when: str
) -> None:
    past = await history(shop, 30, 12, trial=None)
    await past.says_ci(12, twice=True)
    # Not an issue: those may be switched off.
    place = await shop.bob.open_pull_request("Later", {"later.txt": "1\n"}, branch="later")
    begin(refusal, when, shop, place)
    await shop.alice.comment(place, f"/bisect {past.commits[0][:12]}..main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    shop.verdicts = {"smoke": "success"}
    await shop.report("success", branch=fix["head"]["ref"])
    await shop.alice.merge(fix["number"])
    never = ("rolled back", "i could not", "did not work")
    await ended_well(shop, "bisect", untold=refusal.untold, never=never)
    assert await shop.alice.file("bug") is None
