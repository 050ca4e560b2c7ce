"""Bisects in bad conditions: silent runners, caps, rewritten branches, renamed checks, length.

Whatever happens, nobody is blamed wrongly, and what was learnt is kept: `/retry` goes on from it.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from bot.app import Bot
from bot.playbooks.bisect.finding import replay
from fakegithub.changes import pushes
from fakegithub.git.bare import Signature
from tests.playbooks.bisect.bisecting import (
    CONFIG,
    GOOD_TRIAL,
    History,
    committed,
    dispatched,
    fixes,
    hidden_refs,
    history,
    measured,
    running,
    tried,
)
from tests.shop import Clock, Shop

WORKFLOW = ".github/workflows/playbooks-trial.yml"
MANY = 10_000
SLOW_TRIAL = "test ! -e file-6.txt || sleep 1; test ! -e bug"


async def configured(shop: Shop, past: History, settings: str) -> None:
    """Main's configuration has these settings of a bisect besides; nothing is tested for it."""
    verdicts, shop.verdicts = shop.verdicts, {}
    await shop.alice.push("main", {".github/playbooks.yml": CONFIG + settings}, "Configure")
    past.commits.append(await shop.alice.head("main"))
    await past.says_ci_on_the_end("failure")
    shop.verdicts = verdicts


def force_push(shop: Shop, sha: str) -> None:
    """Somebody rewrites main; CI does not report on it."""
    shop.verdicts = {}
    pushes.push(shop.github.world, shop.repository, "refs/heads/main", sha, shop.repository.owner)


@pytest.mark.thorough
async def test_a_runner_that_never_answers_is_given_up_and_asked_again_after_a_retry(
    shop: Shop, clock: Clock
) -> None:
    past = await history(shop, 8, 5, trial="sleep 600")
    await configured(shop, past, "  trial_minutes: 5\n")
    issue, _ = await past.bisected()

    async def paused_or_running() -> str | None:
        said = await shop.from_bot(issue)
        if any(body.startswith("**Comment `/retry`") for body in said):
            return "paused"
        return "running" if await running(shop) else None

    while await shop.eventually(paused_or_running) != "paused":
        clock.forward(minutes=6)
        await shop.looked_again()
    assert await running(shop) == []
    given_up = dispatched(shop)
    assert {run.conclusion for run in given_up} == {"cancelled"}
    assert len(given_up) <= 14
    assert await fixes(shop) == []
    whole = (await shop.alice.file(WORKFLOW) or "").replace("sleep 600", GOOD_TRIAL)
    shop.verdicts = {}
    await shop.alice.push("main", {WORKFLOW: whole}, "Mend the trial")
    assert await (await shop.says(issue, "/retry")).reaction() == "+1"
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[5][:7]} "Change 5"'
    measured(f"{len(given_up)} silent trials were cancelled before a person was asked")


@pytest.mark.thorough
async def test_at_a_cap_it_reports_and_a_retry_goes_on_with_what_was_learnt(shop: Shop) -> None:
    past = await history(shop, 30, 17)
    await configured(shop, past, "  trials: 6\n")
    issue, _ = await past.bisected()
    asked: list[int] = []

    async def stopped() -> bool:
        comments = [body for body in await shop.from_bot(issue) if not body.startswith("**")]
        said = [body for body in comments if "Comment `/retry`" in body]
        return len(said) > len(asked) or bool(await fixes(shop))

    while await shop.eventually(stopped) and not await fixes(shop):
        asked.append(len(dispatched(shop)))
        assert await (await shop.says(issue, "/retry")).reaction() == "+1"
    assert asked[0] == 6
    assert all(later - earlier <= 6 for earlier, later in pairwise(asked))
    [fix] = await fixes(shop)
    assert fix["title"] == f'Revert {past.commits[17][:7]} "Change 17"'
    text = await committed(shop, fix, "bisect")
    assert replay(text.encode()) == text.encode()
    report = json.loads(text)
    # One search from its first trial to its last: the retries added to it.
    assert [each["name"] for each in report["trials"][:6]] == ["1", "2", "3", "4", "5", "6"]
    assert len(report["trials"]) == len(dispatched(shop))
    measured(f"paused after {asked} trials; {len(dispatched(shop))} in all")


@pytest.mark.thorough
async def test_when_its_minutes_are_over_it_reports_and_a_retry_goes_on(
    shop: Shop, clock: Clock
) -> None:
    past = await history(shop, 6, 4, trial=SLOW_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, _ = await past.bisected()
    await shop.eventually(lambda: running(shop))
    clock.forward(minutes=121)
    assert "minutes of this search are over" in await shop.standing(issue, "Comment `/retry`")
    assert await running(shop) == []
    await shop.says(issue, "/retry")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'


@pytest.mark.thorough
async def test_a_culprit_that_a_force_push_took_away_meanwhile_needs_no_fix(shop: Shop) -> None:
    past = await history(shop, 6, 4, trial=SLOW_TRIAL)
    await past.says_ci_on_the_end("failure")
    issue, answer = await past.bisected()
    await shop.eventually(lambda: running(shop))
    force_push(shop, past.commits[3])
    assert await answer.reaction() == "+1"
    assert "its change is not on `main` any more" in (await shop.from_bot(issue))[-1]
    assert await fixes(shop) == []
    assert hidden_refs(shop) == []


@pytest.mark.thorough
async def test_a_culprit_that_a_force_push_carried_along_is_reverted_where_it_is_now(
    shop: Shop,
) -> None:
    past = await history(shop, 6, 4, trial=SLOW_TRIAL)
    await past.says_ci_on_the_end("failure")
    await past.bisected()
    await shop.eventually(lambda: running(shop))
    git = shop.repository.git
    who = Signature("Bob", "bob@example.com", shop.github.world.now())
    squashed = git.write_commit(git.commit(past.commits[-1]).tree, [past.commits[0]], "All\n", who)
    force_push(shop, squashed)
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[4][:7]} "Change 4"'
    assert await shop.alice.file("bug", fix["head"]["ref"]) is None
    assert await shop.alice.file("file-6.txt", fix["head"]["ref"])


@pytest.mark.thorough
async def test_a_check_renamed_in_the_middle_of_the_range_blames_not_the_renaming(
    shop: Shop,
) -> None:
    past = await history(shop, 20, 8, trial=None)
    old, new = History(shop, past.commits[:13]), History(shop, past.commits[13:])
    await old.says_ci(8, name="smoke", twice=True)
    await new.says_ci(0, name="smoke tests", twice=True)
    issue, _ = await past.bisected(f"/bisect {past.commits[0]}..main check smoke tests")
    said = await shop.standing(issue, "I cannot try commits here")
    assert await fixes(shop) == []
    # Nothing is known under the new name before: any of these it can be.
    for number in range(1, 14):
        assert past.commits[number][:7] in said or "more" in said


@pytest.mark.thorough
async def test_with_trials_a_renamed_check_is_no_hindrance(shop: Shop) -> None:
    past = await history(shop, 20, 8)
    old, new = History(shop, past.commits[:13]), History(shop, past.commits[13:])
    await old.says_ci(8, name="old smoke", twice=True)
    await new.says_ci(0, name="smoke", twice=True)
    await past.bisected(f"/bisect {past.commits[0]}..main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[8][:7]} "Change 8"'
    # What is known above the renaming needs no trial but the ends.
    assert not set(tried(shop)) & set(past.commits[14:-1])


@pytest.mark.thorough
async def test_ten_thousand_commits_are_planned_in_few_requests(shop: Shop, bot: Bot) -> None:
    first = await shop.alice.push("main", {"start.txt": "here\n"}, "Begin")
    git = shop.repository.git
    lines = []
    for number in range(1, MANY + 1):
        message = f"Change {number}\n"
        lines.append(
            f"commit refs/heads/main\nmark :{number}\n"
            f"committer Bob <bob@example.com> {1_700_000_000 + number} +0000\n"
            f"data {len(message)}\n{message}"
            + (f"from {first}\n" if number == 1 else "")
            + f"M 100644 inline counter\ndata {len(str(number))}\n{number}\n"
        )
    git.run("fast-import", "--quiet", data="".join(lines).encode())
    commits = [first, *git.rev_list("--reverse", f"{first}..main")]
    assert len(commits) == MANY + 1
    git.commits(commits)  # Read at once what would be read one by one.
    past = History(shop, commits)
    await past.says_ci_on_the_end("failure")
    await shop.alone()
    before = bot.github.requests.by_route("bisect")
    issue, _ = await past.bisected(f"/bisect {first}..main check smoke")
    await shop.standing(issue, "I cannot try commits here")
    after = bot.github.requests.by_route("bisect")
    spent = sum(after.values()) - sum(before.values())
    assert spent < 60
    measured(f"{MANY} commits: {spent} requests until a person was asked")


@pytest.mark.thorough
async def test_a_retry_after_a_failed_step_uses_the_trials_that_were_made(shop: Shop) -> None:
    past = await history(shop, 12, 7)
    await past.says_ci_on_the_end("failure")
    installation = shop.installation()
    installation.permissions["pull_requests"] = "read"
    shop.forget_tokens()
    issue, answer = await past.bisected()
    assert await answer.reaction() == "confused"
    installation.permissions = dict(installation.app.permissions)
    shop.forget_tokens()
    before = len(dispatched(shop))
    await shop.says(issue, "/retry")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert fix["title"] == f'Revert {past.commits[7][:7]} "Change 7"'
    again = dispatched(shop)[before:]
    searched = {run.cause.inputs["sha"] for run in again if not _verifies(run)}
    # Only the ends, since what was mended may have changed them, and the fresh runs.
    assert searched <= {past.commits[0], past.commits[-1]}
    assert any(_verifies(run) for run in again)
    report = json.loads(
        await shop.alice.file(
            f"apps/orchestrator/orchestrator/incidents/bisect-{await shop.incident_of(fix)}.json",
            fix["head"]["ref"],
        )
        or ""
    )
    assert len([each for each in report["trials"] if each["name"].endswith("@1")]) == before
    assert len(await shop.incidents()) == 1
    assert hidden_refs(shop) == []
    measured(f"{before} trials were made before the step failed, {len(again)} after the retry")


def _verifies(run: Any) -> bool:
    return "-v" in run.cause.inputs["trial_id"]


@pytest.mark.thorough
async def test_checking_the_suspect_counts_in_the_budget(shop: Shop) -> None:
    past = await history(shop, 4, 2)
    await configured(shop, past, "  trials: 20\n")
    issue, _ = await past.bisected()
    said = await shop.standing(issue, "The check of the suspect takes")
    assert "Comment `/retry`" in said
    spent = len(dispatched(shop))
    assert spent <= 20
    assert not any(_verifies(run) for run in dispatched(shop))
    await shop.says(issue, "/retry")
    [fix] = await shop.eventually(lambda: fixes(shop))
    report = json.loads(await committed(shop, fix, "bisect"))
    made = sum(each["passed"] + each["failed"] for each in report["verification"]["runs"])
    assert made > 20 - spent
