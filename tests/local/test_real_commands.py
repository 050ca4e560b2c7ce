"""Commands as developers write them: they need their home, what is installed, where they stand."""

import shutil
from pathlib import Path

import pytest

from bot.culprit.verdict import Candidate, SearchStatus, Verdict
from bot.local.messages import conclusion
from tests.local.kit import Person, history
from tests.trials.kit import Repository, needs_bubblewrap

WORKS = ("grep", "-q", "good", "state")


def only(tools: Path, *names: str) -> str:
    """Make a PATH with these programs and what every trial needs."""
    tools.mkdir()
    for name in ("git", "sh", "grep", "nice", "cp", "rm", "chmod", "mkdir", "test", "cat", *names):
        (tools / name).symlink_to(shutil.which(name) or name)
    return str(tools)


@pytest.mark.sampled("as it is", "without a sandbox")
@pytest.mark.parametrize("machine", ["as it is", "without overlays", "without a sandbox"])
def test_a_command_uses_caches_and_dependencies_and_changes_none_of_them(
    person: Person, clone: Repository, tmp_path: Path, machine: str
) -> None:
    clone.commit({".gitignore": "node_modules/"})
    commits = history(clone, 6, broken_from=3)
    installed = clone.folder / "node_modules/dep"
    installed.mkdir(parents=True)
    (installed / "version").write_text("1")
    (person.home / ".toolrc").write_text("configured")
    (person.home / ".cache").mkdir()
    if machine != "as it is":
        programs = ["bwrap"] if machine == "without overlays" else []
        person.environment["PATH"] = only(tmp_path / "tools", *programs)
    script = """grep -q configured ~/.toolrc && mkdir -p ~/.cache/tool &&
        echo x > ~/.cache/tool/x && grep -q 1 node_modules/dep/version || exit 125
        grep -q good state"""
    if machine != "without a sandbox":
        script = "echo x > ~/.lock || exit 125; " + script
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    assert said.verdict["culprit"] == commits[3]
    assert "Trials also see from your checkout: node_modules." in said.err
    if machine != "without a sandbox":
        assert not (person.home / ".lock").exists()
        assert not (person.home / ".cache/tool").exists()


@needs_bubblewrap
@pytest.mark.thorough
def test_changes_of_files_in_the_home_are_seen_by_their_trial_only(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 6, broken_from=3)
    lock = person.home / ".cache/lock"
    lock.parent.mkdir()
    lock.write_text("first\n")
    script = (
        'echo again >> ~/.cache/lock; test "$(wc -l < ~/.cache/lock)" = 2 && grep -q good state'
    )
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    assert said.verdict["culprit"] == commits[3]
    assert lock.read_text() == "first\n"


@needs_bubblewrap
def test_what_the_build_left_in_the_home_is_there_for_the_command(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 6, broken_from=3)
    said = person.bisect(
        clone.folder, "--good", commits[0], "--json", "--build", "sh -c 'cp state ~/.built'", "--",
        "sh", "-c", "grep -q good ~/.built && rm ~/.built",
    )  # fmt: skip
    assert said.verdict["culprit"] == commits[3]


@needs_bubblewrap
@pytest.mark.thorough
def test_what_was_installed_with_the_path_of_the_checkout_finds_the_commits_files(
    person: Person, clone: Repository
) -> None:
    clone.commit({".gitignore": ".venv/"})
    commits = history(clone, 6, broken_from=3)
    program = clone.folder / ".venv/bin/check"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ncd /; grep -q good {clone.folder}/state\n")
    program.chmod(0o755)
    (clone.folder / "state").write_text("good, but in the checkout only")
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", ".venv/bin/check")
    assert said.verdict["culprit"] == commits[3]


def test_a_command_runs_in_the_folder_where_the_person_stands(
    person: Person, clone: Repository
) -> None:
    old = clone.commit({"readme": "no package yet"})
    commits = [clone.commit({"packages/a/state": "good"})]
    commits += [
        clone.commit({"packages/a/state": "good" if number < 3 else "bad", "n": str(number)})
        for number in range(6)
    ]
    here = clone.folder / "packages/a"
    (here / "node_modules").mkdir()
    (here / "node_modules/dep").write_text("1")
    script = "test -f node_modules/dep || exit 125; grep -q good state"
    said = person.bisect(here, "--good", commits[0], "--json", "--", "sh", "-c", script)
    assert said.verdict["culprit"] == commits[4]
    said = person.bisect(here, "--good", old, "--no-verify", "--", *WORKS)
    assert "the folder packages/a is not in this commit" in said.err


def test_a_test_that_is_not_committed_yet_runs_beside_the_commits_own_files(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 6, broken_from=3)
    (clone.folder / "new-test.sh").write_text(". ./new-part.sh")
    (clone.folder / "new-part.sh").write_text("grep -q good state")
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "new-test.sh")
    assert said.verdict["culprit"] == commits[3]


@pytest.mark.sampled("False")
@pytest.mark.parametrize("is_ignored", [True, False])
def test_what_an_old_build_left_in_the_checkout_never_passes_for_a_commits_own(
    person: Person, clone: Repository, is_ignored: bool
) -> None:
    clone.commit({".gitignore": "program\n" if is_ignored else ""})
    commits = history(clone, 6, broken_from=3)
    (clone.folder / "program").write_text("exit 0")
    said = person.bisect(
        clone.folder, "--good", commits[0], "--json",
        "--build", "sh -c 'echo \"grep -q good state\" > program'", "--",
        "sh", "-c", ". ./program",
    )  # fmt: skip
    assert said.verdict["culprit"] == commits[3]


@pytest.mark.thorough
def test_a_command_may_delete_what_is_installed_and_install_it_anew(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 4, broken_from=2)
    (clone.folder / "node_modules").mkdir()
    (clone.folder / "node_modules/dep").write_text("mine")
    script = "rm -rf node_modules && mkdir node_modules && grep -q good state"
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    assert said.verdict["culprit"] == commits[2]
    assert (clone.folder / "node_modules/dep").read_text() == "mine"


def test_where_the_good_end_fails_its_last_lines_and_the_differences_are_shown(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 6, broken_from=3)
    (clone.folder / "made").mkdir()
    (clone.folder / "made/table").write_text("1")
    (clone.folder / "number").write_text("changed by hand")
    person.environment["DATABASE"] = "here"
    script = "echo reading; cat ma?e/table >/dev/null && grep -q good state"
    words = ("--good", commits[0], "--", "sh", "-c", script)
    said = person.bisect(clone.folder, *words)
    assert said.code == 5
    for text in (said.out, said.err):
        assert (
            f"The good end {commits[0][:12]}: exit status 1. Its last lines:\n  | reading\n" in text
        )
        assert "No such file" in text
        assert "not committed, so not there: made (--share PATH)" in text
        assert "without your changes of number" in text
        assert "DATABASE" in text
        assert "no network" in text
    log = next((person.home / "state/playbooks/bisect").iterdir())
    assert person.bisect(clone.folder, "--replay", log).out == said.out
    said = person.bisect(clone.folder, "--share", "made", "--json", *words)
    assert said.verdict["culprit"] == commits[3]


def test_where_a_program_is_missing_the_differences_are_shown(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 3, broken_from=2)
    (clone.folder / "node_modules").mkdir()
    (clone.folder / "node_modules/tool").write_text("#!/bin/sh\n")
    script = "PATH=$PATH:$PWD/node_modules tool"
    said = person.bisect(clone.folder, "--good", commits[0], "--pristine", "--", "sh", "-c", script)
    assert said.code == 1
    assert "tool: not found" in said.err
    assert "not there: node_modules" in said.err


def test_only_what_lies_in_the_checkout_can_be_shared(person: Person, clone: Repository) -> None:
    history(clone, 3, broken_from=2)
    for path in ("none", "/etc", ".."):
        said = person.bisect(clone.folder, "--share", path, "--", *WORKS)
        assert said.code == 1
        assert f"--share {path}: " in said.err


@pytest.mark.parametrize("status", [128, 130, 255])
def test_any_exit_status_but_a_kill_is_a_failure(
    person: Person, clone: Repository, status: int
) -> None:
    commits = history(clone, 8, broken_from=5)
    script = f"grep -q good state || exit {status}"
    said = person.bisect(clone.folder, "--good", commits[0], "--", "sh", "-c", script)
    assert said.out.startswith(f"{commits[5]} is the culprit")
    assert f"exit status {status}" in said.err


@pytest.mark.sampled("sleep 99-no end after 0.5 s--- timeout 0.45 sh -c")
@pytest.mark.parametrize(
    ("fault", "reason", "remedy"),
    [
        ("sleep 99", "no end after 0.5 s", "-- timeout 0.45 sh -c"),
        ("kill -9 $$", "killed by SIGKILL", "-- sh -c"),
    ],
)
def test_where_the_bad_end_always_hangs_or_is_killed_it_says_so_and_what_to_do(
    person: Person, clone: Repository, fault: str, reason: str, remedy: str
) -> None:
    commits = history(clone, 8, broken_from=5)
    script = f"grep -q good state || {fault}"
    said = person.bisect(
        clone.folder, "--good", commits[0], "--time-limit", "0.5", "--", "sh", "-c", script
    )
    assert said.code == 1
    assert said.out == ""
    assert f"The bad end {commits[-1][:12]} could not run, 3 times in a row" in said.err
    assert said.err.count(f"start again with: {remedy}") == 1
    assert reason in said.err
    assert said.err.count("trial ") <= 4


@pytest.mark.sampled("all, and no good end is named")
@pytest.mark.parametrize(
    ("where", "options"),
    [
        ("[ $(cat number) = 7 ]", ("--good",)),
        ("[ $(cat number) != 0 ] && [ $(cat number) != 7 ]", ("--good",)),
        ("true", ()),
        ("[ $(cat number) = 7 ]", ("--numeric", "n", "--good")),
    ],
    ids=["the bad end", "all between the ends", "all, and no good end is named", "a number's end"],
)
def test_a_search_in_which_nothing_could_run_goes_on_once_it_can(
    person: Person, clone: Repository, tmp_path: Path, where: str, options: tuple[str, ...]
) -> None:
    commits = history(clone, 8, broken_from=5)
    broken, log = person.home / "broken", tmp_path / "log.jsonl"
    broken.touch()
    script = (
        f"{where} && [ -e {broken} ] && kill -9 $$; grep -q good state; r=$?; "
        'printf \'{"metrics": {"n": %s}}\' $r > $PLAYBOOKS_RESULT; exit $r'
    )
    ends = [*options, *([commits[0]] if options else []), "--log", log]
    said = person.bisect(clone.folder, *ends, "--", "sh", "-c", script)
    assert (said.code, "could not run" in said.err) == (1, True)
    assert f"--resume {log}" in said.err
    broken.unlink()
    said = person.bisect(clone.folder, "--resume", log, "--json")
    assert commits[5] in {each["sha"] for each in said.verdict["candidates"]}
    # What could not be run is run now, and not passed over.
    ran = any(f" {sha[:12]}: fail" in said.err for sha in commits[5:])
    assert ran or "--numeric" in options
    assert options or "Good end: " in said.err
    again = person.bisect(clone.folder, "--replay", log, "--json")
    assert again.out == said.out


@pytest.mark.thorough
def test_what_was_proposed_for_a_command_that_hangs_finds_the_culprit(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 8, broken_from=5)
    script = "grep -q good state || sleep 99"
    said = person.bisect(
        clone.folder, "--good", commits[0], "--time-limit", "0.5", "--json", "--",
        "timeout", "0.3", "sh", "-c", script,
    )  # fmt: skip
    assert said.verdict["culprit"] == commits[5]


def test_why_commits_could_not_be_tried_is_said(person: Person, clone: Repository) -> None:
    commits = history(clone, 5, broken_from=4)
    script = "case $(cat number) in 0) exit 0;; 4) exit 1;; esac; sleep 9"
    said = person.bisect(
        clone.folder, "--good", commits[0], "--time-limit", "0.2", "--", "sh", "-c", script
    )
    assert said.code == 3
    assert "These would tell more if they could be tried: " in said.out
    assert "no end after 0.2 s (3)" in said.out


def test_without_a_verdict_no_sentence_contradicts_another() -> None:
    reason = "No trial that can be made would tell more, and no commit is likely enough."
    verdict = Verdict(
        status=SearchStatus.BUDGET, culprit=None, candidates=(Candidate("a" * 40, 0.5),),
        confidence=0.5, may_act=False, may_report=False, reason=reason,
        splitters=("b" * 40, "c" * 40), trials=9, rounds=9,
        p_no_culprit=0.1, p_before_range=0.1,
    )  # fmt: skip
    told = conclusion(verdict, [], [], {"b" * 40: "exit status 125"})
    assert told.startswith("No verdict: no trial that can be made would tell more")
    assert "if they could be tried: bbbbbbbbbbbb, cccccccccccc." in told
    assert told.endswith("What kept them from it: exit status 125 (1).")


def test_how_long_it_takes_yet_is_said_with_each_trial(person: Person, clone: Repository) -> None:
    commits = history(clone, 30, broken_from=17)
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", *WORKS)
    told = [line for line in said.err.splitlines() if line.startswith("trial ")]
    assert told
    assert all(" left" in line for line in told[:-1])
