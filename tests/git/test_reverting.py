"""Reverts computed without a work tree, held to what `git revert` itself does."""

from __future__ import annotations

import pytest

from bot.git.errors import NoSuchParent, PathNotUtf8, ShallowHistory
from bot.git.landed_changes import compute_what_is_left
from bot.git.process import Git
from bot.git.revert import (
    Clean,
    Empty,
    EmptyReason,
    KeptFiles,
    RevertConflict,
    RevertedTree,
    compute_revert,
    reverted_tree,
)
from tests.git.history_builder import History

LINES = "".join(f"line {number}\n" for number in range(20))


async def same_as_git(
    history: History, git: Git, *commits: str, onto: str = "main"
) -> Clean | RevertConflict | Empty:
    """Compute, compare with git's own revert, and hand back our answer."""
    onto = history.git("rev-parse", onto)
    tree, unmerged = history.really_revert(*commits, onto=onto)
    ours = await compute_revert(git, commits, onto)
    if unmerged:
        assert isinstance(ours, RevertConflict), ours
        # Git puts a file that a directory pushed aside at `path~HEAD` or `path~parent of …`.
        named = sorted({name.partition("~")[0] for name in unmerged})
        assert sorted(path.path for path in ours.paths) == named
    else:
        assert not isinstance(ours, RevertConflict), ours
        assert ours.tree == tree
        assert isinstance(ours, Empty) == (tree == history.tree(onto))
    return ours


async def test_a_change_followed_by_other_work_is_undone(history: History, git: Git) -> None:
    history.commit({"app.py": LINES})
    broken = history.commit({"app.py": LINES.replace("line 3", "boom")})
    history.commit({"app.py": LINES.replace("line 3", "boom") + "more\n", "other.py": "x\n"})
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, Clean)
    assert [(change.path, change.mode) for change in ours.changes] == [("app.py", "100644")]
    assert ours.new_blobs == (ours.changes[0].sha,), "merging made this blob, GitHub lacks it"
    assert ours.reverted == (broken,)
    assert history.files(ours.tree)["app.py"] == (LINES + "more").strip()


async def test_going_back_to_an_old_blob_needs_no_upload(history: History, git: Git) -> None:
    history.commit({"app.py": LINES})
    broken = history.commit({"app.py": "boom\n", "new.py": "new\n"})
    history.commit({"other.py": "x\n"})
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, Clean)
    assert ours.new_blobs == ()
    assert {change.path: change.sha is None for change in ours.changes} == {
        "app.py": False,
        "new.py": True,
    }


async def test_a_conflict_names_the_path_the_kind_and_who_changed_it_since(
    history: History, git: Git
) -> None:
    history.commit({"app.py": LINES})
    broken = history.commit({"app.py": LINES.replace("line 3", "boom")})
    history.commit({"other.py": "x\n"}, "unrelated")
    first = history.commit({"app.py": LINES.replace("line 3", "boom 1")}, "once")
    second = history.commit({"app.py": LINES.replace("line 3", "boom 2")}, "twice\n\n\x01\x02 body")
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, RevertConflict)
    assert ours.commit == broken
    (path,) = ours.paths
    assert path.kinds == ("contents",)
    assert (path.in_base, path.in_ours, path.in_theirs) == (True, True, True)
    assert [info.sha for info in path.changed_since] == [second, first]
    assert path.changed_since[0].author == "Ada"
    assert path.changed_since[0].body == "\x01\x02 body"


async def test_a_file_deleted_since_is_a_modify_delete_conflict(history: History, git: Git) -> None:
    history.commit({"app.py": LINES, "keep": "k\n"})
    broken = history.commit({"app.py": LINES.replace("line 3", "boom")})
    history.commit({"app.py": None})
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, RevertConflict)
    assert ours.paths[0].kinds == ("modify/delete",)
    assert not ours.paths[0].in_ours


async def test_a_file_renamed_since_is_undone_under_its_new_name(
    history: History, git: Git
) -> None:
    history.commit({"app.py": LINES})
    broken = history.commit({"app.py": LINES.replace("line 3", "boom")})
    history.git("mv", "app.py", "core.py")
    history.commit()
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, Clean)
    assert [change.path for change in ours.changes] == ["core.py"]
    assert ours.new_blobs == ()


async def test_a_rename_is_undone_and_later_edits_move_back_with_it(
    history: History, git: Git
) -> None:
    history.commit({"src/app.py": LINES, "src/b.py": LINES + "b\n"})
    history.git("mv", "src", "lib")
    broken = history.commit()
    history.commit({"lib/app.py": LINES + "more\n", "lib/late.py": "late\n"})
    await same_as_git(history, git, broken)


async def test_a_file_renamed_two_ways_is_a_conflict(history: History, git: Git) -> None:
    history.commit({"a.py": LINES})
    history.git("mv", "a.py", "b.py")
    broken = history.commit()
    history.git("mv", "b.py", "c.py")
    history.commit()
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, RevertConflict)
    assert any("rename/rename" in path.kinds for path in ours.paths)


async def test_modes_symlinks_and_file_for_directory_are_undone(history: History, git: Git) -> None:
    history.commit({"run.sh": "#!/bin/sh\n", "target": "t\n", "swap": "file\n"})
    (history.path / "run.sh").chmod(0o755)
    (history.path / "link").symlink_to("target")
    broken = history.commit({"swap": None})
    made = history.commit({"swap/inner": "now a directory\n"})
    ours = await same_as_git(history, git, broken, onto=broken)
    assert isinstance(ours, Clean)
    modes = {change.path: (change.mode, change.sha is None) for change in ours.changes}
    assert modes["run.sh"] == ("100644", False)
    assert modes["link"] == ("120000", True)
    await same_as_git(history, git, made, onto=made)
    await same_as_git(history, git, broken, onto=made)


async def test_binary_files_are_undone_whole_or_conflict(history: History, git: Git) -> None:
    history.commit({"logo.png": b"\x89PNG\0one", "data.bin": b"\0\1\2" * 50})
    broken = history.commit({"logo.png": b"\x89PNG\0two", "data.bin": b"\0\1\3" * 50})
    clean_until = history.commit({"other": "x\n"})
    history.commit({"logo.png": b"\x89PNG\0three"})
    assert isinstance(await same_as_git(history, git, broken, onto=clean_until), Clean)
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, RevertConflict)
    assert [path.path for path in ours.paths] == ["logo.png"]
    assert "contents" in ours.paths[0].kinds or "binary" in ours.paths[0].kinds


async def test_a_submodule_goes_back_to_its_old_commit(history: History, git: Git) -> None:
    def point(sha: str) -> str:
        history.git("update-index", "--add", "--cacheinfo", f"160000,{sha},vendor")
        history.git("commit", "--quiet", "-m", "submodule")
        return history.head

    history.commit({"a": "a\n"})
    point("1" * 40)
    broken = point("2" * 40)
    ours = await compute_revert(git, [broken], broken)
    assert isinstance(ours, Clean)
    (change,) = ours.changes
    assert change.is_submodule
    assert change.sha == "1" * 40
    assert ours.new_blobs == ()
    later = point("3" * 40)
    ours_later = await compute_revert(git, [broken], later)
    assert isinstance(ours_later, RevertConflict)
    assert ours_later.paths[0].path == "vendor"


async def test_a_merge_goes_back_to_its_first_parent_or_the_one_asked_for(
    history: History, git: Git
) -> None:
    start = history.commit({"a": LINES, "b": LINES})
    history.branch("topic", start)
    history.commit({"a": LINES.replace("line 9", "topic")})
    history.checkout("main")
    history.commit({"b": LINES.replace("line 2", "main")})
    merged = history.merge("topic")
    history.commit({"c": "later\n"})
    ours = await same_as_git(history, git, merged)
    assert isinstance(ours, Clean)
    assert [change.path for change in ours.changes] == ["a"]
    other = await compute_revert(git, [merged], history.head, mainline=2)
    assert isinstance(other, Clean)
    assert [change.path for change in other.changes] == ["b"]
    with pytest.raises(NoSuchParent):
        await compute_revert(git, [merged], history.head, mainline=3)


async def test_an_octopus_merge_goes_back_to_its_first_parent(history: History, git: Git) -> None:
    start = history.commit({"a": "a\n"})
    for name in ("one", "two"):
        history.branch(name, start)
        history.commit({name: f"{name}\n"})
    history.checkout("main")
    history.commit({"b": "b\n"})
    merged = history.merge("one", "two")
    ours = await same_as_git(history, git, merged)
    assert isinstance(ours, Clean)
    assert [change.path for change in ours.changes] == ["one", "two"]


async def test_the_very_first_commit_goes_back_to_nothing(history: History, git: Git) -> None:
    first = history.commit({"a": "a\n", "b": "b\n"})
    history.commit({"c": "c\n"})
    await same_as_git(history, git, first)


async def test_a_stack_is_undone_newest_first_whatever_the_order_given(
    history: History, git: Git
) -> None:
    history.commit({"a": "0\n"})
    one = history.commit({"a": "1\n"})
    two = history.commit({"a": "2\n"})
    history.commit({"b": "b\n"})
    ours = await same_as_git(history, git, two, one)
    assert isinstance(ours, Clean)
    assert ours.reverted == (two, one)
    assert await compute_revert(git, [one, two, one], history.git("rev-parse", "main")) == ours


async def test_a_stack_stops_at_the_commit_in_conflict_and_says_what_went_before(
    history: History, git: Git
) -> None:
    history.commit({"a": "0\n", "b": "0\n"})
    one = history.commit({"a": "1\n"})
    two = history.commit({"b": "2\n"})
    history.commit({"a": "9\n"})
    ours = await same_as_git(history, git, two, one)
    assert isinstance(ours, RevertConflict)
    assert (ours.commit, ours.reverted) == (one, (two,))


@pytest.mark.parametrize("by_hand", ["2", "1", "0", "9"], ids=["one", "two", "all", "otherwise"])
async def test_changes_to_one_line_that_were_undone_by_hand_in_part_give_the_rest(
    history: History, git: Git, by_hand: str
) -> None:
    history.commit({"a": "0\n"})
    stack = [history.commit({"a": f"{number}\n"}) for number in (1, 2)]
    history.commit({"b": "b\n"})
    stack.append(history.commit({"a": "3\n"}))
    ours = await compute_revert(git, stack, history.commit({"a": f"{by_hand}\n"}))
    if by_hand == "0":
        assert isinstance(ours, Empty)
        assert ours.reason is EmptyReason.NOTHING_LEFT
    elif by_hand == "9":
        assert isinstance(ours, RevertConflict)
        assert ours.commit == stack[-1]
    else:
        assert isinstance(ours, Clean)
        assert history.files(ours.tree) == {"a": "0", "b": "b"}
        assert stack[0] in ours.reverted


@pytest.mark.parametrize("claim", ["true", "of one that is there", "brought back"])
async def test_what_was_undone_with_more_is_nothing_left_where_that_is_said_and_stands(
    history: History, git: Git, claim: str
) -> None:
    history.commit({"a": "0\n", "b": "0\n"})
    first, *stack = [history.commit({"a": f"{number}\n"}) for number in (1, 2, 3)]
    other = history.commit({"b": "1\n"})
    undone = [first, *stack, *([other] if claim == "of one that is there" else [])]
    said = "\n".join(f"This reverts commit {sha}." for sha in undone)
    history.commit({"a": "0\n"}, f"Back\n\n{said}")
    onto = history.commit({"a": "0, or\n"} if claim == "brought back" else {"c": "c\n"})
    ours = await compute_what_is_left(git, stack, onto)
    assert isinstance(ours, Empty if claim == "true" else RevertConflict)


async def test_commits_of_one_second_are_still_ordered_by_descent(
    history: History, git: Git
) -> None:
    history.commit({"a": "0\n"})
    stack = []
    for number in range(1, 6):
        history.clock -= 120
        stack.append(history.commit({"a": f"{number}\n"}))
    ours = await compute_revert(git, stack, history.head)
    assert isinstance(ours, Clean)
    assert ours.reverted == tuple(reversed(stack))


async def test_a_commit_of_which_a_part_was_reverted_gives_the_rest(
    history: History, git: Git
) -> None:
    history.commit({"a": LINES, "b": LINES})
    broken = history.commit({"a": LINES + "boom\n", "b": LINES + "boom\n"})
    history.commit({"a": LINES})
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, Clean)
    assert [change.path for change in ours.changes] == ["b"]


async def test_a_revert_can_itself_be_reverted(history: History, git: Git) -> None:
    history.commit({"a": LINES})
    history.commit({"a": LINES + "feature\n"})
    back = history.commit({"a": LINES})
    ours = await same_as_git(history, git, back)
    assert isinstance(ours, Clean)
    assert "feature" in history.files(ours.tree)["a"]


async def test_nothing_left_to_undo_says_why(history: History, git: Git) -> None:
    history.commit({"a": LINES})
    gone = history.commit({"a": LINES + "boom\n"})
    history.commit({"a": LINES})
    nothing = history.commit()
    records = history.commit({"docs/decisions/0001.md": "adr\n"})
    left = await same_as_git(history, git, gone)
    assert isinstance(left, Empty)
    assert left.reason is EmptyReason.NOTHING_LEFT
    empty = await same_as_git(history, git, nothing)
    assert isinstance(empty, Empty)
    assert empty.reason is EmptyReason.COMMIT_EMPTY
    kept = await compute_revert(git, [records], records, keep=KeptFiles(("docs/decisions/**",)))
    assert isinstance(kept, Empty)
    assert kept.reason is EmptyReason.ONLY_RECORDS


async def test_record_files_stay_as_they_are_on_the_branch(history: History, git: Git) -> None:
    history.commit({"app.py": LINES, "self/spec_report.json": "{}\n"})
    broken = history.commit(
        {
            "app.py": LINES + "boom\n",
            "docs/decisions/0007-revert.md": "proposed\n",
            "self/spec_report.json": '{"a": 1}\n',
            "apps/o/incidents/revert-1.json": "{}\n",
        }
    )
    onto = history.commit({"docs/decisions/0007-revert.md": "accepted\n"})
    globs = ["docs/decisions/**", "self/", "/apps/o/incidents/revert-*.json", "", "  "]
    ours = await compute_revert(git, [broken], onto, keep=KeptFiles(tuple(globs)))
    assert isinstance(ours, Clean)
    assert [change.path for change in ours.changes] == ["app.py"]
    without = await compute_revert(git, [broken], onto)
    assert isinstance(without, RevertConflict), (
        "the ADR was changed since, so git revert stops there"
    )


async def test_a_record_glob_does_not_reach_into_other_directories(
    history: History, git: Git
) -> None:
    history.commit({"a": "a\n"})
    broken = history.commit({"docs/x.md": "x\n", "docs/deep/y.md": "y\n", "docsx/z.md": "z\n"})
    ours = await compute_revert(git, [broken], broken, keep=KeptFiles(("docs/*.md",)))
    assert isinstance(ours, Clean)
    assert [change.path for change in ours.changes] == ["docs/deep/y.md", "docsx/z.md"]


@pytest.mark.parametrize("follow", ["conflict", "true"])
async def test_a_directory_renamed_back_leaves_the_records_where_they_are(
    history: History, git: Git, follow: str
) -> None:
    history.git("config", "merge.directoryRenames", follow)
    history.commit({"old/app.py": LINES, "old/more.py": LINES + "more\n"})
    history.git("mv", "old", "new")
    broken = history.commit()
    onto = history.commit({"new/0001.md": "adr\n", "self/report.json": "{}\n"})
    ours = await compute_revert(git, [broken], onto, keep=KeptFiles(("new/*.md", "self/")))
    assert isinstance(ours, Clean)
    left = {"new/0001.md", "old/app.py", "old/more.py", "self/report.json"}
    assert set(history.files(ours.tree)) == left
    code = history.commit({"new/late.py": "late\n"})
    beside = await compute_revert(git, [broken], code, keep=KeptFiles(("new/*.md", "self/")))
    if follow == "true":
        assert isinstance(beside, Clean)
        assert set(history.files(beside.tree)) == {*left, "old/late.py"}
    else:
        assert isinstance(beside, RevertConflict)
        assert [path.path for path in beside.paths] == ["old/late.py"]
        assert left <= set(history.files(beside.tree))


@pytest.mark.parametrize(
    ("attributes", "where"),
    [
        ("CHANGES merge=union\n", ".gitattributes"),
        ("CHANGES merge=union\n", "deep/.gitattributes"),
        ("CHANGES -merge\n", ".gitattributes"),
        ("CHANGES binary\n", "deep/.gitattributes"),
        ("[attr]joined merge=union\nCHANGES joined\n", ".gitattributes"),
        ("*.py diff=python\n", ".gitattributes"),
    ],
)
@pytest.mark.parametrize("far", [True, False])
async def test_attributes_of_the_branch_steer_the_merge(
    history: History, git: Git, attributes: str, where: str, far: bool
) -> None:
    history.commit({where: attributes, "deep/CHANGES": LINES})
    broken = history.commit({"deep/CHANGES": LINES.replace("line 3", "boom")})
    since = LINES.replace("line 3", "boom")
    edited = since.replace("line 15", "fifteen") if far else since.replace("boom", "boom, again")
    onto = history.commit({"deep/CHANGES": edited})
    await same_as_git(history, git, broken, onto=onto)


async def test_attributes_that_only_lie_in_the_work_tree_do_not_count(
    history: History, git: Git
) -> None:
    history.commit({"CHANGES": LINES})
    broken = history.commit({"CHANGES": LINES.replace("line 3", "boom")})
    onto = history.commit({"CHANGES": LINES.replace("line 3", "boom, again")})
    (history.path / ".gitattributes").write_text("CHANGES merge=union\n")
    assert isinstance(await compute_revert(git, [broken], onto), RevertConflict)


async def test_a_path_that_is_not_utf8_is_computed_but_not_published(
    history: History, git: Git
) -> None:
    history.commit({"a": "a\n"})
    (history.path / "caf\udce9").write_bytes(b"x\n")
    broken = history.commit()
    tree, _ = history.really_revert(broken, onto=broken)
    ours = await reverted_tree(git, [broken], broken)
    assert isinstance(ours, RevertedTree)
    assert ours.tree == tree
    with pytest.raises(PathNotUtf8, match=r"caf\\xe9"):
        await compute_revert(git, [broken], broken)


async def test_paths_with_quotes_spaces_and_line_ends_come_through(
    history: History, git: Git
) -> None:
    names = ['"quoted"', "two words", "line\nend", "tab\there", ":(top)magic", "-dash", "ünï"]
    history.commit(dict.fromkeys(names, LINES))
    broken = history.commit({name: LINES.replace("line 3", "boom") for name in names})
    ours = await same_as_git(history, git, broken)
    assert isinstance(ours, Clean)
    assert sorted(change.path for change in ours.changes) == sorted(names)
    last = history.commit({name: LINES.replace("line 3", "bang") for name in names})
    conflict = await compute_revert(git, [broken], last)
    assert isinstance(conflict, RevertConflict)
    assert sorted(path.path for path in conflict.paths) == sorted(names)
    assert all([info.sha for info in path.changed_since] == [last] for path in conflict.paths)


async def test_more_than_three_hundred_files_are_all_listed(history: History, git: Git) -> None:
    history.commit({"a": "a\n"})
    broken = history.commit({f"many/{number}.txt": f"{number}\n" for number in range(350)})
    ours = await compute_revert(git, [broken], broken)
    assert isinstance(ours, Clean)
    assert len(ours.changes) == 350


async def test_where_a_shallow_clone_ends_the_way_out_is_named(history: History) -> None:
    history.commit({"a": "1\n"})
    history.commit({"a": "2\n"})
    cut = history.path.parent / "cut"
    history.git("clone", "--quiet", "--depth=1", f"file://{history.path}", str(cut))
    with pytest.raises(ShallowHistory, match="git fetch --unshallow"):
        await compute_revert(Git(cut / ".git"), [history.head], history.head)
