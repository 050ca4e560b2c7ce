"""Where a trial's control group would be made; real ones only where this process may make them."""

import asyncio
from pathlib import Path

import pytest

from bot.trials.limits import create_cgroup, parent_for_trials


def tree(folder: Path, controllers: str) -> Path:
    """Lay out what the kernel shows: a slice with two scopes."""
    (folder / "user.slice/one.scope").mkdir(parents=True)
    (folder / "user.slice/cgroup.subtree_control").write_text(controllers)
    own = folder / "own"
    own.write_text("12:pids:/x\n0::/user.slice/one.scope\n")
    return own


def test_trials_become_siblings_of_this_process(tmp_path: Path) -> None:
    own = tree(tmp_path, "cpu memory pids\n")
    assert parent_for_trials(tmp_path, own) == tmp_path / "user.slice"


def test_without_the_memory_controller_there_is_no_place(tmp_path: Path) -> None:
    assert parent_for_trials(tmp_path, tree(tmp_path, "cpu pids\n")) is None


@pytest.mark.parametrize("text", ["", "0::/\n", "4:memory:/x\n", "0::/../..\n"])
def test_at_the_root_or_on_old_hierarchies_there_is_no_place(tmp_path: Path, text: str) -> None:
    own = tree(tmp_path, "memory\n")
    own.write_text(text)
    assert parent_for_trials(tmp_path, own) is None


def test_where_nothing_can_be_made_trials_run_without(tmp_path: Path) -> None:
    assert create_cgroup(tmp_path / "missing", "trial", 1 << 20) is None


@pytest.mark.skipif(parent_for_trials() is None, reason="no cgroup v2 with memory to write to here")
async def test_the_kernel_holds_the_memory_limit() -> None:
    parent = parent_for_trials()
    assert parent is not None
    group = create_cgroup(parent, "playbooks-test", 32 << 20)
    assert group is not None
    script = f"echo $$ > {group.processes_file}; x=$(head -c 90000000 /dev/zero | tr '\\0' x); :"
    process = await asyncio.create_subprocess_exec("sh", "-c", script)
    await process.wait()
    assert group.ran_out_of_memory()
    group.kill()
    group.remove()
