"""The command line as a program: what it prints, and the exit codes others rely on."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.cli import main
from bot.github.client import EVENTS, PERMISSIONS
from bot.records.audit import chain as audit
from bot.records.audit.anchors import public_pem, sign
from bot.records.audit.chain import AuditHead
from bot.records.database import open_database
from bot.records.schema import migrate
from bot.wiring.readings import github_of
from fakegithub.access.credentials import new_key_pair
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp, FakeInstallation

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


def playbooks(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GITHUB_", "PLAYBOOKS_", "DATABASE_"))
    }
    return subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-m", "bot", *map(str, arguments)],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def git(where: Path, *arguments: str) -> str:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(  # noqa: S603  a list, no shell
        ["git", "-C", str(where), *who, *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Three commits: the second can be reverted cleanly, the first cannot."""
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    for number, text in enumerate(("one\n", "one\ntwo\n", "three\ntwo\n"), start=1):
        (tmp_path / "numbers.txt").write_text(text)
        if number == 2:
            (tmp_path / "extra.txt").write_text("extra\n")
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "--quiet", "-m", f"Commit {number}")
    return tmp_path


def test_revert_says_conflict_and_names_the_paths(clone: Path) -> None:
    done = playbooks("revert", "--repo", clone, "--commit", "HEAD~1", "--onto", "HEAD", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert set(report) == {"status", "tree", "conflicts"}
    assert (report["status"], report["conflicts"]) == ("conflict", ["numbers.txt"])


def test_revert_gives_the_tree_of_git_revert_and_touches_nothing(clone: Path) -> None:
    before = git(clone, "status", "--porcelain"), git(clone, "rev-parse", "HEAD")
    done = playbooks("revert", "--repo", clone, "--commit", "HEAD", "--onto", "HEAD", "--json")
    report = json.loads(done.stdout)
    assert report["status"] == "clean"
    assert report["tree"] == git(clone, "rev-parse", "HEAD~1^{tree}")
    assert (git(clone, "status", "--porcelain"), git(clone, "rev-parse", "HEAD")) == before


@pytest.mark.thorough
def test_an_unknown_revision_is_named(clone: Path) -> None:
    done = playbooks("revert", "--repo", clone, "--commit", "nowhere", "--onto", "HEAD")
    assert done.returncode == 1
    assert "'nowhere' names no commit" in done.stderr


def test_serving_with_one_setting_names_every_missing_one() -> None:
    done = playbooks("serve", GITHUB_APP_ID="7")
    assert done.returncode == 2
    for name in ("GITHUB_PRIVATE_KEY", "GITHUB_WEBHOOK_SECRET"):
        assert name in done.stderr


@pytest.mark.sampled("revert")
@pytest.mark.parametrize("play", ["revert", "rollback", "safety"])
def test_the_demo_ends_with_the_json_line_of_the_contract(play: str) -> None:
    done = playbooks("demo", "--play", play, "--exit")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["ok"] is True
    assert set(told) == {
        "play", "ok", "incident", "issue", "pull_request", "adr", "artifact", "seconds",
        "github_requests",
    }  # fmt: skip
    assert "Traceback" not in done.stderr


@pytest.fixture
async def chain(tmp_path: Path) -> Path:
    """A folder with a chain of five entries, anchored at its end."""
    url = f"sqlite:///{tmp_path / 'playbooks.db'}"
    await migrate(url)
    engine = open_database(url)
    key = Ed25519PrivateKey.generate()
    now = datetime(2026, 11, 22, tzinfo=UTC)
    async with engine.begin() as conn:
        for number in range(5):
            entry = await audit.append(conn, 7, f"step.{number}", actor="ada", at=now)
    await engine.dispose()
    (tmp_path / "anchors.jsonl").write_text(sign(entry.head, key, now).line())
    (tmp_path / "public.pem").write_bytes(public_pem(key.public_key()))
    return tmp_path


def verified(folder: Path, anchors: str = "anchors.jsonl") -> subprocess.CompletedProcess[str]:
    return playbooks(
        "audit", "verify", "--anchors", folder / anchors, "--public-key", folder / "public.pem",
        "--database", f"sqlite:///{folder / 'playbooks.db'}",
    )  # fmt: skip


def tamper(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "playbooks.db") as database:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
        for (name,) in triggers.fetchall():
            database.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            database.execute(statement)


def test_an_untouched_chain_is_intact(chain: Path) -> None:
    done = verified(chain)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "intact" in done.stdout


@pytest.mark.thorough
def test_an_altered_row_is_found_and_named(chain: Path) -> None:
    tamper(chain, "UPDATE audit_entries SET actor = 'eve' WHERE seq = 3")
    done = verified(chain)
    assert done.returncode == 2
    assert "3" in done.stdout


@pytest.mark.thorough
def test_a_row_removed_inside_is_found(chain: Path) -> None:
    tamper(chain, "DELETE FROM audit_entries WHERE seq = 2")
    assert verified(chain).returncode == 2


def test_a_cut_tail_is_found(chain: Path) -> None:
    tamper(
        chain,
        "DELETE FROM audit_entries WHERE seq > 3",
        "UPDATE audit_heads SET seq = 3, head_hash = "
        "(SELECT entry_hash FROM audit_entries WHERE seq = 3)",
    )
    done = verified(chain)
    assert done.returncode == 3, done.stdout


@pytest.mark.thorough
def test_without_an_outside_anchor_no_chain_is_called_intact(chain: Path) -> None:
    (chain / "none.jsonl").write_text("")
    done = verified(chain, "none.jsonl")
    assert done.returncode == 1
    assert "no anchor" in done.stdout


def test_an_anchor_of_an_unknown_key_is_said_and_no_chain_is_called_intact(chain: Path) -> None:
    head = AuditHead(repository_id=7, seq=99, head_hash="f" * 64)
    theirs = sign(head, Ed25519PrivateKey.generate(), datetime(2026, 11, 22, tzinfo=UTC))
    ours = (chain / "anchors.jsonl").read_text()
    (chain / "both.jsonl").write_text(ours + theirs.line())
    done = verified(chain, "both.jsonl")
    assert done.returncode == 1, done.stdout
    assert "entry 99" in done.stdout
    assert "unknown key" in done.stdout
    assert "intact" not in done.stdout


def settings(github: DemoGitHub, app: FakeApp, data: Path) -> dict[str, str]:
    key = data / "app.pem"
    key.write_text(app.private_key)
    return {
        "GITHUB_API_URL": f"{github.url}/api/v3",
        "GITHUB_APP_ID": str(app.id),
        "GITHUB_PRIVATE_KEY_PATH": str(key),
        "GITHUB_WEBHOOK_SECRET": "between us",
        "PLAYBOOKS_DATA": str(data),
    }


@pytest.mark.thorough
async def test_doctor_finds_a_permission_that_is_missing(
    github: DemoGitHub, app: FakeApp, installation: FakeInstallation, tmp_path: Path
) -> None:
    done = await asyncio.to_thread(playbooks, "doctor", **settings(github, app, tmp_path))
    assert f"installation {installation.id}, permissions" in done.stdout
    missing = [p for p in PERMISSIONS if app.permissions.get(p) is None]
    for permission in missing:
        assert permission in done.stdout
    assert ("permissions: all granted" in done.stdout) is not bool(missing), done.stdout


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"PLAYBOOKS_ALERT_MAPPINGS": '{"up": {"id": "/id", "secret": "between us"}}'}, "up.state"),
        ({"PLAYBOOKS_API_TOKENS": "ci:write:*"}, "name:role:repository-glob:sha256"),
    ],
)
async def test_a_wrong_sender_is_named_by_doctor_and_at_the_start(
    github: DemoGitHub, app: FakeApp, tmp_path: Path, setting: dict[str, str], said: str
) -> None:
    wrong = settings(github, app, tmp_path) | setting
    done = await asyncio.to_thread(playbooks, "doctor", **wrong)
    assert done.returncode == 1
    assert f"FAIL  {next(iter(setting))}: " in done.stdout
    assert said in done.stdout
    done = await asyncio.to_thread(playbooks, "serve", **wrong)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "between us" not in done.stderr


async def test_doctor_says_which_credential_is_wrong(
    github: DemoGitHub, app: FakeApp, tmp_path: Path
) -> None:
    wrong = settings(github, app, tmp_path) | {"GITHUB_APP_ID": "4242"}
    done = await asyncio.to_thread(playbooks, "doctor", **wrong)
    assert done.returncode == 1
    assert "GITHUB_APP_ID" in done.stdout


def test_the_manifest_asks_for_what_the_code_needs() -> None:
    manifest = yaml.safe_load((ROOT / "app.yml").read_text())
    assert manifest["default_permissions"] == PERMISSIONS
    assert sorted(manifest["default_events"]) == sorted(EVENTS)


def test_a_configuration_is_checked_with_the_line_and_what_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "playbooks.yml"
    file.write_text("checks: {smoke: [unit]}\n")
    done = playbooks("config", "check", file)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"{file} is valid.")
    file.write_text("checks: {smoke: [unit]}\nbisect: {trials: many}\n")
    done = playbooks("config", "check", file)
    assert done.returncode == 1
    assert f"{file} line 2" in done.stderr
    assert "bisect.trials" in done.stderr
    done = playbooks("config", "check", tmp_path / "none.yml")
    assert done.returncode == 1
    assert "cannot be read: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    """A service that takes messages as JSON, and what it was sent."""
    taken: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200 if self.path == "/good" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}", taken
    server.shutdown()
    thread.join()


def test_notifications_are_tried_out_and_each_address_is_told_apart(
    hook: tuple[str, list[str]],
) -> None:
    address, taken = hook
    addresses = f"{address}/good team={address}/bad?token=secret"
    # It needs no App: addresses may be tried before there is one.
    done = playbooks("notify", "test", NOTIFY_URLS=addresses)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        "address 1 (founder, json): took the message",
        "address 2 (team, json): did not take it: check the address and network",
    ]
    assert len(taken) == 2
    assert "secret" not in done.stdout + done.stderr
    done = playbooks("notify", "test", NOTIFY_URLS=f"{address}/good")
    assert done.returncode == 0
    done = playbooks("notify", "test")
    assert done.returncode == 1
    assert "names no address" in done.stderr


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-", ">&-", "<&-"])
def test_without_standard_streams_it_does_its_work_and_no_file_takes_their_place(
    closed: str, tmp_path: Path
) -> None:
    file = tmp_path / "playbooks.yml"
    file.write_text("checks: {smoke: [unit]}\n")
    said = f'exec "$0" -m bot config check "$1" {closed}'
    done = subprocess.run(  # noqa: S603 - the test's own words
        ["/bin/sh", "-c", said, sys.executable, str(file)], capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stderr == b""


UNANSWERED = {
    "GITHUB_APP_ID": "7",
    "GITHUB_PRIVATE_KEY": new_key_pair()[0],
    "GITHUB_WEBHOOK_SECRET": "hook",
    "GITHUB_API_URL": "http://127.0.0.1:9/api/v3",
}
"""An App at a GitHub that is not there."""
NO_GITHUB = {"GITHUB_API_URL": "https://github.example"}
NO_KEY = {"GITHUB_PRIVATE_KEY": "no key"}
NO_TEXT = {"PLAYBOOKS_DATA": "none/\udcff"}
EMPTY = {"DATABASE_URL_PATH": "/dev/null"}
TO_VERIFY = ["audit", "verify", "--anchors", ".", "--public-key", "README.md"]


@pytest.mark.parametrize(
    ("arguments", "wrong", "code", "said"),
    [
        *(([name], wrong, 2, said)
          for name in ("redeliver", "listen", "setup", "serve")
          for wrong, said in [(NO_GITHUB, "GITHUB_API_URL: is https://github.example"),
                              (NO_KEY, "GITHUB_PRIVATE_KEY: is not an RSA private key")]),
        (["serve"], NO_TEXT, 2, "PLAYBOOKS_DATA: its path is not UTF-8 text"),
        (["token", "list"], NO_TEXT, 2, "PLAYBOOKS_DATA: its path is not UTF-8 text"),
        (["token", "list"], EMPTY, 2, "DATABASE_URL_PATH: names a file that is empty"),
        (["redeliver"], {}, 1, "GitHub could not be reached"),
        (["receive", "-e", "ping", "-p", "docs"], {}, 2, "is a directory"),
        (["receive", "-e", "ping", "-p", "README.md", "--url", "x"], {}, 2, "must begin with http"),
        (["listen", "--relay", "smee.io/x"], {}, 2, "must begin with http"),
        (["listen", "--bot", "http://["], {}, 2, "is no address"),
        (["setup", "--url", "bot.example"], {"GITHUB_APP_ID": "", "GITHUB_PRIVATE_KEY": "",
                                             "GITHUB_WEBHOOK_SECRET": ""}, 2,
         "PLAYBOOKS_URL: must begin with http"),
        # 2 and 3 are its words for a chain that was altered or cut.
        (TO_VERIFY, EMPTY, 1, "DATABASE_URL_PATH: names a file that is empty"),
        (TO_VERIFY, NO_TEXT, 1, "PLAYBOOKS_DATA: its path is not UTF-8 text"),
        (TO_VERIFY[:-1], {}, 1, "requires an argument"),
        (TO_VERIFY[:4], {}, 1, "Missing option '--public-key'"),
        ([*TO_VERIFY, "--databse", "x"], {}, 1, "No such option"),
    ],
)  # fmt: skip
def test_what_a_command_cannot_use_is_said_in_words_with_its_exit_code(
    arguments: list[str],
    wrong: dict[str, str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in os.environ:
        if name.startswith(("GITHUB_", "PLAYBOOKS_", "DATABASE_")):
            monkeypatch.delenv(name)
    for name, value in (UNANSWERED | {"PLAYBOOKS_DATA": str(tmp_path)} | wrong).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("bot.listen.github_of", partial(github_of, patience_seconds=0.0))
    done = CliRunner().invoke(main, arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert (done.exit_code, said in done.output) == (code, True), done.output


@pytest.mark.thorough
def test_where_the_terminal_knows_no_arrow_doctor_says_its_remedies_all_the_same() -> None:
    done = playbooks("doctor", PYTHONIOENCODING="latin-1")
    assert done.returncode == 1, done.stderr
    assert "      ? Run `playbooks serve`" in done.stdout


def test_a_user_without_a_name_may_say_that_a_backup_was_restored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    arguments = ["audit", "restored", "--anchors", ".", "--public-key", "README.md", "--because",
                 "a disk failed"]  # fmt: skip
    done = CliRunner().invoke(main, arguments, env={"PLAYBOOKS_DATA": str(tmp_path)})
    assert isinstance(done.exception, SystemExit), done.exception
    assert "is not a PEM public key" in done.output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", ["config check playbooks.yml", "--help"])
def test_an_answer_that_cannot_be_written_is_said_to_be(arguments: str, tmp_path: Path) -> None:
    (tmp_path / "playbooks.yml").write_text("checks: {smoke: [unit]}\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(  # noqa: S603 - the test's own words
            [sys.executable, "-m", "bot", *arguments.split()],
            stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, text=True,
        )  # fmt: skip
    told = "Error: What I have to say cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, told)
