"""What the plays leave to the person: it is true, it waits, and doing as it says leads on."""

from __future__ import annotations

import pytest

from demo.clients import CAPABILITY
from demo.stage import FILES
from demo.stories.bisect_history import MENDED
from tests.demo.terminal import demo

CART, PRICES = "raw/main/shop/cart.py", "raw/main/shop/prices.py"


@pytest.mark.thorough
async def test_after_the_story_main_is_broken_again_until_the_person_reverts() -> None:
    async with demo() as alice:
        await alice.shows("main is broken: evals fails there since #7 was merged.")
        await alice.accepts(await alice.invites_to("/revert"))
        await alice.shows("main is safe. Nothing has to be done.")
        assert await alice.opens(f"{alice.home}/{CART}") == FILES["shop/cart.py"]


@pytest.mark.thorough
async def test_main_stays_broken_whatever_else_the_person_does() -> None:
    async with demo("--skip-story") as alice:
        revert = await alice.invites_to("/revert")
        assert await alice.opens(f"{alice.home}/{CART}") != FILES["shop/cart.py"]
        # The bot has looked into it, and leaves it to people.
        await alice.page_says(revert.page, "I changed nothing by myself")
        assert "No incident is open" in (shown := await alice.cockpit()).words, shown.words
        await alice.writes(revert.page, "/help")
        # Nothing has changed, so it is said once more.
        assert await alice.invites_to("/revert") == revert
        await alice.accepts(revert)
        following = await alice.invites_to("merge it")
        await alice.does(following.page, "close")
        await alice.accepts(await alice.invites_to("reopen it, then merge it"))
        await alice.accepts(await alice.invites_to("merge it"))
        assert (await alice.invites_to("/revert")).page == following.page


@pytest.mark.thorough
async def test_a_red_check_waits_for_the_persons_bisect() -> None:
    async with demo("--play", "bisect", "--skip-story") as alice:
        bisect = await alice.invites_to("/bisect ")
        assert await alice.opens(f"{alice.home}/{PRICES}") != MENDED
        assert "No incident is open" in (shown := await alice.cockpit()).words, shown.words
        await alice.accepts(bisect)
        # A check that flakes may have it ask for more runs first.
        while (asked := await alice.invites_to("/")).what != "/approve":
            await alice.accepts(asked)
        await alice.accepts(asked)
        await alice.shows("`unit` is fixed on main.")
        assert await alice.opens(f"{alice.home}/{PRICES}") == MENDED


@pytest.mark.thorough
async def test_self_work_is_held_and_goes_on_by_the_persons_word() -> None:
    async with demo("--play", "safety", "--skip-story") as alice:
        pause = await alice.invites_to("/pause self-work because ")
        await alice.accepts(pause)
        lift = await alice.invites_to("/unpause self-work")
        assert "Self-work: paused in acme/shop" in (shown := await alice.cockpit()).words, shown
        await alice.accepts(lift)
        assert await alice.invites_to("/pause self-work because ") == pause
        # Merged by hand: the agent has more.
        await alice.does(pause.page, "merge")
        assert (await alice.invites_to("/pause self-work because ")).page != pause.page


@pytest.mark.thorough
async def test_a_candidate_is_tried_and_taken_back_by_the_persons_word() -> None:
    async with demo("--play", "rollback", "--skip-story") as alice:
        await alice.accepts(await alice.invites_to(f"/shadow {CAPABILITY} provider-b"))
        await alice.accepts(await alice.invites_to(f"/ramp {CAPABILITY}"))
        await alice.accepts(await alice.invites_to(f"/rollback {CAPABILITY} because "))
        lift = await alice.invites_to(f"/unpause {CAPABILITY} because ")
        assert f"{CAPABILITY} : paused in" in (shown := await alice.cockpit()).words, shown.words
        await alice.accepts(lift)
        await alice.invites_to(f"/shadow {CAPABILITY} provider-b")
