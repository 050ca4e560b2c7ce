"""A computed tree becomes one Verified commit on a branch, exactly once and never by force."""

from __future__ import annotations

import hashlib
import random

import pytest

from bot.github.calls import trees
from bot.github.calls.git_data import STEP_TRAILER
from bot.github.calls.trees import EXECUTABLE, SUBMODULE, SYMLINK, TreeChange
from bot.github.client import GitHub, RepositoryClient
from bot.github.errors import Conflict, Forbidden, NotFound, Unprocessable
from bot.github.models import Commit
from fakegithub.faults.request_faults import Drop, Fail, FailAfter, Truncate
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeRepository

LOST = [FailAfter(502), Drop(), Truncate(), Fail(500), Drop(done=False)]
HOTFIX = "hotfix/revert-01j"


def paths(repository: FakeRepository, tree: str) -> dict[str, str]:
    return {
        entry.path: entry.mode
        for entry in repository.git.tree(tree, recursive=True)
        if entry.type != "tree"
    }


async def publish(client: RepositoryClient, parent: str, *, again: bool = False) -> Commit:
    base = await client.git.commit(parent)
    assert base is not None
    tree = await client.git.publish_tree(base.tree, [TreeChange("adr/1.md", content=b"# ADR\n")])
    return await client.git.ensure_commit_on_branch(
        HOTFIX,
        key="revert:01j:commit",
        tree=tree,
        parents=[parent],
        message='Revert "x"\n\nRefs: #1',
        new_branch=True,
        look_first=again,
    )


async def test_a_commit_on_a_new_branch_is_verified_and_costs_three_requests(
    client: RepositoryClient, bot: GitHub, repository: FakeRepository
) -> None:
    head = await client.git.head("main")
    before = bot.requests.total()
    commit = await publish(client, head)
    # One of the four is the test's own, to learn the base tree, which git knows locally.
    assert bot.requests.total() - before == 4
    assert commit.parents == (head,)
    assert commit.message.rstrip() == f'Revert "x"\n\nRefs: #1\n{STEP_TRAILER}: revert:01j:commit'
    assert commit.verified
    assert await client.git.head(HOTFIX) == commit.sha
    assert set(paths(repository, commit.tree)) == {"README.md", "src/app.py", "adr/1.md"}


async def test_a_copied_trailer_makes_no_commit_ours(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    head = await client.git.head("main")
    await client.git.ensure_branch(HOTFIX, head, look_first=False)
    copied = f'Revert "x"\n\nRefs: #1\n{STEP_TRAILER}: revert:01j:commit\n'
    theirs = github.commit(repository, {"theirs.py": "x\n"}, copied, branch=HOTFIX)
    for again in (True, False):
        with pytest.raises(Conflict):
            await publish(client, head, again=again)
    assert await client.git.head(HOTFIX) == theirs


async def test_what_a_tree_is_based_on_is_a_tree_and_no_commit(client: RepositoryClient) -> None:
    """https://docs.github.com/rest/git/trees#create-a-tree."""
    head, change = await client.git.head("main"), TreeChange("adr/1.md", content=b"# ADR\n")
    with pytest.raises(Unprocessable, match="not a valid tree"):
        await client.git.publish_tree(head, [change])
    base = await client.git.tree_of(head)
    assert await client.git.publish_tree(base, [change]) != base
    with pytest.raises(NotFound):
        await client.git.tree_of("0" * 40)


@pytest.mark.parametrize("fault", LOST, ids=repr)
@pytest.mark.parametrize("path", [r"/git/trees$", r"/git/commits$", r"/git/refs$"])
async def test_a_lost_answer_leaves_exactly_one_commit_on_the_branch(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, fault: Fail, path: str
) -> None:
    head = await client.git.head("main")
    github.faults.add(fault, method="POST", path=path)
    commit = await publish(client, head)
    again = await publish(client, head, again=True)
    assert again.sha == commit.sha
    assert repository.git.rev_list(HOTFIX, f"^{head}") == [commit.sha]


@pytest.mark.parametrize("fault", LOST, ids=repr)
async def test_an_existing_branch_is_fast_forwarded_exactly_once(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository, fault: Fail
) -> None:
    head = await client.git.head("main")
    base = await client.git.commit(head)
    assert base is not None
    github.faults.add(fault, method="PATCH", path=r"/git/refs/heads/main$")
    commit = await client.git.ensure_commit_on_branch(
        "main",
        key="outcome:01j",
        tree=base.tree,
        parents=[head],
        message="Record the outcome",
        new_branch=False,
        look_first=False,
    )
    assert repository.git.rev_list("main", f"^{head}") == [commit.sha]


async def test_a_branch_that_moved_is_never_forced(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    head = await client.git.head("main")
    base = await client.git.commit(head)
    assert base is not None
    theirs = github.commit(repository, {"new.txt": "new"}, "Somebody was faster")
    with pytest.raises(Conflict, match="moved meanwhile"):
        await client.git.ensure_commit_on_branch(
            "main",
            key="outcome:01j",
            tree=base.tree,
            parents=[head],
            message="Record the outcome",
            new_branch=False,
            look_first=False,
        )
    assert await client.git.head("main") == theirs


async def test_a_new_branch_that_somebody_else_made_is_left_alone(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    head = await client.git.head("main")
    await client.git.ensure_branch(HOTFIX, head, look_first=False)
    theirs = github.commit(repository, {"x": "x"}, "Not the bot's", branch=HOTFIX)
    with pytest.raises(Conflict):
        await publish(client, head)
    assert await client.git.head(HOTFIX) == theirs


async def test_branches_are_made_and_deleted_as_often_as_one_likes(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    head = await client.git.head("main")
    github.faults.add(FailAfter(502), method="POST", path=r"/git/refs$")
    github.faults.add(FailAfter(502), method="DELETE", path=r"/git/refs")
    for look_first in (False, True, False):
        made = await client.git.ensure_branch("fix/a#1", head, look_first=look_first)
        assert (made.branch, made.sha) == ("fix/a#1", head)
    moved = github.commit(repository, {"x": "x"}, "More")
    with pytest.raises(Conflict, match="exists already"):
        await client.git.ensure_branch("fix/a#1", moved, look_first=True)
    for _ in range(2):
        await client.git.delete_branch("fix/a#1")
    assert await client.git.branch("fix/a#1") is None
    with pytest.raises(NotFound, match="no branch"):
        await client.git.head("fix/a#1")
    with pytest.raises(Unprocessable):
        await client.git.ensure_branch("bad..name", head, look_first=False)


@pytest.mark.parametrize("entries", [1, 1000])
async def test_every_kind_of_change_is_published(
    client: RepositoryClient,
    github: DemoGitHub,
    repository: FakeRepository,
    bot: GitHub,
    monkeypatch: pytest.MonkeyPatch,
    entries: int,
) -> None:
    monkeypatch.setattr(trees, "ENTRIES_PER_REQUEST", entries)
    files = {"old/a": "a", "old/b": "b", "dir/file": "x", "file": "y", "keep": "keep"}
    github.commit(repository, files, "Prepare")
    head = await client.git.commit("main")
    assert head is not None
    kept = repository.git.entry(head.tree, "keep")
    assert kept is not None
    binary = bytes(range(256))
    changes = [
        TreeChange("old/a"),
        TreeChange("moved", sha=kept.sha),
        TreeChange("run.sh", mode=EXECUTABLE, content="#!/bin/sh\necho é\n".encode()),
        TreeChange("link", mode=SYMLINK, content=b"keep"),
        TreeChange("vendored", mode=SUBMODULE, sha="1" * 40),
        TreeChange("logo.png", content=binary),
        TreeChange("empty", content=b""),
        TreeChange("latin1.txt", content=b"\xe9\r\n"),
        # A directory becomes a file, and a file a directory.
        TreeChange("dir/file"),
        TreeChange("dir", content=b"now a file\n"),
        TreeChange("file"),
        TreeChange("file/inside", content=b"now inside\n"),
    ]
    tree = await client.git.publish_tree(head.tree, changes)
    assert paths(repository, tree) == {
        "README.md": "100644",
        "src/app.py": "100644",
        "old/b": "100644",
        "keep": "100644",
        "moved": "100644",
        "run.sh": "100755",
        "link": "120000",
        "vendored": "160000",
        "logo.png": "100644",
        "empty": "100644",
        "latin1.txt": "100644",
        "dir": "100644",
        "file/inside": "100644",
    }
    logo = repository.git.entry(tree, "logo.png")
    assert logo is not None
    assert repository.git.read(logo.sha) == binary
    # Only what cannot travel as text is uploaded: the picture, the empty file, the Latin-1 text.
    assert bot.requests.by_route("revert")["POST /repos/{owner}/{repo}/git/blobs"] == 3


async def test_a_large_change_travels_in_several_requests(
    client: RepositoryClient,
    repository: FakeRepository,
    bot: GitHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trees, "ENTRIES_PER_REQUEST", 100)
    rng = random.Random(7)  # noqa: S311 - repeatable
    head = await client.git.commit("main")
    assert head is not None
    changes = [
        TreeChange(f"data/{rng.randrange(9)}/{n}.txt", content=f"{n}\n".encode())
        for n in range(150)
    ]
    changes.append(TreeChange("README.md"))
    tree = await client.git.publish_tree(head.tree, changes)
    assert len(paths(repository, tree)) == 151
    assert bot.requests.by_route("revert")["POST /repos/{owner}/{repo}/git/trees"] == 2


async def test_a_tree_that_is_not_the_computed_one_is_refused(client: RepositoryClient) -> None:
    head = await client.git.commit("main")
    assert head is not None
    assert await client.git.publish_tree(head.tree, [], expected_tree=head.tree) == head.tree
    blob = hashlib.sha1(b"blob 2\0x\n", usedforsecurity=False).hexdigest()
    with pytest.raises(Conflict, match="nothing was committed"):
        await client.git.publish_tree(
            head.tree, [TreeChange("x", content=b"x\n")], expected_tree=blob
        )


async def test_workflow_files_need_a_permission_that_is_named(client: RepositoryClient) -> None:
    head = await client.git.commit("main")
    assert head is not None
    change = TreeChange(".github/workflows/ci.yml", content=b"on: push\n")
    with pytest.raises(Forbidden, match=r"workflows/ci\.yml.*workflows=write") as refused:
        await client.git.publish_tree(head.tree, [change])
    assert refused.value.permission == "workflows=write"


async def test_commits_are_read_by_every_name_and_unknown_ones_are_none(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    first = await client.git.head("main")
    second = github.commit(repository, {"x": "x"}, "Second\n\nBody")
    for name in (second, second[:8], "main"):
        found = await client.git.commit(name)
        assert found is not None
        assert (found.sha, found.parents, found.message) == (second, (first,), "Second\n\nBody")
    assert await client.git.commit("f" * 40) is None
    assert await client.git.is_ancestor(first, "main")
    assert await client.git.is_ancestor(second, "main")
    assert not await client.git.is_ancestor(second, first)
    assert not await client.git.is_ancestor("f" * 40, "main")
    compared = await client.git.compare(second, first)
    assert compared is not None
    assert (compared.status, compared.behind_by, compared.merge_base) == ("behind", 1, first)


async def test_files_are_read_at_a_commit(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    first = await client.git.head("main")
    binary = bytes(range(256)) * 5000
    files = {"config/a b#?.yml": "é: 1\n", "big.bin": binary, "link/x": "x"}
    github.commit(repository, files, "Add")
    odd = await client.contents.read("config/a b#?.yml", "main")
    assert odd is not None
    assert odd.text == "é: 1\n"
    big = await client.contents.read("big.bin", "main")
    assert big is not None
    assert big.content == binary
    assert await client.contents.read("big.bin", first) is None
    assert await client.contents.read("link", "main") is None
    assert await client.contents.names("config", "main") == ("a b#?.yml",)
    assert await client.contents.names("nothing", "main") == ()


async def test_a_fast_forward_that_went_in_unanswered_counts_even_if_another_came_upon_it(
    client: RepositoryClient, github: DemoGitHub, repository: FakeRepository
) -> None:
    head = await client.git.head("main")
    base = await client.git.commit(head)
    assert base is not None
    github.faults.add(FailAfter(502), method="PATCH", path=r"/git/refs/heads/main$")
    # Between the lost answer and the repetition somebody pushes.
    github.faults.after_write(
        2, lambda _: github.commit(repository, {"new": "new"}, "Upon it") and None
    )
    commit = await client.git.ensure_commit_on_branch(
        "main",
        key="outcome:01j",
        tree=base.tree,
        parents=[head],
        message="Record the outcome",
        new_branch=False,
        look_first=False,
    )
    log = repository.git.rev_list("main", f"^{head}")
    assert len(log) == 2
    assert log[1] == commit.sha
