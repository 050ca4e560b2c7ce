"""Names of checks and refs as git and GitHub allow them: typed as they are shown, echoed whole."""

from __future__ import annotations

import pytest

from fakegithub.world.model import Protection
from tests.playbooks.bisect.bisecting import fixes, history
from tests.shop import Shop

MATRIX = "test (ubuntu-latest, 3.11)"


@pytest.mark.thorough
@pytest.mark.sampled("test (ubuntu-latest, 3.11)")
@pytest.mark.parametrize(
    "typed",
    [
        MATRIX,
        f"`{MATRIX}` because it fails since Monday",
        f"CI / {MATRIX} (push)",
        "Test (Ubuntu-latest, 3.11)",
    ],
)
async def test_a_check_is_named_as_github_shows_it(shop: Shop, typed: str) -> None:
    past = await history(shop, 20, 14, trial=None)
    await past.says_ci(14, twice=True, name=MATRIX)
    await past.says_ci(2, twice=True, name="test (ubuntu-latest, 3.12)")
    await past.bisected(f"/bisect {past.commits[0]}..main check {typed}")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert past.commits[14][:7] in fix["title"]
    [incident] = await shop.incidents()
    assert MATRIX in incident["title"]


async def test_a_name_that_no_check_has_is_answered_with_those_that_can_be_copied(
    shop: Shop,
) -> None:
    past = await history(shop, 4, 2, trial=None)
    await past.says_ci(2, twice=True, name=MATRIX)
    issue, _ = await past.bisected(f"/bisect {past.commits[0]}..main check test (macos, 3.11)")
    words = "No check named `test (macos, 3.11)` has reported on the bad end."
    [said] = await shop.told(issue, words, times=1)
    assert f"Reported there: `{MATRIX}`." in said


@pytest.mark.sampled("HEAD~20-main~0")
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("release@2", "main"),
        ("refs/tags/release@2", "refs/heads/main"),
        ("tags/release@2", "HEAD"),
        ("HEAD~20", "main~0"),
        ("release@2^0", "origin/main"),
        ("v1,beta'(#3)", "main,"),
        ("20240101", "@"),
    ],
)
async def test_ends_are_named_by_gits_own_rules(shop: Shop, good: str, bad: str) -> None:
    past = await history(shop, 20, 14, trial=None)
    await past.says_ci(14, twice=True)
    for tag in ("release@2", "v1,beta'(#3)", "20240101"):
        await shop.alice.post("git/refs", ref=f"refs/tags/{tag}", sha=past.commits[0])
    await past.bisected(f"/bisect {good}..{bad} check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert past.commits[14][:7] in fix["title"]


@pytest.mark.thorough
async def test_a_name_of_both_a_branch_and_a_tag_is_asked_about(shop: Shop) -> None:
    past = await history(shop, 20, 14, trial=None)
    await past.says_ci(14, twice=True)
    await shop.alice.post("git/refs", ref="refs/tags/main", sha=past.commits[0])
    issue, _ = await past.bisected(f"/bisect {past.commits[0]}..main check smoke")
    [said] = await shop.told(issue, "`main` is both a branch and a tag.", times=1)
    assert "`refs/heads/main` or `refs/tags/main`" in said
    issue, _ = await past.bisected("/bisect refs/tags/main..refs/heads/main check smoke")
    [fix] = await shop.eventually(lambda: fixes(shop))
    assert past.commits[14][:7] in fix["title"]


async def test_steps_that_lead_beyond_the_first_commit_are_said(shop: Shop) -> None:
    past = await history(shop, 3, 2, trial=None)
    await past.says_ci(2, twice=True)
    issue, _ = await past.bisected("/bisect main~99..main check smoke")
    await shop.told(issue, "`main` has no commit `~99` before it.", times=1)


@pytest.mark.thorough
async def test_a_label_bisects_the_branch_of_its_pull_request_whatever_its_name(
    shop: Shop,
) -> None:
    await history(shop, 2, 0, trial=None)
    shop.verdicts = {}
    commits = [
        await shop.alice.push("release@2", {f"release-{number}": "x\n"}, f"Change {number}")
        for number in range(4)
    ]
    shop.github.protect(shop.repository, "release@2", Protection())
    for number, sha in enumerate(commits):
        await shop.alice.set_status(sha, "failure" if number > 1 else "success", "smoke")
    number = await shop.alice.open_pull_request(
        "Wait", {"w": "x\n"}, branch="wait", base="release@2"
    )
    await shop.alice.label(number, "playbook:bisect")

    async def begun() -> list[str]:
        # What keeps GitHub from taking it for a mention has no width, and is dropped on reading.
        titles = [each["title"].replace("\u200b", "") for each in await shop.incidents()]
        return [title for title in titles if "release@2" in title]

    await shop.eventually(begun)


async def test_a_branch_is_searched_up_to_what_somebody_made_not_to_our_records(
    shop: Shop,
) -> None:
    """No check runs on the commit that records an outcome, which is the newest after a revert."""
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    hotfix = await shop.merged_hotfix()
    assert "Done" in await shop.final_word(broken)
    newest = shop.repository.git.ref("refs/heads/main")
    assert newest != hotfix["merge_commit_sha"]
    # The shop's CI reads no `[skip ci]`.
    for number, run in [*shop.repository.check_runs.items()]:
        if run.head_sha == newest:
            del shop.repository.check_runs[number]
    shop.repository.statuses[:] = [e for e in shop.repository.statuses if e.sha != newest]
    await shop.says(broken, "/bisect ..main check lint")
    [said] = await shop.told(broken, "No check named `lint` has reported on the bad end.", times=1)
    assert "Reported there: `smoke`." in said
