"""Histories in which two pull requests came to main, one way or another.

Each gives `a.py` and `a2.py` by the first (two commits), `b.py` by the second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

from bot.config import Config
from bot.playbooks.revert.plan import RevertPlanned, make_plan
from bot.triggers import Repository, RevertRequest, Target
from fakegithub.world.model import Ruleset
from tests.shop import Shop

FIRST = {"a.py", "a2.py"}
SECOND = {"b.py"}
_branches = count(1)


@dataclass
class Two:
    """Two merged pull requests.

    Attributes:
        first: brought `a.py` and `a2.py`.
        second: brought `b.py`.
        merge: the commit of main by which the first came.
        own: the first one's first commit, as it is on main; None: it is not there by itself.
        extra: a third, that merged both.
    """

    first: int
    second: int
    merge: str
    own: str | None
    extra: int | None = None


async def topics(shop: Shop, *, stacked: bool = False) -> tuple[int, int, str, str]:
    """Open two pull requests, the second onto the first one's branch or onto main."""
    name = f"topic-{next(_branches)}"
    bob = shop.bob
    await bob.push(name, {"a.py": "a\n"}, "A", onto="main")
    await bob.push(name, {"a2.py": "a2\n"}, "And more of it")
    second = f"{name}-second"
    base = name if stacked else "main"
    await bob.push(second, {"b.py": "b\n"}, "B", onto=base)
    one = await bob.open_pull_request("First", branch=name)
    two = await bob.open_pull_request("Second", branch=second, base=base)
    # Else a rebase within the same second makes the very same commits.
    await shop.alice.push("main", {"notes.md": "meanwhile\n"}, "Meanwhile")
    return one, two, name, second


async def commit(shop: Shop, parents: list[str], files: dict[str, str], message: str) -> str:
    """Make a commit of any number of parents: the first one's files, and these."""
    alice = shop.alice
    base = (await alice.get(f"git/commits/{parents[0]}"))["tree"]["sha"]
    entries = [
        {"path": path, "mode": "100644", "type": "blob", "content": text}
        for path, text in files.items()
    ]
    tree = await alice.post("git/trees", base_tree=base, tree=entries)
    made = await alice.post("git/commits", message=message, tree=tree["sha"], parents=parents)
    return str(made["sha"])


async def _apart(shop: Shop, method: str) -> Two:
    one, two, _, _ = await topics(shop)
    own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
    merge = await shop.bob.merge(one, method)
    await shop.bob.merge(two, method)
    if method == "rebase":
        own = (await shop.alice.get(f"git/commits/{merge}"))["parents"][0]["sha"]
    return Two(one, two, merge, None if method == "squash" else own)


async def squash(shop: Shop) -> Two:
    """One commit each."""
    return await _apart(shop, "squash")


async def merged(shop: Shop) -> Two:
    """A merge commit each."""
    return await _apart(shop, "merge")


async def rebase(shop: Shop) -> Two:
    """Copies of all their commits."""
    return await _apart(shop, "rebase")


def queue_of(shop: Shop, *, method: str = "squash") -> Ruleset:
    """Have main merge through a queue that wants `smoke`."""
    queue = {
        "check_response_timeout_minutes": 60,
        "grouping_strategy": "ALLGREEN",
        "max_entries_to_build": 5,
        "max_entries_to_merge": 5,
        "merge_method": method.upper(),
        "min_entries_to_merge": 1,
        "min_entries_to_merge_wait_minutes": 0,
    }
    checks = {
        "required_status_checks": [{"context": "smoke"}],
        "strict_required_status_checks_policy": False,
    }
    return shop.github.add_ruleset(
        shop.repository,
        "queue",
        [
            {"type": "merge_queue", "parameters": queue},
            {"type": "required_status_checks", "parameters": checks},
        ],
    )


async def _heads(shop: Shop, *branches: str) -> list[str]:
    return [await shop.alice.head(branch) for branch in branches]


async def octopus(shop: Shop) -> Two:
    """One merge of three parents."""
    one, two, name, second = await topics(shop)
    main, first, other = await _heads(shop, "main", name, second)
    files = {"a.py": "a\n", "a2.py": "a2\n", "b.py": "b\n"}
    merge = await commit(shop, [main, first, other], files, "Merge two topics")
    await shop.alice.patch("git/refs/heads/main", sha=merge)
    own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
    return Two(one, two, merge, own)


async def pushed_merges(shop: Shop) -> Two:
    """Two merges, made by hand and pushed at once: GitHub names the last for both."""
    one, two, name, second = await topics(shop)
    main, first, other = await _heads(shop, "main", name, second)
    merge = await commit(shop, [main, first], {"a.py": "a\n", "a2.py": "a2\n"}, "Merge a topic")
    last = await commit(shop, [merge, other], {"b.py": "b\n"}, "Merge another topic")
    await shop.alice.patch("git/refs/heads/main", sha=last)
    own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
    return Two(one, two, merge, own)


async def pushed_stack(shop: Shop) -> Two:
    """The very commits of both, one upon the other, pushed at once."""
    name = f"topic-{next(_branches)}"
    await shop.bob.push(name, {"a.py": "a\n"}, "A", onto="main")
    last = await shop.bob.push(name, {"a2.py": "a2\n"}, "And more of it")
    tip = await shop.bob.push(f"{name}-second", {"b.py": "b\n"}, "B", onto=name)
    one = await shop.bob.open_pull_request("First", branch=name)
    two = await shop.bob.open_pull_request("Second", branch=f"{name}-second")
    own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
    await shop.alice.patch("git/refs/heads/main", sha=tip)
    return Two(one, two, last, own)


async def rollup(shop: Shop) -> Two:
    """A third pull request that merged both, merged itself."""
    one, two, name, second = await topics(shop)
    main, first, other = await _heads(shop, "main", name, second)
    middle = await commit(
        shop, [main, first], {"a.py": "a\n", "a2.py": "a2\n"}, f"Rollup merge of #{one}"
    )
    tip = await commit(shop, [middle, other], {"b.py": "b\n"}, f"Rollup merge of #{two}")
    await shop.alice.post("git/refs", ref=f"refs/heads/{name}-rollup", sha=tip)
    three = await shop.bob.open_pull_request("Rollup of two", branch=f"{name}-rollup")
    own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
    merge = await shop.bob.merge(three, "merge")
    return Two(one, two, merge, own, three)


def _stack(inner: str, outer: str) -> Callable[[Shop], Awaitable[Two]]:
    async def stacked(shop: Shop) -> Two:
        one, two, _, _ = await topics(shop, stacked=True)
        own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
        await shop.bob.merge(two, inner)
        merge = await shop.bob.merge(one, outer)
        if outer == "rebase":
            line = await shop.alice.get("commits", sha="main")
            own = next(each["sha"] for each in line if each["commit"]["message"] == "A")
        return Two(one, two, merge, None if outer == "squash" else own)

    return stacked


async def picked_twice(shop: Shop) -> Two:
    """The second merged a copy of the first one's commit besides its own."""
    one, two, _, second = await topics(shop)
    await shop.bob.push(second, {"a.py": "a\n"}, "A")
    own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
    merge = await shop.bob.merge(one, "merge")
    await shop.bob.merge(two, "merge")
    return Two(one, two, merge, own)


_ENQUEUE = """
mutation($id: ID!) { enqueuePullRequest(input: {pullRequestId: $id}) { clientMutationId } }
"""


def _queued(method: str, *, names_the_last: bool = False) -> Callable[[Shop], Awaitable[Two]]:
    """A merge queue's group brings both at once, each by a step of its own.

    Args:
        method: the queue's.
        names_the_last: GitHub names the group's last commit for both, as it does for a push.
    """

    async def queued(shop: Shop) -> Two:
        one, two, _, _ = await topics(shop)
        own = (await shop.alice.get(f"pulls/{one}/commits"))[0]["sha"]
        rule = queue_of(shop, method=method)
        verdicts, shop.verdicts = shop.verdicts, {}
        for number in (one, two):
            await shop.bob.graphql(_ENQUEUE, id=(await shop.alice.pull_request(number))["node_id"])
        # Green from the last to the first: then they are merged together.
        for entry in [*reversed(shop.repository.queue)]:
            await shop.alice.set_status(entry.head_sha, "success", "smoke")
        shop.verdicts = verdicts
        shop.repository.rulesets.pop(rule.id)
        merges = [(await shop.alice.pull_request(each))["merge_commit_sha"] for each in (one, two)]
        if method == "rebase":
            own = (await shop.alice.get(f"git/commits/{merges[0]}"))["parents"][0]["sha"]
        pull = shop.repository.issues[one].pull
        if names_the_last and pull is not None:
            pull.merge_commit_sha = merges[1]
        return Two(one, two, merges[0], None if method == "squash" else own)

    return queued


KINDS: dict[str, Callable[[Shop], Awaitable[Two]]] = {
    "squash": squash,
    "merge": merged,
    "rebase": rebase,
    "octopus": octopus,
    "pushed merges": pushed_merges,
    "pushed stack": pushed_stack,
    "rollup": rollup,
    "stack, merged": _stack("merge", "merge"),
    "stack, squashed into it": _stack("squash", "merge"),
    "stack, rebased into it": _stack("rebase", "merge"),
    "stack, then squashed": _stack("merge", "squash"),
    "stack, both squashed": _stack("squash", "squash"),
    "stack, then rebased": _stack("squash", "rebase"),
    "picked twice": picked_twice,
    "queue, squashed": _queued("squash"),
    "queue, merged": _queued("merge"),
    "queue, rebased": _queued("rebase"),
    "queue, squashed, the last one named": _queued("squash", names_the_last=True),
    "queue, rebased, the last one named": _queued("rebase", names_the_last=True),
}


def seen(shop: Shop) -> Repository:
    """The repository as the bot knows it."""
    found = shop.repository
    return Repository(
        id=found.id,
        owner="acme",
        name=found.name,
        installation_id=shop.installation().id,
    )


async def planned(shop: Shop, *targets: Target) -> tuple[RevertPlanned, set[str]]:
    """What reverting these would do, and the Python files of main that are there afterwards."""
    github = shop.bot.github.repository(seen(shop), playbook="revert")
    mirror = shop.bot.mirrors.of(seen(shop))

    async def as_it_is(config: Config) -> Config:
        return config

    plan = await make_plan(
        RevertRequest(targets=targets), github=github, mirror=mirror, settled=as_it_is
    )
    tree = plan.root.outcome.tree if plan.root.kind == "plan" else await shop.alice.head("main")
    said = await mirror.read(lambda git: git.run("ls-tree", "-r", "--name-only", tree))
    return plan, {path for path in said.text.split() if path.endswith(".py")}
