"""A bisect whose signal does not lie by chance alone: an outage, a test that became flaky."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.playbooks.bisect.bisecting import CONFIG, committed, dispatched, fixes, history
from tests.shop import Shop


async def test_an_outage_is_waited_out_and_blames_nobody_innocent(
    shop: Shop, tmp_path: Path
) -> None:
    outage = tmp_path / "outage"
    past = await history(shop, 20, 14, trial=f"test ! -e bug && test ! -e {outage}")
    shop.verdicts = {"smoke": "success"}
    await past.says_ci_on_the_end("failure")
    outage.touch()
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "It may be an outage")
    assert f"`/bad {past.commits[0][:12]}`" in said
    outage.unlink()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[14][:7]} "Change 14"'
    # Again and again it asked the good end, and nobody else.
    report = json.loads(await committed(shop, fix, "bisect"))
    controls = [each for each in report["trials"] if each["why"] == "control"]
    assert controls
    assert {each["sha"] for each in controls} == {past.commits[0]}


@pytest.mark.thorough
async def test_a_word_on_the_good_end_ends_the_waiting(shop: Shop, tmp_path: Path) -> None:
    outage = tmp_path / "outage"
    outage.touch()
    past = await history(shop, 20, 14, trial=f"test ! -e {outage}")
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()
    await shop.standing(issue, "It may be an outage")
    await shop.says(issue, f"/bad {past.commits[0][:12]}")
    assert "Name an older good end" in await shop.final_word(issue)
    assert await answer.reaction() == "+1"


FLAKY_FROM_8 = (
    'test ! -e bug && { test ! -e file-8.txt || test "$((GITHUB_RUN_ID * 7919 % 100))" -ge 40; }'
)
MANY: dict[int, dict[str, str | None]] = {1: {".github/playbooks.yml": f"{CONFIG}  trials: 200\n"}}


@pytest.mark.thorough
async def test_where_a_test_became_flaky_on_the_way_the_bug_is_found_behind_it(shop: Shop) -> None:
    past = await history(shop, 24, 18, trial=FLAKY_FROM_8, more=MANY)
    shop.verdicts = {"smoke": "success"}
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[18][:7]} "Change 18"'


@pytest.mark.thorough
async def test_where_it_only_became_flaky_nobody_is_blamed(shop: Shop) -> None:
    past = await history(shop, 24, 0, trial=FLAKY_FROM_8)
    shop.verdicts = {"smoke": "success"}
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.final_word(issue)
    assert await fixes(shop) == []
    # Whether its bad end is called flaky or a flake is for the runs to say.
    assert "no commit is to blame" in said
    assert len(dispatched(shop)) <= 60
