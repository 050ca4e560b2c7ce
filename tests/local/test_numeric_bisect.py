"""`bisect --numeric` on a clone: numbers that drop, stay, drift, are exact, or are not there."""

import contextlib
import json
import random
import signal
import time
from pathlib import Path

import pytest

from bot.culprit.graph import CommitGraph
from bot.culprit.search import Search
from bot.local.journal import Journal, LocalRequest, Measured, take_value
from tests.local.kit import Person, history
from tests.trials.kit import Repository

MEASURES = (
    "python3",
    "-c",
    "import json, os, random; random.seed(os.environ['PLAYBOOKS_TRIAL'].split('/')[-1])\n"
    "level = 80 if open('state').read() == 'bad' else 100\n"
    "with open(os.environ['PLAYBOOKS_RESULT'], 'w') as file:\n"
    "    json.dump({'metrics': {'score': random.gauss(level, 2)}}, file)",
)


def measures(score: str, untestable: str = "()") -> tuple[str, ...]:
    """A command whose score is this expression of the commit's `number`; some it cannot try."""
    return (
        "python3",
        "-c",
        "import json, os, random, sys, time; number = int(open('number').read())\n"
        "random.seed(os.environ['PLAYBOOKS_TRIAL'].split('/')[-1])\n"
        f"if number in {untestable}: sys.exit(125)\n"
        "with open(os.environ['PLAYBOOKS_RESULT'], 'w') as file:\n"
        f"    json.dump({{'metrics': {{'score': {score}}}}}, file)",
    )


def test_where_a_number_dropped_is_found_and_replayed(person: Person, clone: Repository) -> None:
    commits = history(clone, 10, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score:lower", "--json")
    said = person.bisect(clone.folder, *options, "--", *MEASURES)
    assert (said.code, said.verdict["culprit"]) == (0, commits[6])
    assert said.verdict["boundaries"] == [{"sha": commits[6], "kind": "broken"}]
    again = person.bisect(clone.folder, "--replay", said.verdict["log"], "--json")
    assert (again.code, again.out) == (said.code, said.out)


def test_a_number_without_any_noise_is_found_in_few_runs(person: Person, clone: Repository) -> None:
    commits = history(clone, 10, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score:lower", "--json")
    said = person.bisect(clone.folder, *options, "--", *measures("100 - (number >= 6)"))
    assert (said.code, said.verdict["culprit"]) == (0, commits[6])
    assert said.verdict["trials"] <= 20


def test_commits_that_cannot_be_tried_are_named_with_the_one_behind_them(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 12, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score", "--json")
    command = measures("random.gauss(100 - 20 * (number >= 6), 2)", untestable="(5, 6)")
    said = person.bisect(clone.folder, *options, "--", *command)
    assert said.code == 3
    assert {each["sha"] for each in said.verdict["candidates"]} == {*commits[5:8]}


@pytest.mark.thorough
def test_a_commit_that_cannot_be_tried_holds_no_place_in_the_search(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 12, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score", "--budget", "11", "--json")
    # Ten runs at the ends; of the eleventh and later ones the first says nothing.
    command = measures("random.gauss(100 - 5 * (number >= 6), 2)", untestable="(5, 6, 7)")
    said = person.bisect(clone.folder, *options, "--", *command)
    assert said.code in {3, 6}
    assert said.verdict["trials"] == 11


@pytest.mark.thorough
def test_a_number_that_got_better_blames_nobody(person: Person, clone: Repository) -> None:
    commits = history(clone, 10, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score:lower", "--json")
    command = measures("random.gauss(100 + 20 * (number >= 6), 2)")
    said = person.bisect(clone.folder, *options, "--", *command)
    assert (said.code, said.verdict["reason"]) == (4, "better")
    said = person.bisect(clone.folder, "--replay", said.verdict["log"])
    assert "for the better" in said.out


def test_a_number_that_drifts_blames_nobody(person: Person, clone: Repository) -> None:
    commits = history(clone, 16, broken_from=8)
    options = ("--good", commits[0], "--numeric", "score", "--json")
    said = person.bisect(clone.folder, *options, "--", *measures("random.gauss(100 + number, 1)"))
    assert (said.code, said.verdict["culprit"]) == (4, None)
    assert said.verdict["reason"] == "drift"


def test_a_search_for_a_number_that_was_killed_goes_on(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 10, broken_from=6)
    log = tmp_path / "log.jsonl"
    command = measures("(time.sleep(0.2), 100 - (number >= 6) + random.random() / 100)[1]")
    running = person.start(
        clone.folder, "--good", commits[0], "--numeric", "score", "--log", log, "--", *command
    )
    while not log.exists() or log.read_text().count("measured") < 4:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = log.read_text().count("measured")
    said = person.bisect(clone.folder, "--resume", log, "--json")
    assert (said.code, said.verdict["culprit"]) == (0, commits[6])
    measured = [json.loads(line) for line in log.read_text().splitlines() if "measured" in line]
    assert len(measured) == said.verdict["trials"] > before


@pytest.mark.thorough
def test_a_run_at_an_end_that_gives_no_number_is_made_again(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 8, broken_from=5)
    options = ("--good", commits[0], "--numeric", "score", "--json")
    # The first run of each end fails, and one between them.
    lost = "os.environ['PLAYBOOKS_TRIAL'].split('-')[-2] in ('0', '1', '12')"
    score = f"1 / 0 if {lost} else 100 - 20 * (number >= 5)"
    said = person.bisect(clone.folder, *options, "--", *measures(score))
    assert (said.code, said.verdict["culprit"]) == (0, commits[5])


def test_a_command_whose_numbers_nobody_can_compare_is_given_up(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 4, broken_from=2)
    options = ("--good", commits[0], "--numeric", "score")
    said = person.bisect(clone.folder, *options, "--", *measures("(print('a hint'), 1e302)[1]"))
    assert said.code == 1
    assert "a hint" in said.err


@pytest.mark.thorough
def test_what_is_not_sure_is_not_told_as_a_change(person: Person, clone: Repository) -> None:
    commits = history(clone, 30, broken_from=20)
    options = ("--good", commits[0], "--numeric", "score", "--budget", "12")
    said = person.bisect(clone.folder, *options, "--", *measures("random.gauss(100, 5)"))
    assert said.code in {4, 6}
    assert "changed by" not in said.out


@pytest.mark.thorough
def test_a_number_that_never_changes_is_said_not_to(person: Person, clone: Repository) -> None:
    commits = history(clone, 6, broken_from=3)
    said = person.bisect(
        clone.folder, "--good", commits[0], "--numeric", "score", "--", *measures("42")
    )
    assert said.code == 4
    assert "does not differ between the ends" in said.out


def test_a_number_that_nobody_writes_is_asked_for(person: Person, clone: Repository) -> None:
    commits = history(clone, 4, broken_from=2)
    options = ("--good", commits[0], "--numeric", "speed")
    said = person.bisect(clone.folder, *options, "--", *MEASURES)
    assert said.code == 1
    assert "no number 'speed'" in said.err
    assert "$PLAYBOOKS_RESULT" in said.err


@pytest.mark.parametrize(
    ("options", "why"),
    [(("--numeric", ":lower"), "NAME:lower"), (("--numeric", "score"), "--good")],
)
def test_a_number_needs_a_name_and_a_good_end(
    person: Person, clone: Repository, options: tuple[str, ...], why: str
) -> None:
    history(clone, 2, broken_from=1)
    said = person.bisect(clone.folder, *options, "--", *MEASURES)
    assert said.code == 2
    assert why in said.err


@pytest.mark.thorough
def test_a_long_stretch_that_cannot_be_tried_does_not_end_the_search(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 26, broken_from=12)
    options = ("--good", commits[0], "--numeric", "score", "--json")
    command = measures("100 - (number >= 12)", untestable="range(6, 20)")
    said = person.bisect(clone.folder, *options, "--", *command)
    assert said.code == 3
    assert {each["sha"] for each in said.verdict["candidates"]} == {*commits[6:21]}


@pytest.mark.thorough
def test_a_commit_that_is_always_killed_is_left_out(person: Person, clone: Repository) -> None:
    commits = history(clone, 10, broken_from=7)
    options = ("--good", commits[0], "--numeric", "score", "--json")
    score = "(os.kill(os.getppid(), 9), time.sleep(5)) if number == 5 else 100 - (number >= 7)"
    command = ("sh", "-c", 'python3 -c "$0"; exit $?', measures(score)[2])
    said = person.bisect(clone.folder, *options, "--", *command)
    assert (said.code, said.verdict["culprit"]) == (0, commits[7])


@pytest.mark.thorough
def test_a_run_whose_number_is_none_is_made_again(person: Person, clone: Repository) -> None:
    commits = history(clone, 10, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score", "--json")
    lost = "os.environ['PLAYBOOKS_TRIAL'].split('-')[-2] in ('0', '1', '11')"
    score = f"float('nan') if {lost} else 100 - (number >= 6)"
    said = person.bisect(clone.folder, *options, "--", *measures(score))
    assert (said.code, said.verdict["culprit"]) == (0, commits[6])


@pytest.mark.parametrize("score", ["True", "'12'", "None"])
def test_what_is_no_number_is_not_taken_for_one(
    person: Person, clone: Repository, score: str
) -> None:
    commits = history(clone, 4, broken_from=2)
    options = ("--good", commits[0], "--numeric", "score")
    said = person.bisect(clone.folder, *options, "--", *measures(score))
    assert said.code == 1
    assert "metrics.score" in said.err


def test_how_much_a_number_changed_is_in_the_json(person: Person, clone: Repository) -> None:
    commits = history(clone, 10, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score:lower", "--json")
    said = person.bisect(clone.folder, *options, "--", *measures("100 - 5 * (number >= 6)"))
    expected = {"metric": "score", "effect": -5.0, "low": -5.0, "high": -5.0, "deviations": 0.0}
    assert said.verdict["change"] == expected
    said = person.bisect(clone.folder, *options, "--", *measures("100"))
    assert said.verdict["change"] is None


@pytest.mark.thorough
def test_progress_tells_the_number_who_is_likeliest_and_how_long_it_takes(
    person: Person, clone: Repository
) -> None:
    commits = history(clone, 10, broken_from=6)
    options = ("--good", commits[0], "--numeric", "score:lower")
    said = person.bisect(clone.folder, *options, "--", *measures("100 - 5 * (number >= 6)"))
    lines = [line for line in said.err.splitlines() if line.startswith("trial ")]
    assert lines[0].startswith("trial 1 ")
    assert ": score 100 in " in said.err
    assert "likeliest" not in lines[8]
    assert all(" left" in line for line in lines[:-1])
    assert f"likeliest {commits[6][:12]}" in lines[-1]
    assert lines[-1].endswith("; decided")


def test_a_log_that_cannot_go_on_now_is_kept(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 10, broken_from=6)
    log = tmp_path / "log.jsonl"
    options = ("--good", commits[0], "--numeric", "score", "--log", log)
    running = person.start(clone.folder, *options, "--", *measures("[100, time.sleep(0.3)][0]"))
    while not log.exists() or log.read_text().count('"measured"') < 2:
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, f"--resume {log}" in err) == (1, True)
    before = log.read_text()
    (clone.folder / ".git" / "shallow").write_text(commits[5] + "\n")
    said = person.bisect(clone.folder, "--resume", log)
    assert said.code == 1
    assert "shallow" in said.err
    assert log.read_text() == before


def sleepers(words: str) -> int:
    """How many processes run a program with these words now, wrappers left out."""
    found = 0
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError, ValueError):
            program, option, *rest = each.read_bytes().split(b"\0")
            is_python = program.endswith(b"python3") and option == b"-c"
            found += is_python and words.encode() in rest[0]
    return found


@pytest.mark.thorough
def test_runs_that_ended_are_kept_where_another_is_stopped(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 10, broken_from=6)
    log = tmp_path / "log.jsonl"
    options = ("--good", commits[0], "--numeric", "score", "--log", log, "--jobs", "4")
    asleep = f"time.sleep(60 if number == 9 else 0) or {time.time_ns()}"
    running = person.start(clone.folder, *options, "--", *measures(f"({asleep}) * 0 + 100"))
    calm, until = 0, time.monotonic() + 60
    while calm < 20 and time.monotonic() < until:
        time.sleep(0.1)
        # Both ends run twice, and the bad one sleeps.
        calm = calm + 1 if sleepers(asleep) == 2 else 0
    # Not Ctrl-C: whoever runs in the background has it ignored.
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)
    assert log.read_text().count('"measured"') == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--first-parent",), "does not go with --numeric"),
        (("--skip", "HEAD"), "an end of the range"),
        (("--numeric", "score:lower\n"), "--numeric is NAME"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    person: Person, clone: Repository, options: tuple[str, ...], said: str
) -> None:
    commits = history(clone, 4, broken_from=2)
    ended = person.bisect(
        clone.folder, "--good", commits[0], "--numeric", "score", *options, "--", "true"
    )
    assert ended.code in {1, 2}
    assert said in ended.err


def test_options_beside_a_log_are_refused(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 6, broken_from=2)
    log = tmp_path / "log.jsonl"
    person.bisect(clone.folder, "--good", commits[0], "--log", log, "--", "grep", "good", "state")
    said = person.bisect(clone.folder, "--resume", log, "--seed", "40", "--jobs", "2")
    assert (said.code, "--jobs, --seed" in said.err) == (2, True)
    said = person.bisect(clone.folder, "--replay", log, "--budget", "40")
    assert (said.code, "--budget" in said.err) == (2, True)


NOISY = measures("random.gauss(100 - 20 * (number >= 20), 2)")


@pytest.mark.sampled("few0-30-command0")
@pytest.mark.parametrize(
    ("few", "more", "command"),
    [
        (("--budget", "4"), "30", ("grep", "-q", "good", "state")),
        (("--numeric", "score", "--budget", "12"), "60", NOISY),
    ],
)
def test_a_spent_search_goes_on_with_a_larger_budget(
    few: tuple[str, ...],
    more: str,
    command: tuple[str, ...],
    person: Person,
    clone: Repository,
    tmp_path: Path,
) -> None:
    commits = history(clone, 40, broken_from=20)
    log = tmp_path / "the log.jsonl"
    spent = person.bisect(clone.folder, "--good", commits[0], *few, "--log", log, "--", *command)
    count = int(few[-1])
    assert spent.code == 6
    assert f"--resume '{log}' --budget {2 * count}" in spent.out
    before = log.read_bytes()
    again = person.bisect(clone.folder, "--resume", log, "--budget", str(count))
    assert (again.code, f"has {count} trials" in again.err) == (2, True)
    assert log.read_bytes() == before
    assert person.bisect(clone.folder, "--resume", log).code == 6
    found = person.bisect(clone.folder, "--resume", log, "--budget", more, "--json")
    assert (found.code, found.verdict["culprit"]) == (0, commits[20])
    assert count < found.verdict["trials"] <= int(more)
    told = person.bisect(clone.folder, "--replay", log, "--json")
    assert told.verdict == found.verdict
    # Nothing is left to go on with.
    assert person.bisect(clone.folder, "--resume", log, "--budget", "999", "--json").code == 0


@pytest.mark.thorough
def test_a_log_cut_within_a_letter_goes_on(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, 6, broken_from=2)
    log = tmp_path / "log.jsonl"
    options = ("--good", commits[0], "--log", log, "--json")
    said = person.bisect(clone.folder, *options, "--", "grep", "good", "state")
    log.write_bytes(log.read_bytes() + '{"note": "é'.encode()[:-1])
    again = person.bisect(clone.folder, "--replay", log, "--json")
    assert (again.code, again.out) == (said.code, said.out)


def test_a_log_read_again_chooses_as_the_search_that_wrote_it() -> None:
    graph = CommitGraph.chain([f"c{number}" for number in range(40)], ["good"])
    request = LocalRequest(
        log="log", repository=".", goods=("good",), bad="c39", command=("true",),
        numeric="score", rivals=True,
    )  # fmt: skip
    journal = Journal(request, searches=[Search(graph)])
    rng = random.Random(7)  # noqa: S311 - values to judge
    running = journal.metric()
    while names := running.next_runs():
        again = journal.metric()
        assert again.next_runs() == names
        bad = names[0] != "good" and int(names[0][1:]) >= 20
        value = rng.gauss(100 - 3 * bad)
        lost = rng.random() < 0.1
        said = Measured(measured=names[0], value=None if lost else value, infra=lost)
        journal.measured.append(said)
        take_value(running, said)
    assert len(journal.measured) > 15
    assert running.verdict() == journal.metric().verdict()
