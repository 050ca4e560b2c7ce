"""How host git is run: bounded in time and output, deaf to its surroundings, without secrets."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.git.errors import (
    GitFailed,
    GitTimeout,
    GitTooOld,
    OutputTooLarge,
    RemoteUnavailable,
    redacted,
)
from bot.git.process import Git, require_git
from bot.git.trees import has_tree
from tests.git.history_builder import History


def alias(git: Git, command: str) -> Git:
    """The same repository with an alias `git slow` that runs a shell command of the test's."""

    async def config() -> dict[str, str]:
        return {"alias.slow": f"!{command}"}

    return Git(git.git_dir, credentials=config)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until_gone(pid: int) -> bool:
    for _ in range(100):
        if not alive(pid):
            return True
        await asyncio.sleep(0.02)
    return False


def written(file: Path) -> bool:
    return file.exists() and bool(file.read_text().strip())


async def until_written(file: Path) -> None:
    for _ in range(500):
        if written(file):
            return
        await asyncio.sleep(0.02)


async def test_a_command_that_hangs_is_killed_with_all_its_children(
    git: Git, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    slow = alias(git, f"sh -c 'trap \"\" TERM; sleep 60 & echo $! >{noted}; wait'")
    started = time.monotonic()
    with pytest.raises(GitTimeout, match=r"git slow took longer than 0\.5 s"):
        await slow.run("slow", network=True, timeout=0.5)
    assert time.monotonic() - started < 10
    assert await until_gone(int(noted.read_text()))


async def test_a_cancelled_command_leaves_no_process(git: Git, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    slow = alias(git, f"sh -c 'sleep 60 & echo $! >{noted}; wait'")
    task = asyncio.create_task(slow.run("slow", network=True))
    await until_written(noted)
    task.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 10
    assert await until_gone(int(noted.read_text()))


async def test_a_command_cancelled_while_it_starts_leaves_no_process(
    git: Git, tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    slow = alias(git, f"sh -c 'sleep 60 & echo $! >{noted}; wait'")
    task = asyncio.create_task(slow.run("slow", network=True))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # The loop stands still while the process gets on, as on a busy machine.
    for _ in range(500):
        if written(noted):
            break
        time.sleep(0.01)  # noqa: ASYNC251 - that is the point
    assert written(noted)
    task.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - started < 10
    assert await until_gone(int(noted.read_text()))


async def test_endless_output_is_stopped(git: Git) -> None:
    with pytest.raises(OutputTooLarge, match="1,000,000 bytes"):
        await alias(git, "yes").run("slow", network=True, limit=1_000_000)


async def test_a_command_that_does_not_read_its_input_is_no_error(git: Git) -> None:
    await alias(git, "true").run("slow", network=True, stdin=b"x" * 5_000_000)


async def test_configuration_and_hooks_around_us_do_not_count(
    history: History, git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Eve\n[alias]\n\tevil = !false\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_TRACE", "1")
    sha = history.commit({"a": "a\n"})
    said = await git.run("rev-parse", "HEAD")
    assert (said.text, said.stderr) == (sha, "")
    name = await git.run("config", "--get", "user.name", ok=(0, 1))
    assert name.code == 1
    assert (await git.run("config", "--get", "core.hooksPath")).text == os.devnull


async def test_a_failure_tells_the_command_the_code_and_the_last_words(git: Git) -> None:
    with pytest.raises(GitFailed, match=r"git rev-list ended with 12[89]: .*nowhere") as caught:
        await git.run("rev-list", "nowhere", "--")
    assert caught.value.command == "rev-list"


async def test_a_fetch_that_git_began_by_itself_and_that_broke_off_is_told_from_a_fault(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nkill -PIPE $$\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    # What may not fetch has no such object; what may has not reached the remote.
    assert not await has_tree(git, "0" * 40)
    with pytest.raises(RemoteUnavailable):
        await git.run("cat-file", "blob", "0" * 40, network=True)


async def test_a_secret_is_neither_an_argument_nor_said(git: Git) -> None:
    async def secret() -> dict[str, str]:
        return {
            "http.https://example.org/.extraHeader": "Authorization: Basic c2VjcmV0d29yZA==",
            "alias.tell": "!git config --get-regexp extraheader >&2; tr '\\0' ' '"
            " </proc/$PPID/cmdline; exit 7",
        }

    said = await Git(git.git_dir, credentials=secret).run("tell", network=True, ok=(7,))
    assert "c2VjcmV0" not in said.stderr + said.text
    assert "[hidden]" in said.stderr
    quiet = await Git(git.git_dir, credentials=secret).run("config", "--list")
    assert "extraheader" not in quiet.text, "only commands that may use the network get it"


@given(st.text(), st.text(alphabet="abcdefXYZ0123456789", min_size=8), st.text())
def test_no_token_survives_redaction(before: str, word: str, after: str) -> None:
    token = f"ghs_{word}"
    assert token not in redacted(f"{before} {token} {after}")
    assert word not in redacted(f"fatal: https://bot:{word}@example.org/x")
    assert f"Basic {word}" not in redacted(f"> Authorization: Basic {word}")


@pytest.mark.parametrize(
    "token",
    ["ghp_" + "a" * 36, "github_pat_" + "B" * 40, "ghs_12345_eyJhbGciOi.eyJpc3MiOiI.c2ln-nat_ure"],
)
def test_every_published_form_of_token_is_hidden(token: str) -> None:
    assert redacted(f"bad credential '{token}' given") == "bad credential '[hidden]' given"


def test_last_words_are_kept_short_from_the_end() -> None:
    said = redacted("x" * 10_000 + "the end")
    assert len(said) <= 2001
    assert said.endswith("the end")


@pytest.mark.parametrize(("times", "is_done"), [(1, True), (3, True), (4, False)])
async def test_a_folder_that_packing_took_away_is_written_to_again(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, is_done: bool
) -> None:
    real, tries = shutil.which("git"), tmp_path / "tries"
    script = f"""#!/bin/sh
echo x >> {tries}
test $(wc -l < {tries}) -gt {times} && exec {real} "$@"
echo 'error: unable to create temporary file: No such file or directory' >&2
exit 128
"""
    (tmp_path / "git").write_text(script)
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if is_done:
        said = await git.run("hash-object", "-w", "--stdin", stdin=b"here\n")
        assert len(said.stdout.strip()) == 40
    else:
        with pytest.raises(GitFailed, match="unable to create temporary file"):
            await git.run("hash-object", "-w", "--stdin", stdin=b"here\n")
    assert tries.read_text() == "x\n" * min(times + 1, 4)


def test_without_git_the_fix_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require_git.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitTooOld, match=r"git was not found: install git 2\.38"):
        require_git()
    old = tmp_path / "git"
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(0o755)
    with pytest.raises(GitTooOld, match=r"git 2\.30\.2 is too old"):
        require_git()
    monkeypatch.undo()
    require_git.cache_clear()
    assert require_git() >= (2, 38)
