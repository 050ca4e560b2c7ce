"""A worker's folder always holds exactly the commit's files, whatever the last trial did."""

import asyncio
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.git.export import TreeExport
from bot.git.process import Git
from bot.trials.worktree import WorkTree, default_root, in_thread, workplace
from tests.trials.kit import Repository


@pytest.fixture
def tree(repository: Repository, tmp_path: Path) -> WorkTree:
    source = TreeExport(Git(repository.folder / ".git", isolated=False))
    return WorkTree(tmp_path / "tree", tmp_path / "staging", source)


def files(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, with its content or target."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text()
        else:
            found.setdefault(name, "/")
    return found


async def test_moving_on_writes_only_what_differs(repository: Repository, tree: WorkTree) -> None:
    first = repository.commit({"same": "1", "changes": "1", "goes/away": "1"})
    repository.git("rm", "-q", "goes/away")
    second = repository.commit({"changes": "2", "new/file": "1"})
    await tree.move(first, with_git=False)
    before = (tree.folder / "same").stat().st_ino
    await tree.move(second, with_git=False)
    assert files(tree.folder) == {"same": "1", "changes": "2", "new": "/", "new/file": "1"}
    assert (tree.folder / "same").stat().st_ino == before


async def test_whatever_a_trial_changed_is_undone(repository: Repository, tree: WorkTree) -> None:
    commit = repository.commit({"a": "1", "b": "2", "folder/c": "3", "link": "4"})
    await tree.move(commit, with_git=False)
    pristine = files(tree.folder)
    (tree.folder / "a").write_text("9")  # the same length
    os.utime(tree.folder / "a", ns=(0, 0))
    (tree.folder / "b").unlink()
    (tree.folder / "b").symlink_to("/etc/passwd")
    (tree.folder / "folder/c").unlink()
    (tree.folder / "folder").rmdir()
    (tree.folder / "folder").symlink_to("/etc")
    (tree.folder / "link").chmod(0o777)
    (tree.folder / "extra/deep").mkdir(parents=True)
    (tree.folder / "extra/deep/file").write_text("x")
    (tree.folder / "extra").chmod(0)
    os.mkfifo(tree.folder / "pipe")
    await tree.move(commit, with_git=False)
    assert files(tree.folder) == pristine
    assert not stat.S_IMODE((tree.folder / "link").stat().st_mode) & 0o111


async def test_a_folder_of_the_host_behind_a_link_stays(
    repository: Repository, tree: WorkTree, tmp_path: Path
) -> None:
    commit = repository.commit({"folder/c": "3"})
    await tree.move(commit, with_git=False)
    host = tmp_path / "host"
    host.mkdir()
    (host / "c").write_text("mine")
    (tree.folder / "folder/c").unlink()
    (tree.folder / "folder").rmdir()
    (tree.folder / "folder").symlink_to(host)
    await tree.move(repository.commit({"folder/c": "4"}), with_git=False)
    assert (host / "c").read_text() == "mine"
    assert files(tree.folder) == {"folder": "/", "folder/c": "4"}


async def test_links_of_a_commit_stay_links(
    repository: Repository, tree: WorkTree, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (repository.folder / "out").symlink_to(tmp_path / "outside")
    first = repository.commit({"a": "1"})
    (repository.folder / "out").unlink()
    second = repository.commit({"out/file": "2"})
    for commit in (first, second, first):
        await tree.move(commit, with_git=False)
    assert files(tree.folder)["out"] == f"-> {tmp_path / 'outside'}"
    assert not list((tmp_path / "outside").iterdir())


async def test_a_submodule_is_an_empty_folder(
    repository: Repository, tree: WorkTree, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other")
    other.commit({"inside": "1"})
    repository.commit({"a": "1"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "add", "-q",
                   str(other.folder), "lib")  # fmt: skip
    commit = repository.commit()
    await tree.move(commit, with_git=False)
    assert files(tree.folder)["lib"] == "/"
    assert (tree.folder / "a").is_file()


async def test_no_git_folder_unless_it_is_wanted(repository: Repository, tree: WorkTree) -> None:
    commit = repository.commit({"a": "1"})
    await tree.move(commit, with_git=True)
    assert (tree.folder / ".git").is_dir()
    await tree.move(commit, with_git=False)
    assert not (tree.folder / ".git").exists()


async def test_the_disposable_git_knows_versions_and_nothing_else(
    repository: Repository, tree: WorkTree
) -> None:
    repository.commit({"a": "1"})
    repository.git("tag", "v1.2")
    repository.git("remote", "add", "origin", "https://secret-token@example.org/r.git")
    commit = repository.commit({"b": "1"})
    await tree.move(commit, with_git=True)

    def git(*arguments: str) -> str:
        said = subprocess.run(  # noqa: S603 - the test's own words
            ["git", *arguments],  # noqa: S607 - the machine's git
            cwd=tree.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout.strip()

    assert git("describe", "--tags", "--dirty") == f"v1.2-1-g{commit[:7]}"
    assert git("status", "--porcelain") == ""
    assert git("rev-parse", "HEAD") == commit
    assert git("remote") == ""


async def test_a_rewritten_git_folder_is_thrown_away_unread(
    repository: Repository, tree: WorkTree, tmp_path: Path
) -> None:
    first = repository.commit({"a": "1", ".gitattributes": "* filter=evil\n"})
    second = repository.commit({"a": "2"})
    await tree.move(first, with_git=True)
    trap = f"touch {tmp_path}/sprung"
    config = f"[core]\n\tfsmonitor = {trap}\n\tsshCommand = {trap}\n\thooksPath = .git/hooks\n"
    config += f'[filter "evil"]\n\tsmudge = {trap}\n\tclean = {trap}\n'
    (tree.folder / ".git/config").write_text(config)
    (tree.folder / ".git/hooks").mkdir()
    for hook in ("post-checkout", "post-index-change", "reference-transaction"):
        (tree.folder / ".git/hooks" / hook).write_text(f"#!/bin/sh\n{trap}\n")
        (tree.folder / ".git/hooks" / hook).chmod(0o755)
    for commit in (first, second):
        await tree.move(commit, with_git=True)
    assert not (tmp_path / "sprung").exists()
    assert (tree.folder / "a").read_text() == "2"
    assert "fsmonitor" not in (tree.folder / ".git/config").read_text()


async def test_line_ends_follow_the_attributes_of_each_commit(
    repository: Repository, tree: WorkTree
) -> None:
    first = repository.commit({"a.bat": "one\n"})
    second = repository.commit({".gitattributes": "*.bat text eol=crlf\n"})
    await tree.move(first, with_git=False)
    assert (tree.folder / "a.bat").read_bytes() == b"one\n"
    await tree.move(second, with_git=False)
    assert (tree.folder / "a.bat").read_bytes() == b"one\r\n"


names = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "a/x", "b/y/z", "sp ace", "ü"])
trees = st.dictionaries(names, st.text("xy", max_size=3), max_size=6).map(
    lambda wanted: {
        path: content
        for path, content in wanted.items()
        if not any(other.startswith(path + "/") for other in wanted)
    }
)


@settings(max_examples=12, deadline=None)
@given(history=st.lists(trees, min_size=2, max_size=4), visits=st.lists(st.integers(0, 3)))
async def test_any_history_in_any_order_is_written_exactly(
    tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, str]], visits: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("history")
    repository = Repository(folder / "repository")
    commits = []
    for wanted in history:
        repository.git("rm", "-rfq", "--ignore-unmatch", ".")
        commits.append(repository.commit(wanted))
    source = TreeExport(Git(repository.folder / ".git", isolated=False))
    tree = WorkTree(folder / "tree", folder / "staging", source)
    for visit in visits:
        at = visit % len(commits)
        await tree.move(commits[at], with_git=False)
        written = {path: text for path, text in files(tree.folder).items() if text != "/"}
        assert written == history[at]


async def test_a_session_that_is_ended_leaves_no_folder_that_a_thread_still_fills(
    tmp_path: Path,
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def fill(folder: Path) -> None:
        begun.set()
        goes_on.wait(10)
        (folder / "tree").mkdir(parents=True)

    async def session() -> None:
        async with workplace(tmp_path) as place:
            await in_thread(fill, place.folder)

    under_way = asyncio.create_task(session())
    await asyncio.to_thread(begun.wait, 10)
    under_way.cancel()
    asyncio.get_running_loop().call_later(0.2, goes_on.set)
    await asyncio.wait([under_way])
    assert under_way.cancelled()
    assert files(tmp_path) == {}


def test_a_folder_for_temporary_files_that_is_named_from_here_is_one_place_for_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Git and the sandbox are started in other folders.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", "work")
    assert default_root() == tmp_path / "work"
