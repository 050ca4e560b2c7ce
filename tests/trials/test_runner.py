"""Trials end to end: a real repository, a real command, an outcome."""

import asyncio
import os
import shlex
from pathlib import Path

import pytest

from bot.culprit.evidence import TrialOutcome
from bot.trials.limits import TrialLimits, marked
from bot.trials.outcome import CommandNotFoundError
from bot.trials.sandbox import MARK_VARIABLE
from bot.trials.worktree import Workplace, remove_dead, workplace
from tests.trials.conftest import RunnerFor
from tests.trials.kit import Repository

SHELL = ("/bin/sh", "-c")


async def test_the_command_sees_the_files_of_its_commit(
    repository: Repository, runner_for: RunnerFor
) -> None:
    good, bad = repository.commit({"value": "1"}), repository.commit({"value": "2"})
    runner = runner_for("grep", "-q", "1", "value")
    assert (await runner.run(good, "1")).judgement.outcome is TrialOutcome.PASS
    assert (await runner.run(bad, "2")).judgement.outcome is TrialOutcome.FAIL


async def test_words_of_a_command_are_never_parsed(
    repository: Repository, runner_for: RunnerFor
) -> None:
    commit = repository.commit({"a": "1"})
    result = await runner_for("echo", "$(touch sprung)", ";", "`id`", "'").run(commit, "1")
    assert result.output == "$(touch sprung) ; `id` '\n"


async def test_what_is_printed_and_measured_comes_back(
    repository: Repository, runner_for: RunnerFor
) -> None:
    commit = repository.commit({"a": "1"})
    script = """echo out; echo err >&2
echo '{"fingerprint": "t1", "metrics": {"speed": 2.5}}' > "$PLAYBOOKS_RESULT"; exit 3"""
    result = await runner_for(*SHELL, script).run(commit, "1")
    assert result.output == "out\nerr\n"
    assert result.judgement.outcome is TrialOutcome.FAIL
    assert result.judgement.fingerprint == frozenset({"t1"})
    assert result.judgement.metrics == {"speed": 2.5}


async def test_a_result_of_one_trial_is_not_read_by_the_next(
    repository: Repository, runner_for: RunnerFor
) -> None:
    writes = repository.commit({"run": 'echo \'{"fingerprint": "x"}\' > $PLAYBOOKS_RESULT; exit 1'})
    silent = repository.commit({"run": "exit 1"})
    runner = runner_for("sh", "run")
    assert (await runner.run(writes, "1")).judgement.fingerprint == frozenset({"x"})
    assert (await runner.run(silent, "2")).judgement.fingerprint is None


@pytest.mark.parametrize("command", [("no-such-command",), ("./not-executable",)])
async def test_a_command_that_cannot_run_is_said_so(
    repository: Repository, runner_for: RunnerFor, command: tuple[str, ...]
) -> None:
    commit = repository.commit({"not-executable": "x"})
    with pytest.raises(CommandNotFoundError, match="command not found"):
        await runner_for(*command).run(commit, "1")


async def test_a_crash_is_a_failure_and_a_kill_is_not(
    repository: Repository, runner_for: RunnerFor
) -> None:
    commit = repository.commit({"a": "1"})
    crash = await runner_for(*SHELL, "kill -SEGV $$").run(commit, "1")
    assert crash.judgement.outcome is TrialOutcome.FAIL
    killed = await runner_for(*SHELL, "kill -KILL $$").run(commit, "2")
    assert killed.judgement.outcome is TrialOutcome.INFRA


async def test_a_hanging_command_is_infra(repository: Repository, runner_for: RunnerFor) -> None:
    commit = repository.commit({"a": "1"})
    result = await runner_for("sleep", "1000", limits=TrialLimits(wall_seconds=0.3)).run(
        commit, "1"
    )
    assert result.judgement.outcome is TrialOutcome.INFRA
    assert result.judgement.reason == "no end after 0.3 s"
    assert result.seconds < 5


async def test_a_tree_is_built_once(
    repository: Repository, runner_for: RunnerFor, tmp_path: Path
) -> None:
    first = repository.commit({"a": "1"})
    repository.commit({"a": "2"})
    same_tree = repository.commit({"a": "1"}, "back again")
    count = f"echo x >> {shlex.quote(str(tmp_path / 'builds'))}; sleep 0.2; echo made > built"
    runner = runner_for(*SHELL, "grep -q made built && rm built", build=(*SHELL, count), workers=3)
    results = await asyncio.gather(
        *(runner.run(commit, str(n)) for n, commit in enumerate([first, same_tree, first, first]))
    )
    assert {result.judgement.outcome for result in results} == {TrialOutcome.PASS}
    assert (tmp_path / "builds").read_text() == "x\n"


async def test_what_does_not_build_is_untestable_and_not_built_again(
    repository: Repository, runner_for: RunnerFor, tmp_path: Path
) -> None:
    commit = repository.commit({"a": "1"})
    count = f"echo x >> {shlex.quote(str(tmp_path / 'builds'))}; exit 2"
    runner = runner_for("false", build=(*SHELL, count))
    for trial in ("1", "2"):
        judged = (await runner.run(commit, trial)).judgement
        assert judged.outcome is TrialOutcome.UNTESTABLE
        assert judged.reason == "it does not build: exit status 2"
    assert (tmp_path / "builds").read_text() == "x\n"


async def test_a_cancelled_trial_leaves_no_process(
    repository: Repository, runner_for: RunnerFor, place_of_work: Workplace
) -> None:
    commit = repository.commit({"a": "1"})
    trial = asyncio.create_task(runner_for("sleep", "1000").run(commit, "1"))
    while not marked(place_of_work.mark("1")):  # noqa: ASYNC110 - a process tells no event
        await asyncio.sleep(0.05)
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    assert not marked(place_of_work.mark("1"))


async def test_a_process_that_leaves_its_group_is_found_without_a_sandbox(
    repository: Repository, runner_for: RunnerFor, place_of_work: Workplace
) -> None:
    commit = repository.commit({"a": "1"})
    runner = runner_for(*SHELL, "setsid sleep 1000 & exit 0")
    assert (await runner.run(commit, "1")).judgement.outcome is TrialOutcome.PASS
    assert not marked(place_of_work.mark("1"))


async def test_a_dead_session_is_cleaned_up_and_a_living_one_is_not(tmp_path: Path) -> None:
    dead = tmp_path / f"playbooks-trials-{os.getuid()}-dead"
    dead.mkdir()
    (dead / "lock").touch()
    stray = await asyncio.create_subprocess_exec(
        "sleep", "1000", env={MARK_VARIABLE: f"{os.getuid()}-dead/7", "PATH": os.environ["PATH"]}
    )
    async with workplace(tmp_path) as living:
        assert not dead.exists()
        assert await asyncio.wait_for(stray.wait(), 5) == -9
        await remove_dead(tmp_path)
        assert living.folder.is_dir()
    assert not living.folder.exists()
