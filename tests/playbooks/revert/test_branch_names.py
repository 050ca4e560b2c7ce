"""What the branches of a revert are called, and that nobody else's branch is touched."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fakegithub.faults.request_faults import Revoke
from fakegithub.world.model import Protection
from fakegithub.world.world import Event
from tests.shop import BAD, GOOD, Shop

_ID = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")


def _person_takes(shop: Shop, name: str) -> str:
    """Somebody pushes to a branch of this name; its commit."""
    return shop.github.commit(shop.repository, {"notes.txt": "mine\n"}, "My notes", branch=name)


def _refs(shop: Shop) -> dict[str, str]:
    heads = "refs/heads/"
    return {ref.removeprefix(heads): sha for ref, sha in shop.repository.git.refs(heads).items()}


@pytest.mark.thorough
async def test_a_branch_of_that_name_is_left_alone_and_the_next_name_is_taken(shop: Shop) -> None:
    broken = await shop.broken()
    taken: dict[str, str] = {}

    def hear(event: Event) -> None:
        if event.repository is shop.repository and event.name == "issues" and not taken:
            [incident] = {*_ID.findall(str(event.payload["issue"]["body"]))}
            name = f"hotfix/revert-{broken}-{incident[-4:]}"
            taken[name] = _person_takes(shop, name)

    shop.github.world.listen(hear)
    try:
        assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    finally:
        shop.github.world.listeners.remove(hear)
    assert await shop.alice.file("shop.py") == GOOD
    hotfix = await shop.hotfix()
    [(name, sha)] = taken.items()
    assert hotfix["head"]["ref"] == f"{name}-2"
    assert _refs(shop)[name] == sha
    assert f"{name}-2" not in _refs(shop)
    report = await shop.report_of(hotfix)
    assert report["refs"]["branch"] == f"{name}-2"
    pending = await shop.alice.file(_report_path(report), hotfix["head"]["sha"])
    assert f'"branch": "{name}-2"' in (pending or "")


def _report_path(report: Any) -> str:
    return f"apps/orchestrator/orchestrator/incidents/revert-{report['incident']}.json"


@pytest.mark.thorough
async def test_an_attempt_takes_a_name_of_its_own_and_undoing_leaves_other_branches(
    shop: Shop,
) -> None:
    broken = await shop.broken()
    installation = shop.installation()
    shop.github.faults.add(Revoke("contents"), method="POST", path=f"{shop.name}/git/trees$")
    assert await (await shop.says(broken, "/revert")).reaction() == "confused"
    run = await shop.last_run()
    assert run is not None
    assert run.incident_id is not None
    first = f"hotfix/revert-{broken}-{run.incident_id[-4:]}"
    theirs = {name: _person_takes(shop, name) for name in (first, f"{first}-2")}
    installation.permissions["contents"] = "write"
    shop.forget_tokens()
    assert await (await shop.says(broken, "/retry")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    assert (await shop.hotfix())["head"]["ref"] == f"{first}-3"
    assert theirs.items() <= _refs(shop).items()


@pytest.mark.thorough
async def test_cancelling_takes_only_its_own_branch_back(shop: Shop) -> None:
    shop.verdicts.clear()
    broken = await shop.broken()
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for `smoke`")
    name = (await shop.hotfix())["head"]["ref"]
    theirs = _person_takes(shop, f"{name}-2")
    pull = await shop.bob.post("pulls", title="Notes", head=f"{name}-2", base="main", body="")
    await shop.says(broken, "/cancel")
    await answer.reaction()
    assert (await shop.alice.pull_request((await shop.hotfixes())[-1]["number"]))["state"] == (
        "closed"
    )
    assert (await shop.alice.pull_request(pull["number"]))["state"] == "open"
    assert name not in _refs(shop)
    assert _refs(shop)[f"{name}-2"] == theirs


@pytest.mark.thorough
async def test_a_branch_named_hotfix_gives_a_flat_name_that_is_said_once(shop: Shop) -> None:
    broken = await shop.broken()
    theirs = _person_takes(shop, "hotfix")
    assert await (await shop.says(broken, "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    hotfix = await shop.hotfix()
    name = hotfix["head"]["ref"]
    assert re.fullmatch(rf"hotfix-revert-{broken}-[0-9a-z]{{4}}", name)
    report = await shop.report_of(hotfix)
    assert report["refs"]["branch"] == name
    assert _refs(shop)["hotfix"] == theirs
    assert name not in _refs(shop)
    words = f"A branch named `hotfix` is in the way of `hotfix/…`, so mine is called `{name}`."
    assert sum(words in said for said in await shop.from_bot(broken)) == 1
    # It is known again as ours: reverting it brings back what was reverted, and its records stay.
    assert await (await shop.says(hotfix["number"], "/revert")).reaction() == "+1"
    assert await shop.alice.file("shop.py") == BAD
    assert 'status: "superseded by ' in (await shop.alice.file(report["adr"]) or "")


@pytest.mark.thorough
async def test_a_branch_named_playbooks_gives_the_records_a_flat_one(shop: Shop) -> None:
    broken = await shop.broken()
    theirs = _person_takes(shop, "playbooks")
    shop.github.protect(shop.repository, "main", Protection(reviews=1))
    answer = await shop.says(broken, "/revert")
    await shop.standing(broken, "needs 1 more approval")
    hotfix = await shop.hotfix()
    await shop.bob.review(hotfix["number"])
    assert await answer.reaction() == "+1"
    assert await shop.alice.file("shop.py") == GOOD
    report = await shop.report_of(hotfix, "playbooks-records")
    assert report["status"] == "resolved"
    pulls = await shop.alice.get("pulls", state="open")
    assert [pull["head"]["ref"] for pull in pulls] == ["playbooks-outcomes"]
    assert "`playbooks-records`" in pulls[0]["body"]
    assert _refs(shop)["playbooks"] == theirs
    said = [each for each in await shop.from_bot(broken) if "is in the way" in each]
    assert len(said) == 1
    assert "so mine is called `playbooks-records`." in said[0]
    assert "/blob/playbooks-records/docs/decisions/" in said[0]
