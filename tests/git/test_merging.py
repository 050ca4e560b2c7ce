"""Reading what `git merge-tree -z` says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.git.merge import parse_merge

TREE = "a" * 40
paths = st.binary(min_size=1, max_size=20).map(lambda raw: raw.replace(b"\0", b"_"))


def printed(stages: list[tuple[bytes, int]], messages: list[tuple[list[bytes], str]]) -> bytes:
    records = [TREE.encode()]
    records += [b"100644 %s %d\t%s" % (b"b" * 40, stage, path) for path, stage in stages]
    records.append(b"")
    for named, kind in messages:
        records += [b"%d" % len(named), *named, kind.encode(), b"some words\n"]
    return b"\0".join(records) + b"\0"


@given(st.lists(paths, min_size=1, max_size=4, unique=True))
def test_every_unmerged_path_comes_back_once_whatever_its_bytes(named: list[bytes]) -> None:
    stages = [(path, stage) for path in named for stage in (1, 2, 3)]
    said = printed(stages, [([path], "CONFLICT (contents)") for path in named])
    merged = parse_merge(said, clean=False)
    assert merged.tree == TREE
    assert [unmerged.path for unmerged in merged.unmerged] == named
    assert all(u.kinds == ("contents",) and u.stages == (1, 2, 3) for u in merged.unmerged)


def test_a_clean_merge_tells_which_contents_were_merged() -> None:
    merged = parse_merge(printed([], [([b"a"], "Auto-merging"), ([b"a"], "Auto-merging")]), True)
    assert merged.clean
    assert merged.unmerged == ()
    assert merged.content_merged == (b"a",)


def test_a_file_that_a_directory_pushed_aside_keeps_its_name() -> None:
    side = "c" * 40
    said = printed([(b"swap~" + side.encode(), 2), (b"swap~" + side.encode() + b"_0", 3)], [])
    (unmerged,) = parse_merge(said, False, ("d" * 40, side)).unmerged
    assert (unmerged.path, unmerged.stages) == (b"swap", (2, 3))


def test_advice_after_the_messages_is_not_read() -> None:
    said = printed([(b"vendor", 2)], [([b"vendor"], "CONFLICT (submodule not initialized)")])
    (unmerged,) = parse_merge(said + b"Recursive merging with submodules ...\0 1\0", False).unmerged
    assert unmerged.kinds == ("submodule not initialized",)


@pytest.mark.parametrize(
    "said",
    [
        b"fatal",
        TREE.encode() + b"\x00100644 x z\tp\0\0",
        TREE.encode() + b"\0\x003\0a\0",
    ],
)
def test_other_output_is_refused(said: bytes) -> None:
    with pytest.raises(ValueError, match="merge-tree"):
        parse_merge(said, clean=False)
