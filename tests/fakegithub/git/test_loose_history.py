"""What the demo GitHub works out of loose objects by itself is what git says."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fakegithub.git.bare import BareRepository, Signature

AUTHOR = Signature("Ada", "ada@example.test", datetime(2026, 1, 1, tzinfo=UTC))


def histories(git: BareRepository, draw: random.Random) -> list[str]:
    """Thirty commits: rows, branches, merges, and several beginnings."""
    commits: list[str] = []
    for number in range(30):
        parents = draw.sample(commits[-6:], min(len(commits), draw.choice((0, 1, 1, 1, 1, 2))))
        base = git.commit(parents[0]).tree if parents else None
        entries = git.tree(base, recursive=True) if base else []
        paths = [each.path for each in entries if each.type == "blob"]
        blob = git.write("blob", b"%d" % number)
        change: dict[str, tuple[str, str] | None] = {
            draw.choice(("a", "b/c", "b.d", "b/e/f", "é", "b")): ("100644", blob)
        }
        if paths and draw.random() < 0.4:
            change.setdefault(draw.choice(paths), None)
        commits.append(git.write_commit(git.write_tree(base, change), parents, "m", AUTHOR))
    return commits


@pytest.mark.parametrize("seed", range(3))
def test_what_is_read_of_loose_objects_is_what_git_says(tmp_path: Path, seed: int) -> None:
    git, draw = BareRepository.create(tmp_path / "r.git", "main"), random.Random(seed)  # noqa: S311
    commits, settled = histories(git, draw), 0
    for _ in range(25):
        one, other, third = draw.choices(commits, k=3)
        code, base = git.run_code("merge-base", one, other, ok=(0, 1))
        assert git.merge_base(one, other) == (base.decode().strip() if code == 0 else None)
        code, _out = git.run_code("merge-base", "--is-ancestor", one, other, ok=(0, 1))
        assert git.is_ancestor(one, other) is (code == 0)
        for args in (
            (one, f"^{other}"),
            ("--reverse", "--topo-order", one, f"^{other}", f"^{third}"),
        ):
            settled += git._history.new_ones(args) is not None
            assert git.rev_list(*args) == git.text("rev-list", *args).splitlines()
        shown = ("--root", "-r", "--no-commit-id", "--name-status", "-z")
        fields = git.run("diff-tree", *shown, one).decode().split("\0")
        assert list(git.name_status(one).items()) == list(
            zip(fields[1::2], fields[:-1:2], strict=False)
        )
    assert settled > 25
