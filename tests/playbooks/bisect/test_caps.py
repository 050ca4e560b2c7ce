"""What all bisects of a repository may use together, in a day and at once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.playbooks.bisect.bisecting import CONFIG, approved, dispatched, fixes, history
from tests.playbooks.bisect.test_automatic import broken_by_the_second
from tests.shop import Shop


@pytest.mark.thorough
async def test_at_the_days_cap_it_reports_and_a_person_may_have_it_go_on(shop: Shop) -> None:
    config = CONFIG + "caps: {trials_a_day: 3}\n"
    await approved(shop, config)
    more: dict[int, dict[str, str | None]] = {1: {".github/playbooks.yml": config}}
    past = await history(shop, 12, 7, more=more)
    # CI knows nearly enough already: few trials are left to make.
    await past.says_ci(7, twice=True)
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "3 of 3 trials")
    assert "`/retry`" in said
    assert len(dispatched(shop)) == 3
    assert await (await shop.says(issue, "/retry")).reaction() == "+1"
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    # Another search of the same day finds it used up.
    await past.says_ci_on_the_end("failure", "other")
    issue, _ = await past.bisected(f"/bisect {past.commits[0]}..{past.commits[-1]} check other")
    said = await shop.standing(issue, "of 3 trials")
    assert said.startswith("**Comment `/retry` to search further")


@pytest.mark.thorough
async def test_so_many_trials_at_once_whatever_each_search_may(shop: Shop) -> None:
    config = CONFIG + "  parallel_in_all: 2\n"
    more: dict[int, dict[str, str | None]] = {1: {".github/playbooks.yml": config}}
    past = await history(shop, 8, 5, trial="sleep 0.5; test ! -e bug", more=more)
    await past.says_ci_on_the_end("failure")
    await past.says_ci_on_the_end("failure", "other")
    most = 0

    def hear(event: Any) -> None:
        nonlocal most
        if event.repository is shop.repository:
            most = max(most, sum(run.status != "completed" for run in dispatched(shop)))

    shop.github.world.listen(hear)
    await past.bisected()
    await past.bisected(f"/bisect {past.commits[0]}..{past.commits[-1]} check other")

    async def both() -> bool:
        ids = {run.cause.inputs["trial_id"].rpartition("-")[0] for run in dispatched(shop)}
        return len(ids) == 2 and len(dispatched(shop)) > 6

    await shop.eventually(both)
    assert most == 2


@pytest.mark.thorough
async def test_a_bisect_that_nobody_asked_for_and_a_cap_refuses_is_begun_by_the_command_it_says(
    shop: Shop,
) -> None:
    innocent, guilty = await broken_by_the_second(shop, more="caps: {bisects_a_day: 0}\n")
    await shop.says(innocent, "/revert")
    status = await shop.standing(innocent, "did not fix it")
    await shop.looked_again()
    assert len(await shop.incidents()) == 1
    [command] = [part for part in status.split("`") if part.startswith("/bisect ")]
    await shop.says(innocent, f"{command} check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert #{guilty} "Guilty"'
