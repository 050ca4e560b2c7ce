"""`bisect` on a clone, as a person types it: verdicts, exit codes, ends, bad input."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bot.cli import main
from tests.local.kit import Person, history
from tests.trials.kit import Repository

WORKS = ("grep", "-q", "good", "state")


def checkout_of(clone: Repository) -> dict[str, bytes | int]:
    """Everything of a person's checkout that a bisect must leave alone, the index included."""
    return {
        str(path.relative_to(clone.folder)): path.read_bytes()
        for path in clone.folder.rglob("*")
        if path.is_file()
    }


def test_the_culprit_is_named_with_a_confidence(person: Person, clone: Repository) -> None:
    commits = history(clone, 12, broken_from=7)
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", *WORKS)
    assert said.code == 0
    assert said.out.count("\n") == 1
    assert set(said.verdict) == {
        "status", "culprit", "candidates", "confidence", "trials", "rounds", "seed", "log",
        "reason", "boundaries",
    }  # fmt: skip
    assert said.verdict["status"] == "culprit"
    assert said.verdict["culprit"] == commits[7]
    assert said.verdict["candidates"][0]["sha"] == commits[7]
    assert said.verdict["confidence"] >= 0.95


def test_a_person_reads_who_did_it_and_how_sure_that_is(person: Person, clone: Repository) -> None:
    commits = history(clone, 6, broken_from=3)
    said = person.bisect(clone.folder, "--good", commits[0], "--", *WORKS)
    assert said.out.startswith(f"{commits[3]} is the culprit (9")
    assert "change number 3 (T, " in said.out
    assert "trial 1" in said.err


def test_the_verdict_can_be_replayed_to_the_byte_without_the_clone(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 12, broken_from=7)
    said = person.bisect(clone.folder, "--good", commits[0], "--jobs", "3", "--json", "--", *WORKS)
    clone.folder.rename(tmp_path / "gone")
    again = person.bisect(tmp_path, "--replay", said.verdict["log"], "--json")
    assert (again.code, again.out) == (said.code, said.out)
    assert again.err == ""


@pytest.mark.thorough
def test_a_command_that_fails_now_and_then_misleads_nobody(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 16, broken_from=9)
    # The 2nd trial, of the good end, and some of the search fail whatever the commit.
    flaky = "case ${PLAYBOOKS_TRIAL##*-} in 2|6|11) exit 1;; esac; grep -q good state"
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", flaky)
    assert said.verdict["culprit"] == commits[9]


@pytest.mark.thorough
def test_a_culprit_that_fresh_runs_refute_is_not_named(person: Person, clone: Repository) -> None:
    commits = history(clone, 12, broken_from=8)
    # While the search begins, the commit before the culprit fails as if it were bad.
    script = """n=$(cat number)
case ${PLAYBOOKS_TRIAL#*/} in 1-?|1-1[0-5]) test $n = 7 && exit 1;; esac; grep -q good state"""
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    log = Path(said.verdict["log"]).read_text()
    assert '"checked":"refuted"' in log
    assert '"checked":"confirmed"' in log
    assert said.verdict["culprit"] == commits[8]
    again = person.bisect(clone.folder, "--replay", said.verdict["log"], "--json")
    assert again.out == said.out
    trusting = person.bisect(
        clone.folder, "--good", commits[0], "--no-verify", "--json", "--", "sh", "-c", script
    )
    assert trusting.verdict["culprit"] == commits[7]
    assert "to be checked" not in trusting.err


def test_the_checkout_the_index_and_head_stay_as_they_are(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 6, broken_from=3)
    (clone.folder / "state").write_text("not committed")
    (clone.folder / "untracked").write_text("mine")
    (clone.folder / "number").unlink()
    before = checkout_of(clone)
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", *WORKS)
    assert said.verdict["culprit"] == commits[3]
    assert checkout_of(clone) == before


def test_a_script_beside_the_commits_is_found_from_anywhere(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 6, broken_from=3)
    (clone.folder / "check.sh").write_text("#!/bin/sh\n. ./part.sh\n")
    (clone.folder / "check.sh").chmod(0o755)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "look.sh").write_text(f"#!/bin/sh\n. {elsewhere}/helper.sh\n")
    (elsewhere / "helper.sh").write_text("grep -q good state")
    said = person.bisect(
        elsewhere, "--repo", clone.folder, "--good", commits[0], "--json", "--", "sh", "look.sh"
    )
    assert said.verdict["culprit"] == commits[3]
    (clone.folder / "check.sh").write_text("#!/bin/sh\ngrep -q good state\n")
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "./check.sh")
    assert said.verdict["culprit"] == commits[3]


def test_good_fails(person: Person, clone: Repository) -> None:
    commits = history(clone, 6, broken_from=1)
    said = person.bisect(clone.folder, "--good", commits[2], "--", *WORKS)
    assert said.code == 5
    assert said.out.startswith("Good fails: ")


def test_bad_passes(person: Person, clone: Repository) -> None:
    commits = history(clone, 6, broken_from=6)
    said = person.bisect(clone.folder, "--good", commits[0], "--", *WORKS)
    assert said.code == 4
    assert said.out.startswith("Bad passes: ")


def test_good_is_not_an_ancestor(person: Person, clone: Repository) -> None:
    commits = history(clone, 4, broken_from=2)
    clone.git("checkout", "-q", "-b", "side", commits[1])
    side = clone.commit({"side": "1"})
    said = person.bisect(clone.folder, "--good", side, "--bad", "main", "--", *WORKS)
    assert said.code == 1
    assert "is not an ancestor of" in said.err
    assert f"They part at {commits[1][:12]}" in said.err
    said = person.bisect(clone.folder, "--good", "main", "--bad", commits[1], "--", *WORKS)
    assert said.code == 1
    assert "The ends are the wrong way round" in said.err
    assert "They part" not in said.err


def test_nothing_lies_between(person: Person, clone: Repository) -> None:
    commits = history(clone, 2, broken_from=1)
    said = person.bisect(clone.folder, "--good", commits[1], "--", *WORKS)
    assert said.code == 1
    assert "Nothing lies between" in said.err


@pytest.mark.thorough
def test_a_good_end_is_found_among_the_releases(person: Person, clone: Repository) -> None:
    commits = history(clone, 14, broken_from=6)
    for version, number in enumerate((2, 5, 8, 11)):
        clone.git("tag", "-a", "-m", "release", f"v{version}", commits[number])
    said = person.bisect(clone.folder, "--json", "--", *WORKS)
    assert said.verdict["culprit"] == commits[6]
    assert said.err.count("probe ") == 3  # v3 fails, v2 fails, v0 passes
    assert f"Good end: {commits[2][:12]} passes." in said.err


def test_a_good_end_is_found_without_releases_and_replayed(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 12, broken_from=4)
    said = person.bisect(clone.folder, "--json", "--", *WORKS)
    assert said.verdict["culprit"] == commits[4]
    again = person.bisect(clone.folder, "--replay", said.verdict["log"], "--json")
    assert again.out == said.out


def test_what_never_worked_is_blamed_on_the_first_commit(person: Person, clone: Repository) -> None:
    commits = history(clone, 4, broken_from=0)
    said = person.bisect(clone.folder, "--json", "--", *WORKS)
    assert said.verdict["culprit"] == commits[0]


def test_commits_that_cannot_be_tried_make_a_class(person: Person, clone: Repository) -> None:
    commits = history(clone, 8, broken_from=4)
    script = "case $(cat number) in 3|4) exit 125;; esac; grep -q good state"
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    assert said.code == 3
    assert {c["sha"] for c in said.verdict["candidates"]} == set(commits[3:6])


def test_the_budget_is_kept(person: Person, clone: Repository) -> None:
    commits = history(clone, 40, broken_from=20)
    said = person.bisect(
        clone.folder, "--good", commits[0], "--budget", "4", "--json", "--", *WORKS
    )
    assert said.code == 6
    assert said.verdict["trials"] == 4
    assert commits[20] in {c["sha"] for c in said.verdict["candidates"]}


def test_first_parent_blames_the_merge(person: Person, clone: Repository) -> None:
    start = clone.commit({"state": "good"})
    clone.git("checkout", "-q", "-b", "side")
    for number in range(3):
        clone.commit({"side": str(number), "state": "bad" if number else "good"})
    clone.git("checkout", "-q", "main")
    clone.commit({"a": "1"})
    clone.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    merge = clone.git("rev-parse", "HEAD")
    clone.commit({"a": "2"})
    said = person.bisect(clone.folder, "--good", start, "--first-parent", "--json", "--", *WORKS)
    assert said.verdict["culprit"] == merge


def test_without_first_parent_the_commit_inside_the_branch_is_blamed(
    person: Person, clone: Repository
) -> None:
    start = clone.commit({"state": "good"})
    clone.git("checkout", "-q", "-b", "side")
    inside = [
        clone.commit({"side": str(number), "state": "bad" if number else "good"})
        for number in range(4)
    ]
    clone.git("checkout", "-q", "main")
    clone.commit({"a": "1"})
    clone.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    said = person.bisect(clone.folder, "--good", start, "--json", "--", *WORKS)
    assert said.verdict["culprit"] == inside[1]


@pytest.mark.thorough
def test_another_failure_is_no_evidence(person: Person, clone: Repository) -> None:
    commits = history(clone, 10, broken_from=6)
    script = """n=$(cat number)
if [ $n = 3 ] || [ $n = 4 ]; then echo '{"fingerprint": ["other"]}' > $PLAYBOOKS_RESULT; exit 1; fi
grep -q good state || { echo '{"fingerprint": ["wanted"]}' > $PLAYBOOKS_RESULT; exit 1; }"""
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    assert said.verdict["culprit"] == commits[6]


def test_a_build_goes_first(person: Person, clone: Repository) -> None:
    commits = history(clone, 6, broken_from=3)
    said = person.bisect(
        clone.folder, "--good", commits[0], "--build", "cp state built", "--json", "--",
        "grep", "-q", "good", "built",
    )  # fmt: skip
    assert said.verdict["culprit"] == commits[3]


@pytest.mark.thorough
def test_versions_are_made_from_tags_as_in_a_clone(person: Person, clone: Repository) -> None:
    commits = history(clone, 6, broken_from=3)
    clone.git("tag", "v1", commits[0])
    script = 'test "$(git describe --tags | cut -d- -f2)" != 3'
    said = person.bisect(
        clone.folder, "--good", commits[1], "--bad", commits[3], "--json", "--", "sh", "-c", script
    )
    assert said.verdict["culprit"] == commits[3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--good", "no-such-tag", "--", "true"), "names no commit"),
        (("--good", "--upload-pack=x", "--", "true"), "names no commit"),
        (("--good", "^HEAD~2", "--", "true"), "names no commit"),
        (("--good", "HEAD~2", "--", "true", "\udcff"), "is not UTF-8"),
        (("--repo", "/", "--", "true"), "not a git repository"),
        (("--good", "HEAD~2", "--", "no-such-program"), "command not found"),
        (("--replay", "no-such-log"), "cannot be read"),
        (("--resume", "state"), "is not the log of a bisect"),
    ],
)
def test_a_mistake_is_explained(
    person: Person, clone: Repository, arguments: tuple[str, ...], words: str
) -> None:
    history(clone, 3, broken_from=2)
    said = person.bisect(clone.folder, *arguments)
    assert said.code == 1
    assert words in said.err
    assert "Traceback" not in said.err
    assert "pydantic" not in said.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--jobs", "0", "--", "true"),
        ("--confidence", "2", "--", "true"),
        ("--build", "make 'x", "--", "true"),
    ],
)
def test_wrong_usage_is_told_apart_from_errors(
    person: Person, clone: Repository, arguments: tuple[str, ...]
) -> None:
    history(clone, 2, broken_from=1)
    assert person.bisect(clone.folder, *arguments).code == 2


def test_a_person_without_a_home_is_told_to_name_one(
    person: Person, clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(clone, 2, broken_from=1)

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    said = person.bisect(clone.folder, "--good", "HEAD~1", "--", "true")
    assert (said.code, "set HOME" in said.err) == (1, True)


def test_a_shallow_clone_says_what_to_do(person: Person, clone: Repository, tmp_path: Path) -> None:
    commits = history(clone, 8, broken_from=4)
    subprocess.run(  # noqa: S603 - the test's own words
        ["git", "clone", "-q", "--depth", "3", f"file://{clone.folder}", tmp_path / "shallow"],  # noqa: S607
        check=True,
    )
    for arguments in (("--good", commits[0]), ()):
        said = person.bisect(tmp_path / "shallow", *arguments, "--", *WORKS)
        assert said.code == 1
        assert "git fetch --unshallow" in said.err


def test_submodules_are_as_in_the_checkout_or_else_empty_and_named(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other")
    other.commit({"inside": "1"})
    commits = history(clone, 2, broken_from=9)
    clone.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.folder), "s")
    commits.append(clone.commit({"state": "bad"}))
    needs = ("sh", "-c", "grep -q 1 s/inside || exit 125; grep -q good state")
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", *needs)
    assert said.verdict["culprit"] == commits[2]
    assert "Trials also see from your checkout: s." in said.err
    clone.git("submodule", "deinit", "-q", "-f", "s")
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", *WORKS)
    assert said.verdict["culprit"] == commits[2]
    assert "submodules stay empty in trials: s." in said.err


def test_a_command_that_hangs_is_no_evidence(person: Person, clone: Repository) -> None:
    commits = history(clone, 8, broken_from=4)
    script = "test $(cat number) = 2 && sleep 1000; grep -q good state"
    said = person.bisect(
        clone.folder, "--good", commits[0], "--time-limit", "0.5", "--json", "--",
        "sh", "-c", script,
    )  # fmt: skip
    assert said.verdict["culprit"] == commits[4]


@pytest.mark.thorough
def test_where_every_trial_hangs_it_says_so(person: Person, clone: Repository) -> None:
    commits = history(clone, 4, broken_from=2)
    said = person.bisect(
        clone.folder, "--good", commits[0], "--time-limit", "0.1", "--jobs", "2", "--", "sleep", "9"
    )
    assert said.code == 1
    assert "could not run" in said.err
    assert "no end after 0.1 s" in said.err
    assert "--resume" in said.err


@pytest.mark.thorough
def test_a_gigabyte_of_output_and_a_survivor_change_nothing(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 3, broken_from=2)
    script = "(sleep 1000 &); test $(cat number) = 1 && yes | head -c 1G; grep -q good state"
    said = person.bisect(
        clone.folder, "--good", commits[0], "--confidence", "0.9", "--json", "--",
        "sh", "-c", script,
    )  # fmt: skip
    assert said.verdict["culprit"] == commits[2]
    assert not person.left_behind()


def test_control_characters_of_others_never_reach_the_terminal(
    person: Person, clone: Repository
) -> None:
    good = clone.commit({"state": "good"})
    clone.commit({"state": "bad"}, "\x1b]0;owned\x07\x1b[31mred")
    said = person.bisect(clone.folder, "--good", good, "--", *WORKS)
    assert said.code == 0
    assert "\x1b" not in said.out + said.err


def trials_in(log: Path) -> int:
    return log.read_text().count('"event":"reported"')


@pytest.mark.thorough
@pytest.mark.sampled("9")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_what_was_interrupted_is_continued_with_nothing_repeated(
    person: Person, clone: Repository, tmp_path: Path, sign: signal.Signals
) -> None:
    commits = history(clone, 30, broken_from=17)
    log = tmp_path / "log.jsonl"
    running = person.start(
        clone.folder, "--good", commits[0], "--jobs", "4", "--log", log, "--json", "--",
        "sh", "-c", "sleep 0.4; grep -q good state",
    )  # fmt: skip
    while not log.exists() or trials_in(log) < 5:
        time.sleep(0.02)
    running.send_signal(sign)
    _, err = running.communicate(timeout=30)
    if sign is signal.SIGINT:
        assert running.returncode == 1
        assert f"--resume {log}" in err
        assert not person.left_behind()
    before = log.read_text()
    said = person.bisect(clone.folder, "--resume", log, "--json")
    assert not person.left_behind()
    assert said.verdict["culprit"] == commits[17]
    whole = log.read_text()
    assert whole.startswith(before[: before.rfind("\n") + 1])
    reported = [line for line in whole.splitlines() if '"event":"reported"' in line]
    trials = [line.partition('"trial":')[2] for line in reported]
    assert len(trials) == len(set(trials))
    assert len(trials) + whole.count('"check":') == said.verdict["trials"]
    again = person.bisect(clone.folder, "--replay", log, "--json")
    assert again.out == said.out
    assert person.bisect(clone.folder, "--resume", log, "--json").out == said.out


def test_an_unfinished_log_cannot_be_replayed(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 30, broken_from=17)
    log = tmp_path / "log.jsonl"
    running = person.start(clone.folder, "--good", commits[0], "--log", log, "--", "sleep", "1000")
    while not log.exists() or '"asked"' not in log.read_text():
        time.sleep(0.02)
    busy = person.bisect(clone.folder, "--resume", log)
    assert busy.code == 1
    assert "in use" in busy.err
    running.kill()
    running.communicate()
    # Whoever installed it types `playbooks`, and may have no `python -m bot` where they stand.
    replay = ["bisect", "--replay", str(log)]
    done = CliRunner().invoke(main, replay, env=person.environment, prog_name="playbooks")
    assert done.exit_code == 1
    assert f"Continue with: playbooks bisect --resume {log}" in done.stderr


def test_without_bubblewrap_it_warns_once_and_goes_on(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 6, broken_from=3)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "sh", "grep", "nice", "cp", "rm", "chmod"):
        (tools / name).symlink_to(shutil.which(name) or name)
    person.environment["PATH"] = str(tools)
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", *WORKS)
    assert said.verdict["culprit"] == commits[3]
    assert said.err.count("Warning: trials run without a sandbox") == 1
    assert "bubblewrap is not installed" in said.err
    assert not person.left_behind()


@pytest.mark.thorough
def test_fresh_runs_that_contradict_each_other_are_made_again_where_it_is_open(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 12, broken_from=7)
    plain = person.bisect(clone.folder, "--good", commits[0], "--json", "--", *WORKS)
    lines = [json.loads(line) for line in Path(plain.verdict["log"]).read_text().splitlines()]
    fresh = [line["check"] for line in lines if "check" in line]
    # The first fresh run of the parent fails by chance.
    odd = plain.verdict["trials"] - len(fresh) + fresh.index(commits[6]) + 1
    script = f'case "$PLAYBOOKS_TRIAL" in *check-{odd}*) exit 1;; esac; grep -q good state'
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    lines = [json.loads(line) for line in Path(said.verdict["log"]).read_text().splitlines()]
    first, *later = [line for line in lines if "checking" in line]
    assert "only" not in first
    assert [line["only"] for line in later] == [[commits[6]]] * len(later) != []
    assert lines[-1]["checked"] == "confirmed"
    assert said.verdict["culprit"] == commits[7]
    again = person.bisect(clone.folder, "--replay", said.verdict["log"], "--json")
    assert again.out == said.out
