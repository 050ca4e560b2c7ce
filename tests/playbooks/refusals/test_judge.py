"""Whatever GitHub refuses beside the revert, a red check on main ends as it would have."""

from __future__ import annotations

import pytest

from tests.playbooks.autorevert.judging import with_evals
from tests.playbooks.refusals.refusing import SAMPLE, Refusal, begin, choose, ended_well
from tests.shop import Shop


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the cells."""
    if "refusal" in metafunc.fixturenames:
        choose(metafunc, SAMPLE)


@pytest.mark.thorough
@pytest.mark.sampled("issues switched off, before")
@pytest.mark.chaos
async def test_self_work_that_broke_the_evals_is_reverted(
    shop: Shop, refusal: Refusal, when: str
) -> None:
    await with_evals(shop)
    culprit = await shop.bob.open_pull_request(
        "Cheaper prompts", {"broken": "yes\n"}, branch=f"cheaper-{shop.repository.name}"
    )
    await shop.alice.label(culprit, "self-work")
    if when == "before":
        begin(refusal, when, shop, culprit)
        await shop.bob.merge(culprit)
    else:
        await shop.bob.merge(culprit)
        begin(refusal, when, shop, culprit)
    never = ("rolled back", "could not", "did not work")
    await ended_well(shop, "revert", untold=refusal.untold, never=never)
    assert await shop.alice.file("broken") is None
