"""Bisect, as people meet it: a check is red, somebody asks since when."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import aiohttp
import pytest

from bot.playbooks.bisect.finding import replay
from fakegithub.server import DemoGitHub
from fakegithub.world.world import Event
from tests.chaos.lane import API_TOKEN, Lane
from tests.playbooks.bisect.bisecting import (
    FLAKY_TRIAL,
    bare_shop,
    committed,
    dispatched,
    fixes,
    hidden_refs,
    history,
    measured,
)
from tests.shop import Shop


async def test_results_that_exist_name_the_culprit_with_no_trial_and_few_requests(
    github: DemoGitHub, tmp_path: Path
) -> None:
    # A bot of its own: what others ask of GitHub meanwhile must not be counted.
    lane = Lane(github, tmp_path)
    repository = lane.repository()
    async with lane.person(repository) as alice:
        shop = bare_shop(github, repository, alice)
        past = await history(shop, 200, 120, trial=None)
        await past.says_ci(120, twice=True)
        await lane.start()
        named: list[int] = []

        def sent() -> int:
            key = f"installation:{lane.installation.id}"
            return sum(github.limits.window(key, kind).used for kind in ("core", "graphql"))

        def hear(event: Event) -> None:
            comment = event.payload.get("comment") or {}
            if event.repository is repository and "culprit is found" in str(comment.get("body")):
                named.append(sent() - before)

        issue = await alice.open_issue("main is red")
        before = -1
        while before != (before := sent()):  # noqa: ASYNC110  seen from outside
            # What every start looks for is over when nothing is asked any more.
            await asyncio.sleep(2)
        github.world.listen(hear)
        await alice.comment(issue, f"/bisect {past.commits[0]}..main check smoke")
        [fix] = await shop.eventually(lambda: fixes(shop))
        # Five of them see to it that nobody else wrote on the records branch. A query costs as many
        # as it may read hundreds of things.
        assert 0 < named[0] <= 36
        assert fix["title"] == f'Revert {past.commits[120][:7]} "Change 120"'
        assert dispatched(shop) == []
        assert f"Incident: #{issue + 1}" in fix["body"]
        measured(f"{len(past.commits)} commits: named after {named[0]} requests and 0 trials")
    await lane.close()


@pytest.mark.thorough
async def test_the_report_replays_from_its_log_to_the_same_bytes(shop: Shop) -> None:
    past = await history(shop, 30, 12, trial=None)
    await past.says_ci(12, twice=True)
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    text = await committed(shop, fix, "bisect")
    report = json.loads(text)
    assert report["finding"]["culprit"] == past.commits[12]
    assert report["known_results"] == 62
    assert replay(text.encode()) == text.encode()
    # Another log leads to another finding: the bytes come from it, not from what was written.
    report["log"] = report["log"][:20]
    canonical = json.dumps(report, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    assert replay(canonical.encode()) != canonical.encode()


async def test_trials_find_the_culprit_though_the_check_flakes(shop: Shop) -> None:
    past = await history(shop, 40, 23, trial=FLAKY_TRIAL)
    shop.verdicts = {"smoke": "success"}
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[23][:7]} "Change 23"'
    assert len(dispatched(shop)) < 60
    assert hidden_refs(shop) == []

    async def asked() -> bool:
        return any("Merge fix" in said for said in await shop.from_bot(issue))

    await shop.eventually(asked)
    await shop.alice.merge(fix["number"])
    assert await answer.reaction() == "+1"
    [incident] = await shop.incidents()
    assert incident["state"] == "closed"
    body = (await shop.alice.pull_request(fix["number"]))["body"]
    said = [incident["body"], body, *await shop.from_bot(issue)]
    assert not any("hotfix" in each.lower() for each in said)


@pytest.mark.thorough
async def test_a_machine_asks_by_http_and_finds_the_artifact_on_the_records_branch(
    github: DemoGitHub, tmp_path: Path
) -> None:
    lane = Lane(github, tmp_path)
    repository = lane.repository()
    async with lane.person(repository) as alice:
        shop = bare_shop(github, repository, alice)
        past = await history(shop, 30, 14, trial=None)
        await past.says_ci(14, twice=True)
        # An address that GitHub, here on the same machine, can fetch pictures from.
        lane.life.environment["PLAYBOOKS_URL"] = f"http://127.0.0.1:{lane.port}"
        await lane.start()
        headers = {"Authorization": f"Bearer {API_TOKEN}"}
        body = {"good": past.commits[0], "bad": "main", "check": "smoke"}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"http://127.0.0.1:{lane.port}/incidents/bisect"
            async with session.post(url, json=body) as response:
                accepted = await response.json()
                assert response.status == 202
            async with session.post(url, json={**body, "bad": "--all"}) as response:
                assert 400 <= response.status < 500
        artifact, identity = accepted["artifact"], accepted["incident"]
        assert artifact["path"].endswith(f"incidents/bisect-{identity}.json")
        [fix] = await shop.eventually(lambda: fixes(shop))
        culprit = past.commits[14][:7]
        assert fix["head"]["ref"] == f"fix/bisect-{culprit}-{identity[-4:]}"
        assert artifact["ref"] == "playbooks/records"
        assert await alice.file(artifact["path"], artifact["ref"])
        [incident] = await alice.issues(labels="incident")
        [address] = re.findall(r"!\[[^]]*\]\((http[^)]+)\)", incident["body"])
        # As GitHub's proxy does: without any login.
        async with aiohttp.ClientSession() as anybody, anybody.get(address) as response:
            assert response.content_type == "image/svg+xml"
            assert past.commits[14][:7] in await response.text()
    await lane.close()
