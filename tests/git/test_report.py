"""What the `revert` command says of a local clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.git.errors import NotARepository, ShallowHistory, UnknownRevision
from bot.git.revert import ComputedRevert, KeptFiles, revert_report
from tests.git.history_builder import History

LINES = "".join(f"line {number}\n" for number in range(20))


async def test_clean_conflict_and_empty_are_told_with_trees_and_paths(history: History) -> None:
    history.commit({"a": LINES})
    history.commit({"a": LINES.replace("line 3", "boom")})
    history.commit({"b": "b\n"})
    tree, _ = history.really_revert("main~1", onto="main")
    clean = await revert_report(history.path, "main~1", "main")
    assert clean == ComputedRevert(status="clean", tree=tree)
    history.checkout("main")
    history.commit({"a": LINES.replace("line 3", "bang")})
    conflict = await revert_report(history.path, "main~2", "main")
    assert (conflict.status, conflict.conflicts) == ("conflict", ("a",))
    history.commit({"a": LINES})
    empty = await revert_report(history.path, "main~3", "main")
    assert empty == ComputedRevert(status="empty", tree=history.tree("main"))
    assert '"conflicts":[]' in empty.model_dump_json()


async def test_nothing_but_objects_is_written(history: History) -> None:
    def state() -> tuple[object, ...]:
        files = {
            path.relative_to(history.path): path.read_bytes()
            for path in history.path.rglob("*")
            if path.is_file() and ".git/objects" not in str(path)
        }
        return (files, history.git("for-each-ref"))

    history.commit({"a": LINES})
    history.commit({"a": LINES.replace("line 3", "boom")})
    history.commit({"a": LINES.replace("line 3", "boom") + "more\n"})
    (history.path / "a").write_text("not committed\n")
    before = state()
    assert (await revert_report(history.path, "HEAD~1", "HEAD")).status == "clean"
    assert state() == before


async def test_a_directory_inside_and_a_bare_repository_will_do(
    history: History, tmp_path: Path
) -> None:
    history.commit({"deep/a": "1\n"})
    history.commit({"deep/a": "2\n"})
    bare = tmp_path / "bare.git"
    history.git("clone", "--quiet", "--bare", str(history.path), str(bare))
    for place in (history.path / "deep", bare, history.git_dir):
        report = await revert_report(place, "HEAD", "HEAD")
        assert report == ComputedRevert(status="clean", tree=history.tree("HEAD~1"))


async def test_a_linked_work_tree_will_do(history: History, tmp_path: Path) -> None:
    history.commit({"a": "1\n"})
    history.commit({"a": "2\n"})
    history.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"), "HEAD~1")
    assert (await revert_report(tmp_path / "linked", "main", "main")).status == "clean"


async def test_what_is_wrong_is_said(history: History, tmp_path: Path) -> None:
    history.commit({"a": "1\n"})
    history.commit({"a": "2\n"})
    with pytest.raises(NotARepository, match="is not a git repository"):
        await revert_report(tmp_path, "HEAD", "HEAD")
    with pytest.raises(NotARepository):
        await revert_report(tmp_path / "nowhere", "HEAD", "HEAD")
    with pytest.raises(UnknownRevision, match="'v9' names no commit"):
        await revert_report(history.path, "v9", "HEAD")
    cut = tmp_path / "cut"
    history.git("clone", "--quiet", "--depth=1", f"file://{history.path}", str(cut))
    with pytest.raises(ShallowHistory):
        await revert_report(cut, "HEAD", "HEAD")


async def test_hooks_and_monitors_of_the_clone_do_not_run(history: History, tmp_path: Path) -> None:
    history.commit({"a": LINES})
    history.commit({"a": LINES.replace("line 3", "boom")})
    history.commit({"a": LINES.replace("line 3", "boom") + "more\n"})
    spy = tmp_path / "spy"
    spy.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    spy.chmod(0o755)
    history.git("config", "core.fsmonitor", str(spy))
    hook = history.git_dir / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(spy)
    await revert_report(history.path, "HEAD~1", "HEAD", keep=KeptFiles(("none/**",)))
    assert not (tmp_path / "ran").exists()
