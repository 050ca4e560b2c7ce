"""Questions about commits, asked of generated histories."""

from __future__ import annotations

import pytest

from bot.git.errors import AmbiguousRevision, UnknownRevision
from bot.git.history import (
    commit_range,
    describe,
    first_parents,
    is_ancestor,
    merge_base,
    newest_first,
    resolve,
    resolve_expression,
)
from bot.git.process import Git
from tests.git.history_builder import History


async def test_an_abbreviated_sha_is_resolved_in_either_case(history: History, git: Git) -> None:
    sha = history.commit({"a": "a\n"})
    for said in (sha, sha[:7], sha[:10].upper(), f"  {sha} "):
        assert await resolve(git, said) == sha


async def test_a_branch_named_like_a_sha_is_never_meant(history: History, git: Git) -> None:
    sha = history.commit({"a": "1\n"})
    other = history.commit({"a": "2\n"})
    history.git("branch", sha[:7], other)
    assert await resolve(git, sha[:7]) == sha


async def test_an_ambiguous_sha_names_its_candidates(history: History, git: Git) -> None:
    lines = "".join(
        f"commit refs/heads/many\ncommitter A <a@b> {second} +0000\ndata 0\n"
        for second in range(1_700_000_000, 1_700_003_000)
    )
    history.git("fast-import", "--quiet", stdin=lines.encode())
    shas = history.git("rev-list", "many").split()
    prefixes = [sha[:4] for sha in shas]
    twice = next(prefix for prefix in prefixes if prefixes.count(prefix) > 1)
    with pytest.raises(AmbiguousRevision, match="give more characters") as caught:
        await resolve(git, twice)
    assert set(caught.value.candidates) == {sha for sha in shas if sha.startswith(twice)}


@pytest.mark.parametrize(
    "said", ["HEAD", "main", "--help", "abc", "", "f" * 40, "f" * 65, "deadbeef\n--all", "é" * 8]
)
async def test_words_that_are_no_sha_here_are_unknown(
    history: History, git: Git, said: str
) -> None:
    history.commit({"a": "a\n"})
    with pytest.raises(UnknownRevision):
        await resolve(git, said)


async def test_a_tree_or_blob_is_not_a_commit(history: History, git: Git) -> None:
    history.commit({"a": "a\n"})
    with pytest.raises(UnknownRevision):
        await resolve(git, history.tree())


async def test_a_local_clone_takes_any_revision(history: History, git: Git) -> None:
    first = history.commit({"a": "1\n"})
    second = history.commit({"a": "2\n"}, "the second of two")
    history.git("tag", "-a", "-m", "v1", "v1", first)
    assert await resolve_expression(git, "v1") == first
    assert await resolve_expression(git, "HEAD~1") == first
    assert await resolve_expression(git, "main") == second
    assert await resolve_expression(git, ":/the second of") == second
    for wrong in (
        "nothing",
        "--output=x",
        "HEAD:a",
        "",
        "main~9",
        "^main~1",
        ":/nobody wrote this",
    ):
        with pytest.raises(UnknownRevision):
            await resolve_expression(git, wrong)


async def test_ancestors_bases_and_ranges(history: History, git: Git) -> None:
    start = history.commit({"a": "a\n"})
    history.branch("topic", start)
    work = history.commit({"t": "t\n"})
    history.checkout("main")
    side = history.commit({"m": "m\n"})
    merged = history.merge("topic")
    assert await is_ancestor(git, start, merged)
    assert await is_ancestor(git, merged, merged)
    assert not await is_ancestor(git, merged, start)
    assert await merge_base(git, work, side) == start
    history.git("checkout", "--quiet", "--orphan", "alone")
    assert await merge_base(git, history.commit({"z": "z\n"}), merged) is None
    full = await commit_range(git, start, merged)
    assert {node.sha for node in full} == {work, side, merged}
    assert full[-1].parents == (side, work)
    line = await commit_range(git, start, merged, first_parent=True)
    assert [(node.sha, node.parents) for node in line] == [(side, (start,)), (merged, (side,))]
    assert await first_parents(git, merged, 2) == [merged, side]
    assert await newest_first(git, [start, work, start, merged]) == [merged, work, start]


async def test_a_commit_is_described_whatever_its_message_holds(history: History, git: Git) -> None:
    first = history.commit({"a": "1\n"}, "<b>subject</b>\x01\n\nbody\x02\n\n* list")
    raw = (
        f"tree {history.tree()}\nauthor  <> 99999999999999999 +0000\n"
        "committer Bo <bo@example.org> -1 +0000\nencoding latin-1\n\nodd \xe9"
    ).encode("latin-1")
    odd = history.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
    infos = await describe(git, [odd, first])
    assert [info.sha for info in infos] == [odd, first]
    assert infos[1].subject == "<b>subject</b>\x01"
    assert infos[1].body == "body\x02\n\n* list"
    assert infos[1].author == "Ada"
    assert infos[1].authored_at.isoformat() == "2023-11-14T22:14:20+00:00"
    assert infos[0].subject == "odd é"
    assert await describe(git, []) == []
