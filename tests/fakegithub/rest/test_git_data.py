"""https://docs.github.com/rest/git."""

from __future__ import annotations

import base64

import pytest

from demo.person import Person
from fakegithub.world.model import FakeApp, FakeRepository
from tests.fakegithub.saying import refused
from tests.people import PERMISSIONS


async def _tree(person: Person, *entries: dict[str, object], base: str = "main") -> str:
    root = (await person.get(f"commits/{base}"))["commit"]["tree"]["sha"]
    return str((await person.post("git/trees", base_tree=root, tree=list(entries)))["sha"])


async def _paths(person: Person, tree: str) -> list[str]:
    whole = await person.get(f"git/trees/{tree}", recursive="1")
    return [entry["path"] for entry in whole["tree"] if entry["type"] == "blob"]


async def test_a_tree_on_a_base_changes_what_is_named_and_keeps_the_rest(bot: Person) -> None:
    """https://docs.github.com/rest/git/trees#create-a-tree."""
    blob = await bot.post("git/blobs", content=base64.b64encode(b"\0\1").decode(),
                          encoding="base64")  # fmt: skip
    tree = await _tree(
        bot,
        {"path": "src/new.py", "mode": "100755", "type": "blob", "content": "print(1)\n"},
        {"path": "data.bin", "mode": "100644", "type": "blob", "sha": blob["sha"]},
        {"path": "src/app.py", "mode": "100644", "type": "blob", "sha": None},
    )
    assert await _paths(bot, tree) == ["README.md", "data.bin", "src/new.py"]
    whole = await bot.get(f"git/trees/{tree}", recursive="1")
    modes = {entry["path"]: entry["mode"] for entry in whole["tree"]}
    assert modes["src/new.py"] == "100755"


async def test_a_tree_without_a_base_has_only_what_is_named(bot: Person) -> None:
    made = await bot.post("git/trees", tree=[{"path": "a", "mode": "100644", "content": "b"}])
    assert await _paths(bot, made["sha"]) == ["a"]


async def test_deleting_the_last_file_of_a_directory_removes_the_directory(bot: Person) -> None:
    tree = await _tree(bot, {"path": "src/app.py", "mode": "100644", "sha": None})
    whole = await bot.get(f"git/trees/{tree}")
    assert [entry["path"] for entry in whole["tree"]] == ["README.md"]


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "../up", "mode": "100644", "content": "x"},
        {"path": "/root", "mode": "100644", "content": "x"},
        {"path": "a/.git/config", "mode": "100644", "content": "x"},
        {"path": "no/such/file", "mode": "100644", "sha": None},
        {"path": "a", "mode": "100600", "content": "x"},
        {"path": "a", "mode": "100644", "sha": "1" * 40},
    ],
)
async def test_a_malformed_tree_is_refused(bot: Person, entry: dict[str, object]) -> None:
    with refused(422):
        await _tree(bot, entry)


async def _commit(person: Person, message: str = "Change", **more: object) -> dict[str, object]:
    tree = await _tree(person, {"path": "new", "mode": "100644", "content": message})
    parent = await person.head("main")
    commit = await person.post("git/commits", message=message, tree=tree, parents=[parent], **more)
    return dict(commit)


async def test_github_signs_what_an_app_commits_in_its_own_name(
    bot: Person, app: FakeApp, repository: FakeRepository
) -> None:
    """https://docs.github.com/authentication/managing-commit-signature-verification/about-commit-signature-verification#signature-verification-for-bots."""
    commit = await _commit(bot)
    assert commit["verification"]["verified"] is True  # type: ignore[index]
    assert commit["author"]["name"] == f"{app.slug}[bot]"  # type: ignore[index]
    assert commit["author"] == commit["committer"]
    assert repository.git.commit(str(commit["sha"])).signed


async def test_a_commit_with_a_stated_author_or_by_a_person_is_not_signed(
    bot: Person, alice: Person
) -> None:
    named = await _commit(bot, author={"name": "A", "email": "a@example.org"})
    assert named["verification"]["reason"] == "unsigned"  # type: ignore[index]
    assert (await _commit(alice))["verification"]["verified"] is False  # type: ignore[index]


async def test_a_ref_moves_forward_only_unless_forced(bot: Person) -> None:
    """https://docs.github.com/rest/git/refs#update-a-reference."""
    start = await bot.head("main")
    await bot.post("git/refs", ref="refs/heads/topic", sha=start)
    ahead = (await _commit(bot, "ahead"))["sha"]
    aside = (await _commit(bot, "aside"))["sha"]
    await bot.patch("git/refs/heads/topic", sha=ahead)
    with refused(422, "not a fast forward"):
        await bot.patch("git/refs/heads/topic", sha=aside)
    await bot.patch("git/refs/heads/topic", sha=aside, force=True)
    assert await bot.head("topic") == aside


async def test_refs_that_exist_or_do_not_are_refused_by_name(bot: Person) -> None:
    head = await bot.head("main")
    with refused(422, "already exists"):
        await bot.post("git/refs", ref="refs/heads/main", sha=head)
    with refused(422, "Object does not exist"):
        await bot.post("git/refs", ref="refs/heads/x", sha="1" * 40)
    with refused(422):
        await bot.post("git/refs", ref="main", sha=head)
    with refused(404):
        await bot.get("git/ref/heads/nothing")
    with refused(422, "does not exist"):
        await bot.delete("git/refs/heads/nothing")
    assert await bot.get("git/matching-refs/heads/nothing") == []


async def test_an_app_needs_the_workflows_permission_to_change_workflow_files(
    bot: Person, alice: Person
) -> None:
    """https://docs.github.com/rest/git/trees#create-a-tree: contents and workflows."""
    assert "workflows" not in PERMISSIONS
    entry = {"path": ".github/workflows/ci.yml", "mode": "100644", "content": "on: push\n"}
    with refused(403, "not accessible by integration"):
        await _tree(bot, entry)
    sha = await alice.push("topic", {entry["path"]: entry["content"]}, "A workflow")
    await bot.post("git/refs", ref="refs/heads/copy", sha=sha)
    assert await bot.head("copy") == sha


async def test_contents_need_the_blob_they_replace(alice: Person) -> None:
    """https://docs.github.com/rest/repos/contents#create-or-update-file-contents."""
    text = base64.b64encode(b"# New\n").decode()
    old = await alice.get("contents/README.md")
    with refused(422, "sha"):
        await alice.put("contents/README.md", message="m", content=text)
    with refused(409, "does not match"):
        await alice.put("contents/README.md", message="m", content=text, sha="1" * 40)
    done = await alice.put("contents/README.md", message="m", content=text, sha=old["sha"])
    assert done["commit"]["verification"]["verified"] is True
    assert await alice.file("README.md") == "# New\n"
    made = await alice.request("PUT", "contents/a/b.txt", {"message": "m", "content": text})
    assert made[0] == 201
    assert [entry["name"] for entry in await alice.get("contents/a")] == ["b.txt"]
    assert await alice.file("no/such/file") is None


async def test_commits_are_listed_by_branch_and_path_and_compared(alice: Person) -> None:
    first = await alice.head("main")
    await alice.push("topic", {"src/app.py": "print('hi')\n"}, "Greet shorter")
    await alice.push("topic", {"README.md": None}, "No readme")
    listed = await alice.get("commits", sha="topic", path="src/app.py")
    assert [c["commit"]["message"] for c in listed] == ["Greet shorter", "Initial commit"]

    compared = await alice.get("compare/main...topic")
    assert (compared["status"], compared["ahead_by"], compared["behind_by"]) == ("ahead", 2, 0)
    assert compared["merge_base_commit"]["sha"] == first
    statuses = {file["filename"]: file["status"] for file in compared["files"]}
    assert statuses == {"README.md": "removed", "src/app.py": "modified"}

    commit = await alice.get("commits/topic")
    assert commit["stats"] == {"total": 1, "additions": 0, "deletions": 1}
    with refused(422, "No commit found"):
        await alice.get("commits/nothing-here")


async def test_a_rename_is_seen_as_one(alice: Person) -> None:
    text = await alice.file("src/app.py")
    await alice.push("topic", {"src/app.py": None, "src/main.py": text}, "Rename")
    (file,) = (await alice.get("commits/topic"))["files"]
    assert (file["status"], file["previous_filename"]) == ("renamed", "src/app.py")


async def test_an_empty_repository_has_no_commits(
    repository: FakeRepository, alice: Person
) -> None:
    for ref in repository.git.refs():
        repository.git.update_ref(ref, None)
    with refused(409, "empty"):
        await alice.get("commits")
    with refused(404):
        await alice.get("contents/README.md")
