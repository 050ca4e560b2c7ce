"""Where commits are tried: by today's workflow laid over old commits, or in the bot's sandbox."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from bot.records import bisects
from fakegithub.faults.request_faults import Slow
from fakegithub.server import DemoGitHub
from tests.chaos.lane import Lane
from tests.playbooks.bisect.bisecting import (
    CONFIG,
    GOOD_TRIAL,
    TRIAL,
    bare_shop,
    committed,
    dispatched,
    fixes,
    hidden_refs,
    history,
    running,
    tried,
)
from tests.shop import Shop

WORKFLOW = ".github/workflows/playbooks-trial.yml"
NEEDS_TODAY = f"test -e {WORKFLOW} && test ! -e bug"
"""Fails everywhere unless today's workflow is there."""


def added_at_the_end(count: int, command: str) -> dict[int, dict[str, str | None]]:
    workflow = TRIAL.replace("COMMAND", command)
    return {count: {WORKFLOW: workflow, ".github/playbooks.yml": CONFIG}}


def may_write_workflows(shop: Shop) -> None:
    shop.installation().permissions["workflows"] = "write"
    shop.forget_tokens()


@pytest.mark.thorough
async def test_commits_older_than_the_workflow_are_tried_with_todays(shop: Shop) -> None:
    may_write_workflows(shop)
    more = added_at_the_end(10, NEEDS_TODAY)
    past = await history(shop, 10, 7, trial=None, more=more)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    git = shop.repository.git
    laid_over = set(tried(shop)) - set(past.commits)
    parents = {git.commit(sha).parents[0] for sha in laid_over}
    assert past.commits[7] in parents
    assert past.commits[6] in parents
    assert hidden_refs(shop) == []


@pytest.mark.thorough
async def test_an_older_release_of_ghes_tries_commits_by_workflow_as_well(shop: Shop) -> None:
    """It refuses to say which run a dispatch began, so each is found by its trial."""
    shop.repository.ghes = (3, 18)
    asked = shop.github.faults.add(
        Slow(0), method="POST", path=f"{shop.repository.name}/.*/dispatches$", times=None
    )
    past = await history(shop, 10, 7)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    report = json.loads(await committed(shop, fix, "bisect"))
    assert report["finding"]["culprit"] == past.commits[7]
    # Each trial is one run; the first was refused, unless the bot had met such a release before.
    trials = [run.cause.inputs["trial_id"] for run in dispatched(shop)]
    assert len(trials) == len(set(trials)) > 0
    assert asked.fired - len(trials) in (0, 1)


@pytest.mark.thorough
async def test_todays_files_go_away_when_it_is_cancelled(shop: Shop) -> None:
    may_write_workflows(shop)
    past = await history(
        shop, 16, 7, trial=None, more=added_at_the_end(16, f"sleep 1.5; {NEEDS_TODAY}")
    )
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()

    async def shown() -> bool:
        return bool(hidden_refs(shop)) and bool(await running(shop))

    await shop.eventually(shown)
    await shop.says(issue, "/cancel")
    assert await answer.reaction() == "confused"
    assert hidden_refs(shop) == []


@pytest.mark.thorough
async def test_without_the_permission_old_commits_are_tried_as_they_are(shop: Shop) -> None:
    past = await history(shop, 8, 5, trial=None, more=added_at_the_end(8, GOOD_TRIAL))
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.standing(issue, "needs the permission `workflows: write`")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[5][:7]} "Change 5"'
    assert set(past.commits) >= set(tried(shop)[:4])


@pytest.mark.thorough
async def test_killed_with_todays_files_laid_over_it_leaves_none(
    github: DemoGitHub, tmp_path: Path
) -> None:
    lane = Lane(github, tmp_path)
    lane.installation.permissions["workflows"] = "write"
    repository = lane.repository()
    async with lane.person(repository) as alice:
        shop = bare_shop(github, repository, alice)
        past = await history(
            shop, 8, 5, trial=None, more=added_at_the_end(8, f"sleep 0.7; {NEEDS_TODAY}")
        )
        await past.says_ci_on_the_end("failure")
        # What a search that never came to its end may have left.
        left = "refs/playbooks/bisect/01kjx0000000000000000000aa/abc"
        repository.git.update_ref(left, past.commits[3])
        await lane.start()
        await lane.approved(repository, CONFIG)
        issue = await alice.open_issue("main is red")
        await alice.comment(issue, f"/bisect {past.commits[0]}..main check smoke")

        async def shown() -> bool:
            return len(hidden_refs(shop)) > 1 and bool(await running(shop))

        await shop.eventually(shown)
        await lane.life.kill()
        await lane.start()
        [fix] = await shop.eventually(lambda: fixes(shop))
        assert fix["title"] == f'Revert {past.commits[5][:7]} "Change 5"'
        assert hidden_refs(shop) == []
    await lane.close()


def in_the_sandbox(smoke: Sequence[str]) -> dict[int, dict[str, str | None]]:
    settings = {
        "runner": "sandbox",
        "parallel": 2,
        "commands": {"build": ["sh", "-c", "test ! -e broken-build"], "smoke": list(smoke)},
    }
    return {1: {".github/playbooks.yml": json.dumps({"bisect": settings})}}


def shell(command: str) -> Sequence[str]:
    return ("sh", "-c", command)


needs_bubblewrap = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)


@needs_bubblewrap
async def test_the_servers_sandbox_finds_it_and_records_what_was_measured(shop: Shop) -> None:
    measure = 'echo "{\\"metrics\\": {\\"files\\": $(ls | wc -l)}}" > $PLAYBOOKS_RESULT'
    more = in_the_sandbox(shell(f"{measure}; test ! -e bug"))
    more |= {2: {"broken-build": "x"}, 3: {"broken-build": None}}
    past = await history(shop, 6, 4, trial=None, more=more)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'
    assert dispatched(shop) == []
    assert hidden_refs(shop) == []
    report = json.loads(await committed(shop, fix, "bisect"))
    assert report["verification"]["boundary"] == "confirmed"
    assert report["verification"]["revert"] == "confirmed"
    assert all(each["metrics"] for each in report["trials"] if each["outcome"] == "fail")


@pytest.mark.thorough
@needs_bubblewrap
@pytest.mark.parametrize(
    ("odd", "tries"), [("kill -9 $$", 3), ("echo oops > $PLAYBOOKS_RESULT", 1), ("exit 125", 1)]
)
async def test_the_servers_sandbox_follows_a_number_past_a_commit_without_one(
    odd: str, tries: int, shop: Shop
) -> None:
    say = '{\\"metrics\\": {\\"latency\\": $((level + RANDOM % 17))}}'
    measure = f'level=100; test -e bug && level=160; echo "{say}" > $PLAYBOOKS_RESULT'
    more = in_the_sandbox(["bash", "-c", f"test -e odd && {{ {odd}; exit; }}; {measure}"])
    more |= {6: {"odd": "x"}, 7: {"odd": None}}
    past = await history(shop, 12, 7, trial=None, more=more)
    ask = f"/bisect {past.commits[0][:12]}..main numeric latency:higher"
    issue, _ = await past.bisected(ask)
    said = await shop.standing(issue, "no trial tells which")
    assert all(f"[`{sha[:7]}`]" in said for sha in past.commits[6:8])
    run = await shop.last_run()
    assert run
    async with shop.bot.read_only.connect() as conn:
        shown = await bisects.progress_of(conn, run.id)
    assert shown
    assert sum(each.sha == past.commits[6] for each in shown.trials) == tries
    await shop.says(issue, f"/revert {past.commits[7]}")
    assert (await shop.hotfix())["title"].startswith("Revert")


@pytest.mark.thorough
@needs_bubblewrap
async def test_nothing_of_the_bot_can_be_seen_in_its_sandbox(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_PRIVATE_KEY", "hunter2")
    key = shop.bot.settings.playbooks_data / "signing-key.pem"
    assert key.is_file()
    # Whoever sees anything of it fails: then every commit would be bad, and the good end too.
    spies = f"env | grep -q hunter2 && exit 1; cat {key} && exit 1; ls {key.parent} && exit 1"
    more = in_the_sandbox(shell(f"{spies}; test ! -e bug"))
    past = await history(shop, 12, 4, trial=None, more=more)
    # CI knows the culprit already: in the sandbox it is only confirmed.
    await past.says_ci(4, twice=True)
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'
    report = json.loads(await committed(shop, fix, "bisect"))
    assert report["verification"]["boundary"] == "confirmed"
    assert not list((shop.bot.settings.playbooks_data / "trials").iterdir())


@pytest.mark.thorough
async def test_a_server_where_nothing_can_be_confined_says_so(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for program in ("git", "nice", "rm", "sh"):
        (tmp_path / program).symlink_to(cast(str, shutil.which(program)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shop.bot.pool, "_works", None)
    assert os.environ["PATH"] == str(tmp_path)
    past = await history(shop, 6, 4, trial=None, more=in_the_sandbox(shell("test ! -e bug")))
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "I cannot try commits here: set `bisect.workflow`")
    assert "bubblewrap is not installed" in said
    assert "sandbox" not in said.splitlines()[0]
    assert "`/retry`" in said.splitlines()[0]


@pytest.mark.thorough
@needs_bubblewrap
async def test_killed_while_commits_are_tried_in_the_sandbox_it_goes_on(
    github: DemoGitHub, tmp_path: Path
) -> None:
    lane = Lane(github, tmp_path)
    repository = lane.repository()
    async with lane.person(repository) as alice:
        shop = bare_shop(github, repository, alice)
        more = in_the_sandbox(shell("sleep 0.5; test ! -e bug"))
        past = await history(shop, 12, 4, trial=None, more=more)
        await past.says_ci(4, twice=True)
        await lane.start()
        await lane.approved(repository, more[1][".github/playbooks.yml"] or "")
        issue = await alice.open_issue("main is red")
        await alice.comment(issue, f"/bisect {past.commits[0]}..main check smoke")
        folder = lane.data / "trials"

        async def at_work() -> bool:
            return folder.is_dir() and any(folder.glob("*/worker-*/scratch"))

        await shop.eventually(at_work)
        await lane.life.kill()
        await lane.start()
        [fix] = await shop.eventually(lambda: fixes(shop))
        assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'
        assert not list(folder.iterdir())
    await lane.close()
