"""Who wrote the configuration: whoever pushed it, whatever its commits say, wherever it lies now.

A Founder who did does not approve it while there is another, on whatever page or button.
"""

from __future__ import annotations

from typing import Any

import pytest

from bot.github.models import Push
from bot.safety.founders import pushers_of
from demo.person import Person
from tests.safety.test_config_check import PATH, config_check, known, press_approve, proposed
from tests.safety.test_config_consent import FEWER, STILL_FEWER, answered, counts, digest
from tests.shop import Shop

A, B, C, OTHER = ("a" * 40, "b" * 40, "c" * 40, "0" * 40)


def push(by: str | None, before: str, after: str, kind: str = "push") -> Push:
    return Push(before=before, after=after, by=by, kind=kind)


@pytest.mark.parametrize(
    ("pushes", "wanted"),
    [
        ((push("alice", OTHER, A, "branch_creation"),), []),
        ((push("alice", OTHER, B, "branch_creation"),), ["alice"]),
        ((push("alice", A, B),), ["alice"]),
        ((push("alice", A, C),), ["alice"]),
        ((push("olivia", B, C), push("alice", A, B)), ["alice"]),
        # Upon what was rewritten since, a push may have brought anything.
        ((push("olivia", "d" * 40, C, "force_push"),), ["olivia"]),
        ((push("alice", A, "d" * 40),), []),
        ((push("olivia", A, C, "pr_merge"),), []),
        ((push(None, A, C),), []),
        ((), []),
    ],
)
def test_a_pusher_is_who_brought_a_commit(pushes: tuple[Push, ...], wanted: list[str]) -> None:
    assert pushers_of({B}, [A, B, C], pushes) == wanted


async def pushed_as(
    person: Person, author: str, branch: str, text: str, *, onto: str | None = None
) -> str:
    """Somebody pushes a version of the file under another name; its commit."""
    parent = onto or await person.head(branch)
    base = (await person.get(f"git/commits/{parent}"))["tree"]["sha"]
    entry = {"path": PATH, "mode": "100644", "type": "blob", "content": text}
    tree = await person.post("git/trees", base_tree=base, tree=[entry])
    who = {"name": author, "email": f"1+{author}@users.noreply.github.com"}
    commit = await person.post(
        "git/commits", message="As they wished", tree=tree["sha"], parents=[parent],
        author=who, committer=who,
    )  # fmt: skip
    if onto is None:
        await person.patch(f"git/refs/heads/{branch}", sha=commit["sha"])
    else:
        await person.post("git/refs", ref=f"refs/heads/{branch}", sha=commit["sha"])
    return str(commit["sha"])


async def two_founders(shop: Shop) -> None:
    """Alice is one besides olivia."""
    await known(shop)
    shop.github.set_collaborator(shop.repository, "alice", "admin")


async def refused(shop: Shop, number: int, words: str) -> None:
    reaction, said = await answered(shop, number, words, shop.alice)
    assert (reaction, "Nobody may approve what they wrote" in said) == ("confused", True), said


async def test_under_another_name_it_is_still_whose_push_it_was(shop: Shop) -> None:
    await two_founders(shop)
    number, _ = await proposed(shop, "fewer", "# Fewer\n")
    head = await pushed_as(shop.alice, "bob", "fewer", FEWER)
    await config_check(shop, head, "neutral")
    await refused(shop, number, f"/approve {digest(FEWER)}")
    assert (await answered(shop, number, f"/approve {digest(FEWER)}", shop.olivia))[0] == "+1"


async def test_what_was_pushed_later_is_not_approved_on_somebody_elses_page(shop: Shop) -> None:
    await two_founders(shop)
    number = await shop.merged("Fewer", {PATH: FEWER})
    await pushed_as(shop.alice, "bob", "main", STILL_FEWER)
    await refused(shop, number, f"/approve {digest(STILL_FEWER)}")
    assert (await counts(shop)).caps.reverts_a_day == 10


@pytest.mark.thorough
async def test_what_was_squashed_into_one_commit_has_all_its_writers(shop: Shop) -> None:
    await two_founders(shop)
    number, _ = await proposed(shop, "fewer", "# Fewer\n")
    await shop.alice.push("fewer", {PATH: FEWER}, "As bob wished")
    await shop.bob.merge(number, "squash")
    # The very same version is merged once more, by a pull request of bob's alone.
    other = await shop.merged("Nothing else", {PATH: FEWER + "# Twice\n"})
    await refused(shop, other, f"/approve {digest(FEWER)}")
    assert (await answered(shop, other, f"/approve {digest(FEWER)}", shop.olivia))[0] == "+1"


async def test_a_button_on_a_forks_commit_approves_nothing_on_the_default_branch(
    shop: Shop,
) -> None:
    await two_founders(shop)
    before = await shop.alice.head("main")
    await shop.alice.push("main", {PATH: FEWER}, "Fewer")
    async with await shop.mallory.fork() as fork:
        # The same file, upon the commit before, by somebody else as it seems.
        sha = await pushed_as(fork, "carol", "same", FEWER, onto=before)
        owner = fork.repository.partition("/")[0]
        await shop.mallory.post("pulls", title="Same", head=f"{owner}:same", base="main")
        run: Any = await config_check(shop, sha, "neutral")
    await press_approve(shop, run, "alice")
    await shop.looked_again()
    await shop.looked_again()
    assert (await counts(shop)).caps.reverts_a_day == 10
    on_main = await config_check(shop, await shop.alice.head("main"), "neutral")
    await press_approve(shop, on_main, "olivia")
    await config_check(shop, on_main["head_sha"], "success")
    assert (await counts(shop)).caps.reverts_a_day == 3
