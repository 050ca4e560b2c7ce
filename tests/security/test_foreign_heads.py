"""A head that we did not make is never merged, except on a yes to exactly that commit.

By somebody who had no part in it; by a Founder, where it changes what only a Founder may.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from bot.config import Config
from bot.engine.durable_run import DurableRun
from bot.github.models import ChangedFile, Commit, Push
from bot.playbooks.checks.green import CheckRow, CheckTally, Counting, State
from bot.playbooks.pull_request.decide import (
    AskPerson,
    DoubtApproval,
    MergeNow,
    MergeTerms,
    Move,
    next_move,
)
from bot.playbooks.pull_request.ownership import Against, Foreign, against, foreign, protected
from bot.playbooks.pull_request.snapshot import PullRequestSnapshot
from bot.playbooks.steps import Patch
from bot.records import pauses
from bot.records.pauses import PauseKind, Pausing
from bot.triggers import SELF_WORK
from demo.person import Person
from fakegithub.access.credentials import issue_token
from fakegithub.world.model import FakeUser
from tests.shop import BAD, GOOD, Shop

US = "playbooks[bot]"
OURS, X, Y, BASE = "a" * 40, "1" * 40, "2" * 40, "b" * 40
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
COUNTING = Counting(smoke=("smoke",), smoke_from="configured", evals=())
GREEN = CheckTally(
    verdict="green", rows=(CheckRow(name="smoke", kind="smoke", state=State.PASSED),)
)
RUNNING = CheckTally(
    verdict="waiting", rows=(CheckRow(name="smoke", kind="smoke", state=State.RUNNING),)
)
CONFIG = Config.model_validate({"founder": {"people": ["olivia"], "paths": ["db/migrations/**"]}})
PUSHERS = ("bob", "agent", "renovate[bot]", "alice")
PLACES = {"plain": "shop.py", "founder.paths": "db/migrations/7.sql"}
APPROVERS = ("the pusher", "carol", "alice", "olivia")
MOMENTS = (
    "before verification", "after green", "after the Founder was asked", "in a conflict",
    "between approve and merge",
)  # fmt: skip


def commit(sha: str = X, by: str | None = "bob", **facts: Any) -> Commit:
    made = {"sha": sha, "message": "Work", "tree": "t", "parents": (BASE,), "login": by}
    return Commit.model_validate({**made, "committer": by, **facts})


def ours(sha: str = OURS, **facts: Any) -> Commit:
    signed = {"message": "Revert\n\nPlaybooks-Step: 1/b", "verified": True}
    return commit(sha, US, **{**signed, **facts})


def pushed(*by: str | None, head: str = X) -> tuple[Push, ...]:
    """Who moved the branch, newest first."""
    return tuple(Push(after=head if n == 0 else OURS, by=who) for n, who in enumerate(by))


def move(
    moment: str, head: str, approved: tuple[DoubtApproval, ...], touched: tuple[str, ...]
) -> Move:
    view = PullRequestSnapshot(
        pull_request="open", draft=False, head=head, base_head=BASE, conflicts=False,
        tally=RUNNING if moment == "before verification" and not approved else GREEN,
        methods=("squash",),
        foreign=None if head == OURS else Foreign(head=head, makers=("bob",), irreversible=touched),
    )  # fmt: skip
    terms = MergeTerms(
        commit=OURS, base=BASE, counting=COUNTING, deadline=NOW + timedelta(hours=1),
        conflict=moment == "in a conflict", approved=approved,
        irreversible=("db/migrations/1.sql",) if "Founder" in moment else (),
    )  # fmt: skip
    return next_move(view, terms, NOW)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("place", PLACES)
def test_whoever_pushes_whenever_only_the_right_yes_to_that_commit_merges_it(
    moment: str, place: str
) -> None:
    """The whole table: who pushes, who approves; when and what are the parameters."""
    for pusher, approver in product(PUSHERS, APPROVERS):
        who = pusher if approver == "the pusher" else approver
        head = foreign(X, (ours(), commit(X, pusher)), pushed(pusher, US), US)
        assert head is not None
        touched = protected([ChangedFile(filename=PLACES[place], status="added")], CONFIG, {})
        head = head.model_copy(update={"irreversible": touched})
        for old in (
            (),
            (DoubtApproval(head=OURS, why="founder"),),
            (DoubtApproval(head=Y, why="foreign", names=touched),),
        ):
            assert move(moment, X, old, touched) == AskPerson(why="foreign", names=touched)

        said = against(who, X[:12], X, head, of=head.of, founders=("olivia",))
        wanted = None
        if who == pusher:
            wanted = Against.THEIR_OWN
        elif place == "founder.paths" and who != "olivia":
            wanted = Against.NO_FOUNDER
        assert said is wanted, (pusher, approver)
        yes = (DoubtApproval(head=X, why="foreign", names=touched),)
        assert move(moment, X, yes, touched) == MergeNow(head=X)
        # The next push voids it, and so does more that cannot be undone in what would be merged.
        assert move(moment, Y, yes, touched) == AskPerson(why="foreign", names=touched)
        more = (*touched, "db/migrations/8.sql")
        assert move(moment, X, yes, more) == AskPerson(why="foreign", names=more)


def test_a_yes_holds_for_the_branch_that_it_was_on_its_way_to() -> None:
    """Who may write may change where a pull request goes, and all that is merged with it."""
    yes = DoubtApproval(head=X, why="foreign", base="main")
    terms = MergeTerms(
        commit=OURS, base=BASE, counting=COUNTING, deadline=NOW + timedelta(hours=1),
        conflict=True, approved=(yes,),
    )  # fmt: skip
    view = PullRequestSnapshot(
        pull_request="open", draft=False, head=X, base_head=BASE, base_ref="main",
        conflicts=False, tally=GREEN, methods=("squash",), foreign=Foreign(head=X),
    )  # fmt: skip
    assert next_move(view, terms, NOW) == MergeNow(head=X)
    moved = view.model_copy(update={"base_ref": "production"})
    assert next_move(moved, terms, NOW) == AskPerson(why="foreign")
    # Runs that began before this was looked at go on as they began.
    old = terms.model_copy(update={"approved": (DoubtApproval(head=X, why="foreign"),)})
    assert next_move(moved, old, NOW) == MergeNow(head=X)


OWNERSHIP: dict[str, tuple[tuple[Commit, ...], tuple[Push, ...] | None, Foreign | None]] = {
    "all of it ours": ((ours(), ours(X)), None, None),
    "ours, signed by nobody, pushed by us alone": ((ours(X, verified=False),), pushed(US), None),
    "said to be ours, pushed by an agent": (
        (ours(), ours(X, verified=False)), pushed("agent", US),
        Foreign(head=X, makers=("agent",)),
    ),
    "ours, squashed on GitHub's pages by bob": (
        (ours(), ours(X, committer="web-flow")), pushed("bob", US),
        Foreign(head=X, makers=("bob",)),
    ),
    "ours, without our trailer, pushed by bob": (
        (ours(), ours(X, message="Revert")), pushed("bob", US), Foreign(head=X, makers=("bob",)),
    ),
    "an update of the branch, by its button": (
        (ours(), commit(X, "bob", committer="web-flow", verified=True)), pushed("bob", US),
        Foreign(head=X, makers=("bob",)),
    ),
    "written by one, committed by another, pushed by a third": (
        (ours(), commit(X, "bob", committer="carol")), pushed("alice", US),
        Foreign(head=X, makers=("bob", "carol", "alice")),
    ),
    "bob's below ours": (
        (commit(Y, "bob"), ours(X)), pushed(US, "bob", US), Foreign(head=X, makers=("bob",)),
    ),
    "nobody tells who pushed": (
        (commit(X, "bob"),), None, Foreign(head=X, makers=("bob",), unknown=True),
    ),
    "the push is not told yet": (
        (commit(X, "bob"),), pushed(US, head=OURS),
        Foreign(head=X, makers=("bob",), unknown=True),
    ),
    "an address that GitHub knows nobody by": (
        (commit(X, None),), pushed("bob", US), Foreign(head=X, makers=("bob",)),
    ),
    "pushed by a deleted account": (
        (commit(X, None),), pushed(None, US), Foreign(head=X, unknown=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OWNERSHIP)
def test_ours_is_only_what_github_vouches_for(case: str) -> None:
    commits, pushes, wanted = OWNERSHIP[case]
    assert foreign(X, commits, pushes, US) == wanted


def test_more_commits_than_github_lists_are_never_wholly_ours() -> None:
    many = tuple(ours(f"{n:040x}") for n in range(250))
    assert foreign(X, many, None, US) == Foreign(head=X, unknown=True)


@pytest.mark.parametrize(
    ("named", "now", "held", "wanted"),
    [
        (None, X, False, Against.NOT_NAMED),
        ("1234567", X, False, Against.NOT_NAMED),
        (X[:6], X, False, Against.NOT_NAMED),
        (X[:7].upper(), X, False, None),
        (X, Y, False, Against.MOVED),
        (Y, Y, False, Against.MOVED),
        (X, X, True, Against.HELD),
    ],
)
def test_a_yes_names_the_commit_that_was_asked_about(
    named: str | None, now: str, held: bool, wanted: Against | None
) -> None:
    head = Foreign(head=now, makers=("bob",))
    said = against("carol", named, X, head, of="person", founders=(), is_held=held)
    assert said is wanted


def test_what_guards_the_bot_needs_a_founder_and_its_own_papers_do_not() -> None:
    written = {"docs/decisions/a.md": "An ADR\n"}
    blob = "3b6c6cd2f5ea3f8f9b7e2d93c6e6d6a9c6b6c6cd"

    def touched(name: str, sha: str = blob, was: str | None = None) -> tuple[str, ...]:
        file = ChangedFile(filename=name, status="modified", sha=sha, previous_filename=was)
        return protected([file], CONFIG, written)

    for name in (
        ".github/playbooks.yml", "docs/decisions/a.md", "docs/decisions/loader.js",
        "apps/orchestrator/orchestrator/x.py", "flags/flagd.json", "db/migrations/7.sql",
    ):  # fmt: skip
        assert touched(name) == (name,)
        assert touched("elsewhere.txt", was=name) == (name,)
    assert touched("shop.py") == ()
    as_written = "0a6d3a1a8ae0f0d1bd4ba2d5ab6f2ae5a4e4a0d8"
    assert touched("docs/decisions/a.md", as_written) == ("docs/decisions/a.md",)
    many = [ChangedFile(filename=f"f{n}", status="added") for n in range(3000)]
    assert protected(many, CONFIG, {}) == ("(more files than GitHub lists)",)


async def hired(shop: Shop, stack: AsyncExitStack, login: str, role: str = "write") -> Person:
    """One more person at work here."""
    user: FakeUser | None = shop.github.world.users.get(login)
    user = user or shop.github.create_user(login)
    shop.github.set_collaborator(shop.repository, login, role)
    return await stack.enter_async_context(Person(shop.github.url, user.token, shop.name))


async def other_app(shop: Shop, stack: AsyncExitStack) -> Person:
    """Another App that may push."""
    world = shop.github.world
    app = next((each for each in world.apps.values() if each.slug == "renovate"), None)
    owner = shop.repository.owner
    if app is None:
        rights = {"contents": "write", "pull_requests": "write"}
        app = shop.github.create_app("renovate", owner=owner, permissions=rights, events=[])
        shop.github.install(app, owner)
    installed = next(each for each in world.installations.values() if each.app is app)
    token = issue_token(world, installed, None).token
    return await stack.enter_async_context(Person(shop.github.url, token, shop.name))


async def with_founder(shop: Shop, more: str = "") -> None:
    config = f"founder: {{people: [olivia], paths: [db/migrations/**]}}\n{more}"
    number = await shop.merged("Name the Founder", {".github/playbooks.yml": config})
    answer = await shop.says(number, "/approve", shop.olivia)
    assert await answer.reaction() == "+1", await shop.from_bot(number)


async def refused(shop: Shop, number: int, words: str, who: Person) -> str:
    """Somebody's yes is not taken; what they are told."""
    answer = await shop.says(number, words, who)
    assert await answer.reaction() == "confused"
    assert not (await shop.hotfix())["merged_at"]
    return (await shop.from_bot(number))[-1]


async def checks(
    shop: Shop, sha: str, *, hotfix: str | None = None, gate: str | None = None
) -> None:
    """Wait until our check-runs on a commit say this."""
    wanted = {name: say for name, say in (("hotfix", hotfix), ("self-work gate", gate)) if say}

    async def said() -> bool:
        runs = await shop.bob.check_runs(sha)
        return all(runs.get(name) == want for name, want in wanted.items())

    await shop.eventually(said)


async def red(shop: Shop, sha: str) -> str:
    """Wait until our check on the hotfix is red on a commit; what it says there itself."""

    async def said() -> str | None:
        found = await shop.bob.get(f"commits/{sha}/check-runs", check_name="hotfix")
        reds = [run["output"] for run in found["check_runs"] if run["conclusion"] == "failure"]
        return f"{reds[0]['title']}\n{reds[0]['summary']}" if reds else None

    return str(await shop.eventually(said))


async def asked_about(shop: Shop, broken: int, sha: str) -> str:
    """Wait until the bot asks about a commit; what it says."""
    return await shop.standing(broken, f"/approve {sha[:12]}")


@pytest.mark.thorough
async def test_before_verification_bobs_plain_push_waits_for_another_writer(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    branch = (await shop.hotfix())["head"]["ref"]
    shop.verdicts["smoke"] = "success"
    theirs = await shop.bob.push(branch, {"more.py": "x\n"}, "More")
    said = await asked_about(shop, broken, theirs)
    assert "They are by `bob`." in said
    # Its checks are green, and our own is not: it says itself what makes it so.
    await checks(shop, theirs, hotfix="failure", gate="success")
    assert f"`/approve {theirs[:12]}`" in await red(shop, theirs)
    assert "by `bob`" not in await refused(shop, broken, "/approve", shop.alice)
    own = await refused(shop, broken, f"/approve {theirs[:12]}", shop.bob)
    assert "Nobody may approve commits that they wrote or pushed themselves (`bob`)" in own
    assert theirs[:12] in await refused(shop, broken, "/approve 1234567", shop.alice)
    await shop.says(broken, f"/approve {theirs[:12]}", shop.alice)
    await shop.merged_hotfix()
    await checks(shop, theirs, hotfix="success")


@pytest.mark.thorough
async def test_while_the_founder_is_asked_an_app_pushes_and_the_yes_is_never_for_that(
    shop: Shop,
) -> None:
    await with_founder(shop)
    broken = await shop.merged("Drop a table", {"db/migrations/7.sql": "DROP TABLE carts;\n"})
    await shop.says(broken, "/revert")
    await shop.standing(broken, "A Founder decides")
    hotfix = await shop.hotfix()
    async with AsyncExitStack() as stack:
        app = await other_app(shop, stack)
        theirs = await app.push(hotfix["head"]["ref"], {"lock.txt": "x\n"}, "Update")
    assert theirs[:12] in await refused(shop, broken, "/approve", shop.olivia)
    said = await asked_about(shop, broken, theirs)
    assert "A Founder may, but not `renovate[bot]`" in said
    assert "`db/migrations/7.sql`" in said
    old = await refused(shop, broken, f"/approve {hotfix['head']['sha'][:12]}", shop.olivia)
    assert theirs[:12] in old
    plain = await refused(shop, broken, f"/approve {theirs[:12]}", shop.alice)
    assert "only a Founder decides" in plain
    await shop.says(broken, f"/approve {theirs[:12]}", shop.olivia)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_in_a_conflict_alice_resolves_it_with_a_migration_and_the_founder_decides(
    shop: Shop,
) -> None:
    await with_founder(shop)
    broken = await shop.broken()
    later = BAD.replace("return 0", "return 0  # nobody knows why")
    await shop.alice.push("main", {"shop.py": later}, "Say what is odd")
    await shop.says(broken, "/revert")
    await shop.standing(broken, "Resolve 1 conflicting path on")
    hotfix = await shop.hotfix()
    change = {"shop.py": GOOD, "db/migrations/8.sql": "DROP TABLE users;\n"}
    theirs = await shop.alice.push(hotfix["head"]["ref"], change, "Resolve")
    await _mark_ready(shop, hotfix["number"])
    await asked_about(shop, broken, theirs)
    await checks(shop, theirs, hotfix="failure")
    await refused(shop, broken, f"/approve {theirs}", shop.alice)
    await refused(shop, broken, f"/approve {theirs}", shop.bob)
    await shop.says(broken, f"/approve {theirs}", shop.olivia)
    await shop.merged_hotfix()
    assert await shop.alice.file("shop.py") == GOOD


async def _mark_ready(shop: Shop, number: int) -> None:
    node = (await shop.alice.pull_request(number))["node_id"]
    mutation = (
        "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) "
        "{ pullRequest { isDraft } } }"
    )
    assert "errors" not in await shop.alice.graphql(mutation, id=node)


async def test_between_yes_and_merge_another_push_voids_the_yes(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    branch = (await shop.hotfix())["head"]["ref"]
    first = await shop.alice.push(branch, {"more.py": "x\n"}, "More")
    await asked_about(shop, broken, first)
    assert await (await shop.says(broken, f"/approve {first}", shop.bob)).reaction() == "+1"
    await shop.standing(broken, "I am waiting for")
    shop.verdicts["smoke"] = "success"
    second = await shop.alice.push(branch, {"more.py": "y\n"}, "Even more")
    await asked_about(shop, broken, second)
    words = await red(shop, second)
    assert f"`/approve {second[:12]}`" in words
    assert first[:12] not in words
    stale = await refused(shop, broken, f"/approve {first}", shop.bob)
    assert second[:12] in stale
    await shop.says(broken, f"/approve {second}", shop.bob)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_yes_is_void_once_it_would_go_to_another_branch(shop: Shop) -> None:
    start = await shop.alice.head("main")
    await shop.bob.post("git/refs", ref="refs/heads/production", sha=start)
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(start, "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    hotfix = await shop.hotfix()
    theirs = await shop.bob.push(hotfix["head"]["ref"], {"more.py": "x\n"}, "More")
    assert "on its way to `main`" in await asked_about(shop, broken, theirs)
    yes = f"/approve {theirs}"
    assert await (await shop.says(broken, yes, shop.alice)).reaction() == "+1"
    await shop.standing(broken, "I am waiting for")
    await shop.bob.patch(f"pulls/{hotfix['number']}", base="production")
    await shop.standing(broken, "on its way to `production`")
    await shop.report("success", branch=hotfix["head"]["ref"])
    await shop.looked_again()
    assert not (await shop.hotfix())["merged_at"]
    assert await (await shop.says(broken, yes, shop.alice)).reaction() == "+1"
    assert (await shop.merged_hotfix())["base"]["ref"] == "production"


@pytest.mark.thorough
async def test_while_paused_an_agents_push_to_a_hotfix_is_self_work_and_red(shop: Shop) -> None:
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    async with AsyncExitStack() as stack:
        agent = await hired(shop, stack, "agent")
        number = await agent.open_pull_request("By an agent", {"a.txt": "x\n"}, branch="agent")
        await shop.alice.label(number, "self-work")
        wanted = Pausing(
            key=f"test:{shop.name}", repository_id=shop.repository.id, scope=SELF_WORK,
            kind=PauseKind.MANUAL, reason="we look", by="alice", at=shop.bot.clock(),
        )  # fmt: skip
        async with shop.bot.records.begin() as conn:
            await pauses.pause(conn, wanted)
        await checks(shop, await shop.bob.head("agent"), gate="failure")
        broken = await shop.broken()
        await shop.says(broken, "/revert")
        await shop.standing(broken, "I am waiting for")
        hotfix = await shop.hotfix()
        await checks(shop, hotfix["head"]["sha"], gate="success")
        theirs = await agent.push(hotfix["head"]["ref"], {"evil.py": "x\n"}, "Evil")
        await asked_about(shop, broken, theirs)
        await checks(shop, theirs, gate="failure", hotfix="failure")
        # A person resolving it is not held: rescue comes first.
        held = await refused(shop, broken, f"/approve {theirs}", agent)
        assert "`agent`" in held


@pytest.mark.thorough
async def test_where_github_does_not_tell_who_pushed_a_founder_answers(shop: Shop) -> None:
    shop.repository.tells_activity = False
    shop.verdicts["smoke"] = "pending"
    await shop.alice.set_status(await shop.alice.head("main"), "success", "smoke")
    broken = await shop.broken()
    await shop.says(broken, "/revert")
    await shop.standing(broken, "I am waiting for")
    branch = (await shop.hotfix())["head"]["ref"]
    shop.verdicts["smoke"] = "success"
    theirs = await shop.bob.push(branch, {"more.py": "x\n"}, "More")
    assert "A Founder may" in await asked_about(shop, broken, theirs)
    await refused(shop, broken, f"/approve {theirs}", shop.alice)
    await shop.says(broken, f"/approve {theirs}", shop.olivia)
    await shop.merged_hotfix()


@pytest.mark.thorough
async def test_a_run_that_began_before_merges_no_foreign_head_either(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched = DurableRun.patched
    monkeypatch.setattr(
        DurableRun,
        "patched",
        lambda run, change: change is not Patch.FOREIGN_HEADS and patched(run, change),
    )
    broken = await shop.broken()
    later = BAD.replace("return 0", "return 0  # nobody knows why")
    await shop.alice.push("main", {"shop.py": later}, "Say what is odd")
    await shop.says(broken, "/revert")
    await shop.standing(broken, "Resolve 1 conflicting path on")
    hotfix = await shop.hotfix()
    await shop.bob.push(hotfix["head"]["ref"], {"shop.py": GOOD}, "Resolve")
    await _mark_ready(shop, hotfix["number"])
    await shop.standing(broken, "it contains commits that this App did not make")
    assert not (await shop.hotfix())["merged_at"]
