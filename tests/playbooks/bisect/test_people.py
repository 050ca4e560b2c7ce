"""Bisect and the people around it: their word on commits, their mistakes, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from bot.engine.durable_run import DurableRun
from bot.playbooks.steps import Patch
from fakegithub.changes import checks
from tests.playbooks.bisect.bisecting import (
    GOOD_TRIAL,
    TRIAL,
    UNHURRIED_TRIAL,
    committed,
    dispatched,
    fixes,
    hidden_refs,
    history,
    running,
    tried,
)
from tests.shop import Shop


@pytest.mark.thorough
async def test_skipped_commits_are_never_tried(shop: Shop) -> None:
    past = await history(shop, 12, 6, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.eventually(lambda: running(shop))
    skipped = [past.commits[number] for number in (3, 8)]
    said = await shop.says(issue, "\n".join(f"/skip {sha[:10]}" for sha in skipped))
    assert await said.reaction() == "+1"
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[6][:7]} "Change 6"'
    assert not set(skipped) & set(tried(shop))


@pytest.mark.thorough
async def test_the_word_of_two_people_decides_without_any_trial(shop: Shop) -> None:
    past = await history(shop, 8, 5, trial=None)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()

    async def asked() -> bool:
        return any("I cannot try commits here" in said for said in await shop.from_bot(issue))

    await shop.eventually(asked)
    words = f"/good {past.commits[4]}\n/bad {past.commits[5]}\n/bad {past.commits[8]}"
    for said in (words, words, words):
        assert await (await shop.says(issue, said)).reaction() == "+1"
    await asyncio.sleep(3)
    # One person errs once in a thousand, however often they say it: not quite enough to act upon.
    assert await fixes(shop) == []
    await shop.says(issue, words, shop.bob)
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[5][:7]} "Change 5"'
    assert dispatched(shop) == []


@pytest.mark.thorough
async def test_a_suspect_that_fresh_runs_contradict_is_not_blamed_and_a_retry_leads_on(
    shop: Shop,
) -> None:
    # The workflow lies about the fresh runs, whose names begin with a v.
    lies = 'case "${{ inputs.trial_id }}" in *-v[0-9]*) ;; *) test ! -e bug ;; esac'
    past = await history(shop, 6, 4, trial=lies)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "the search names it, but fresh runs contradict it")
    assert said.startswith(f"**Look at [`{past.commits[4][:7]}`]")
    assert "That is not enough to blame anybody." in said
    mended = {".github/workflows/playbooks-trial.yml": TRIAL.replace("COMMAND", GOOD_TRIAL)}
    shop.verdicts = {"smoke": "failure"}
    await shop.alice.push("main", mended, "Try commits truly")
    await shop.says(issue, "/retry")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'


@pytest.mark.parametrize("begun", ["now", pytest.param("before", marks=pytest.mark.thorough)])
async def test_a_fresh_run_that_fails_by_chance_costs_runs_of_that_commit_alone(
    begun: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = DurableRun.patched
    if begun == "before":
        monkeypatch.setattr(
            DurableRun,
            "patched",
            lambda run, change: change is not Patch.ONLY_WHAT_IS_OPEN and patched(run, change),
        )
    # Of the parent (it has no file-4.txt) the first fresh run fails, whose name begins with a v.
    lied = tmp_path / "lied"
    by_chance = (
        'case "${{ inputs.trial_id }}" in *-v[0-9]*) test -e file-4.txt -o ! -e file-3.txt '
        f"-o -e {lied} || {{ touch {lied}; exit 1; }} ;; esac; test ! -e bug"
    )
    past = await history(shop, 6, 4, trial=by_chance)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'
    fresh = [r for r in dispatched(shop) if "-v" in r.cause.inputs["trial_id"]]
    runs = Counter(run.cause.inputs["sha"] for run in fresh)
    culprit, parent = (runs.pop(past.commits[number]) for number in (4, 3))
    [reverted] = runs.values()
    assert culprit == reverted
    assert (parent > culprit) is (begun == "now")


@pytest.mark.thorough
async def test_a_revert_that_cannot_be_run_costs_no_runs_of_the_others(shop: Shop) -> None:
    # The bad end with the culprit reverted has file-6.txt, but no file-4.txt: it does not build.
    builds = TRIAL.replace("test ! -e broken-build", "test -e file-4.txt -o ! -e file-6.txt")
    workflow = {".github/workflows/playbooks-trial.yml": builds.replace("COMMAND", GOOD_TRIAL)}
    past = await history(shop, 6, 4, more={1: workflow})
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    report = json.loads(await committed(shop, fix, "bisect"))
    assert report["verification"]["boundary"] == "confirmed"
    assert report["verification"]["revert"] == "undecided"
    fresh = [r for r in dispatched(shop) if "-v" in r.cause.inputs["trial_id"]]
    runs = Counter(run.cause.inputs["sha"] for run in fresh)
    culprit, parent = (runs.pop(past.commits[number]) for number in (4, 3))
    [reverted] = runs.values()
    assert culprit == parent < reverted <= parent + 3


@pytest.mark.thorough
async def test_a_bad_end_that_passes_is_nobodys_fault(shop: Shop) -> None:
    past = await history(shop, 10, 0)
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()
    assert await answer.reaction() == "+1"
    assert await fixes(shop) == []
    last = (await shop.from_bot(issue))[-1]
    assert last.startswith("@alice Done: no commit is to blame; the bad end passes `smoke`")
    [incident] = await shop.incidents()
    assert incident["state"] == "closed"


@pytest.mark.thorough
async def test_a_good_end_that_fails_asks_for_an_older_one(shop: Shop) -> None:
    past = await history(shop, 10, 2)
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected(f"/bisect {past.commits[5]}..main check smoke")
    assert await answer.reaction() == "+1"
    assert await fixes(shop) == []
    assert "Name an older good end" in (await shop.from_bot(issue))[-1]
    # "`/bisect OLDER..…`": the end that failed is not forgotten.
    again = await shop.alice.open_issue("main is still red")
    await shop.says(again, f"/bisect {past.commits[0]}..main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[2][:7]} "Change 2"'


@pytest.mark.thorough
async def test_where_it_never_passed_it_is_mended_and_the_commit_that_passes_is_named(
    shop: Shop,
) -> None:
    past = await history(shop, 2, 0, trial="test -e works")
    await past.says_ci_on_the_end("failure")
    issue = await shop.alice.open_issue("main is red")
    await shop.says(issue, "/bisect ..main check smoke")
    [said] = await shop.told(issue, "Stopped: no commit before", times=1)
    assert "fix it with a new change" in said
    shop.verdicts = {"smoke": "success"}
    mended = await shop.alice.push("main", {"works": "yes\n"}, "Mend it")
    shop.verdicts = {"smoke": "failure"}
    guilty = await shop.alice.push("main", {"works": None}, "Break it")
    again = await shop.alice.open_issue("main is red again")
    await shop.says(again, f"/bisect {mended}..main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {guilty[:7]} "Break it"'


@pytest.mark.thorough
async def test_without_a_good_end_the_last_green_commit_is_taken(shop: Shop) -> None:
    past = await history(shop, 20, 14, trial=None)
    await past.says_ci(14, twice=True)
    await past.bisected("/bisect ..main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[14][:7]} "Change 14"'


@pytest.mark.thorough
async def test_without_any_green_commit_it_goes_back_by_doubling(shop: Shop) -> None:
    past = await history(shop, 9, 3)
    await past.says_ci_on_the_end("failure")
    await past.bisected("/bisect ..main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[3][:7]} "Change 3"'


@pytest.mark.thorough
async def test_commits_that_do_not_build_are_no_evidence(shop: Shop) -> None:
    breaks: dict[int, dict[str, str | None]] = {
        5: {"broken-build": "x"}, 9: {"broken-build": None},
    }  # fmt: skip
    past = await history(shop, 20, 14, more=breaks)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[14][:7]} "Change 14"'


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("/bisect {9}..{2}", "The ends are the wrong way round"),
        ("/bisect {4}..{4}", "are the same commit: nothing lies between"),
        ("/bisect {0}..nowhere", "There is no commit, branch or tag `nowhere`"),
        ("/bisect {0}..main check lint", "No check named `lint` has reported on the bad end"),
        ("/bisect {0}..side", "is neither on `main` nor on a protected branch"),
        ("/bisect side..main", "is not an ancestor of"),
        ("/bisect {0}..deadbeefdeadbeefdeadbeefdeadbeefdeadbeef", "commits of forks cannot"),
    ],
)
async def test_wrong_ends_are_named(shop: Shop, words: str, answer: str) -> None:
    past = await history(shop, 10, 5)
    await past.says_ci_on_the_end("failure")
    shop.verdicts = {}
    await shop.bob.push("side", {"side.txt": "x\n"}, "Aside", onto=past.commits[3])
    number = await shop.alice.open_issue("main is red")
    said = await shop.says(number, words.format(*past.commits))
    assert await said.reaction() == "confused"
    [refusal] = await shop.from_bot(number)
    assert answer in refusal
    assert await shop.incidents() == []


async def test_a_reader_may_not_bisect(shop: Shop) -> None:
    number = await shop.alice.open_issue("main is red")
    said = await shop.says(number, "/bisect ..main", shop.mallory)
    assert await said.reaction() == "confused"
    assert "needs write access" in (await shop.from_bot(number))[0]


async def test_several_failing_checks_ask_which_one(shop: Shop) -> None:
    past = await history(shop, 5, 3)
    await past.says_ci_on_the_end("failure", "unit")
    await past.says_ci_on_the_end("failure", "lint")
    number, said = await past.bisected(f"/bisect {past.commits[0]}..main")
    assert await said.reaction() == "confused"
    assert "2 checks fail on the bad end: `lint`, `unit`" in (await shop.from_bot(number))[0]


@pytest.mark.thorough
async def test_a_second_request_joins_the_first(shop: Shop) -> None:
    past = await history(shop, 12, 6, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    await shop.eventually(lambda: running(shop))
    number, said = await past.bisected()
    assert await said.reaction() == "+1"
    assert "already being searched for" in (await shop.from_bot(number))[0]
    assert len(await shop.incidents()) == 1


async def test_cancel_stops_every_trial_and_leaves_nothing(shop: Shop) -> None:
    past = await history(shop, 30, 12, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()

    async def several() -> bool:
        return len(await running(shop)) > 1

    await shop.eventually(several)
    # A person deletes one of the runs: the others are cancelled all the same.
    del shop.github.runner.runs[(await running(shop))[0].id]
    assert await (await shop.says(issue, "/cancel")).reaction() == "+1"
    assert await answer.reaction() == "confused"
    assert "by hand" not in (await shop.from_bot(issue))[-1]
    assert "success" not in {run.conclusion for run in dispatched(shop)[2:]}

    async def quiet() -> bool:
        return not await running(shop)

    await shop.eventually(quiet)
    assert hidden_refs(shop) == []
    assert await fixes(shop) == []
    assert "cancelled this bisect" in (await shop.from_bot(issue))[-1]


@pytest.mark.thorough
async def test_the_cancel_button_on_the_bad_end_finds_its_run(shop: Shop) -> None:
    past = await history(shop, 30, 12, trial=UNHURRIED_TRIAL)
    await past.says_ci_on_the_end("failure")
    _, answer = await past.bisected()
    await shop.eventually(lambda: running(shop))
    runs = shop.repository.check_runs.values()
    [ours] = [run for run in runs if run.name == "bisect"]
    assert [action["identifier"] for action in ours.actions] == ["cancel", "skip", "retry"]
    assert ours.head_sha == past.commits[-1]
    alice = shop.github.world.users["alice"]
    checks.press(shop.github.world, shop.repository, ours, "cancel", alice)
    assert await answer.reaction() == "confused"
    assert ours.conclusion == "neutral"


@pytest.mark.thorough
async def test_a_label_on_an_issue_starts_a_bisect_of_main(shop: Shop) -> None:
    past = await history(shop, 20, 14, trial=None)
    await past.says_ci(14, twice=True)
    number = await shop.alice.open_issue("main is red")
    await shop.alice.label(number, "playbook:bisect")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert past.commits[14][:7] in fix["title"]


@pytest.mark.thorough
async def test_the_culprits_pull_request_is_told_once_and_kindly(shop: Shop) -> None:
    past = await history(shop, 4, 0)
    shop.verdicts = {"smoke": "failure"}
    number = await shop.merged("Carry a bug", {"bug": "x\n"})
    await shop.alice.push("main", {"later.txt": "x\n"}, "Later")
    issue, _ = await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert #{number} "Carry a bug"'
    late = await shop.says(issue, f"/good {past.commits[-1][:9]}")
    assert await late.reaction() == "confused"
    assert f"The search is over: #{fix['number']} is its fix" in (await shop.from_bot(issue))[-1]

    async def told() -> list[str]:
        return await shop.from_bot(number)

    [comment] = await shop.eventually(told)
    assert f"#{fix['number']} would revert it" in comment
    assert "If you have a fix at hand, that is as good" in comment


@pytest.mark.thorough
async def test_a_revert_that_conflicts_is_a_draft_with_guidance(shop: Shop) -> None:
    over: dict[int, dict[str, str | None]] = {6: {"bug": "changed since\n"}}
    past = await history(shop, 8, 4, more=over)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["draft"]
    assert "`bug`" in fix["body"]
    assert '"culprit"' in await committed(shop, fix, "bisect")


@pytest.mark.thorough
async def test_what_ci_said_of_a_pull_request_counts_for_the_same_tree_merged(shop: Shop) -> None:
    past = await history(shop, 1, 0, trial=None)
    ci = shop.github.runner.app
    numbers = []
    for number in range(2, 14):
        shop.verdicts = {}
        opened = await shop.bob.open_pull_request(
            f"Change {number}", {"bug" if number == 8 else f"file-{number}": "x\n"},
            branch=f"change-{past.commits[0][:6]}-{number}",
        )  # fmt: skip
        head = (await shop.alice.pull_request(opened))["head"]["sha"]
        # CI ran on the pull requests only, and on main never.
        said = "failure" if number >= 8 else "success"
        checks.create(shop.github.world, shop.repository, ci, "smoke", head, {"conclusion": said})
        await shop.alice.set_status(head, said, "smoke")
        await shop.bob.merge(opened, "squash")
        numbers.append(opened)
    await past.says_ci_on_the_end("success")
    await shop.alice.set_status(await shop.alice.head("main"), "failure", "smoke")
    await past.bisected(f"/bisect {past.commits[0]}..main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert #{numbers[6]} "Change 8"'
    assert dispatched(shop) == []
    report = json.loads(await committed(shop, fix, "bisect"))
    assert report["known_results"] >= 24
