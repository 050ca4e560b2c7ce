"""Logs: who reports an error must not become one."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from bot.logs import Few, explained, set_up_logs
from fakegithub.server import DemoGitHub
from fakegithub.world.model import FakeApp

ROOT = Path(__file__).resolve().parents[1]


class FullDisk(io.StringIO):
    """Nothing can be written there."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_on_a_full_disk_does_not_end_whoever_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", FullDisk())
    before = structlog.get_config()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    try:
        set_up_logs("info", "console")
        structlog.get_logger().error("the disk is full")
    finally:
        structlog.configure(**before)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(capture=False)
        logging.root.handlers.clear()


LOUD = """
import logging, sys, threading, warnings
from bot.logs import set_up_logs
from bot.github.transport.redaction import keep_secret
keep_secret(["planted secret", 'planted "quoted" one', "postgresql://me:planted%20pass@db/x"])
early = logging.getLogger("early")
early.addHandler(logging.StreamHandler())
set_up_logs("info", "json")
import dbos
dbos.DBOS(config={"name": "loud", "system_database_url": "sqlite://"})
logging.getLogger("dbos").error("of dbos: %s", "planted secret")
logging.getLogger("aiohttp.server").error("of aiohttp")
early.warning("of one that had a handler of its own")
logging.getLogger("odd").error("words that do not fit %d", "their arguments")
warnings.warn("of warnings, planted pass")
class Odd:
    def __repr__(self): return 'Odd(planted secret)'
import structlog
log = structlog.get_logger()
log.info("ours", of=Odd(), many={"planted secret": ('planted "quoted" one', b"planted secret")})
def fail(): raise ValueError("in a thread: planted secret")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Falls:
    def __del__(self): raise ValueError("not to be raised")
del_me = Falls(); del del_me
raise RuntimeError("nobody catches the planted secret")
"""


def test_whoever_speaks_and_however_it_ends_json_is_only_json_and_without_secrets() -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", LOUD], capture_output=True, text=True, check=False, timeout=120
    )
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    together = " ".join(line["event"] for line in said)
    for words in (
        "of dbos", "of aiohttp", "of one that had", "words that do not fit", "of warnings", "ours",
        "nobody caught an error", "an error could not be raised",
    ):  # fmt: skip
        assert words in together, words
    assert "in a thread" in done.stderr
    assert "nobody catches" in said[-1]["exception"]
    assert not re.search(r"planted.{0,4}(secret|quoted|pass|20)", done.stderr)


HOSTILE = """
import logging, sys
from bot.logs import set_up_logs
set_up_logs("info", sys.argv[1])
import structlog
log = structlog.get_logger()
log.info("ours", who="\\x1b[31mred\\x07", name="\\u202eback", of=["a\\nFAKE\\x1b["], two="a\\nFAKE")
log.info("numbers", best=float("inf"), inside={"worst": [float("-inf"), float("nan")]})
logging.getLogger("aiohttp.server").error("of %s", "theirs\\nFAKE\\x1b[2J")
try:
    raise ValueError("raised\\x1b[31m")
except ValueError:
    log.exception("failed")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_text_that_others_wrote_commands_the_terminal_or_begins_a_line(log_format: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", HOSTILE, log_format],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert not [line for line in lines if not line.isprintable() or line.startswith("FAKE")]
    for words in ("red", "back", "theirs", "raised"):
        assert words in done.stderr
    if log_format == "json":
        said = [json.loads(line, parse_constant=pytest.fail) for line in lines]
        assert said[1]["best"] == "Infinity"
        assert said[0]["who"] == "\x1b[31mred\x07"


AWAY = """
import sqlite3
import structlog
from bot.github.errors import Unavailable
from bot.logs import set_up_logs
set_up_logs("info", "json")
log = structlog.get_logger()
locked = sqlite3.OperationalError("database is locked")
locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
for fault in (Unavailable("GitHub does not answer"), locked, KeyError("a mistake")):
    try:
        raise fault
    except Exception:
        log.exception("it did not work")
"""


def test_what_passes_by_itself_is_said_in_a_word_and_a_mistake_with_its_trace() -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", AWAY], capture_output=True, text=True, check=True, timeout=120
    )
    github, database, mistake = (json.loads(line) for line in done.stderr.splitlines())
    assert (github["why"], database["why"]) == ("GitHub does not answer", "the database is locked")
    assert "exception" not in {*github, *database}
    assert "KeyError: 'a mistake'" in mistake["exception"]


def test_a_wrong_setting_is_one_line_of_json_too() -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json",
                   "GITHUB_WEBHOOK_SECRET": "between us"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "bot", "serve"],
        capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert "GITHUB_APP_ID" in json.loads(line)["why"]


@pytest.mark.thorough
async def test_serve_itself_speaks_json_too_where_a_variable_is_misspelt(
    github: DemoGitHub, app: FakeApp, tmp_path: Path
) -> None:
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LOG_FORMAT": "json",
        "GITHUB_API_URL": f"{github.url}/api/v3", "GITHUB_APP_ID": str(app.id),
        "GITHUB_PRIVATE_KEY": app.private_key, "GITHUB_WEBHOOK_SECRET": "between us",
        "PLAYBOOKS_DATA": str(tmp_path), "PLAYBOOKS_PORT": "0", "PLAYBOOKS_FOUNDER": "olivia",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "serve", cwd=ROOT, env=environment,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    events = []
    async with asyncio.timeout(90):
        while "listening" not in events:
            events.append(json.loads(await process.stderr.readline())["event"])
    process.terminate()
    events += [json.loads(line)["event"] for line in (await process.stderr.read()).splitlines()]
    await process.wait()
    assert any("PLAYBOOKS_FOUNDER" in event for event in events)
    assert events[-1] == "stopped"


def test_of_what_strangers_cause_so_many_lines_a_minute_are_said_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr("bot.logs.time.monotonic", lambda: now)
    few = Few(most=3)
    with capture_logs() as said:
        for number in range(10):
            few.info("refused", number=number)
        now += 61
        few.info("refused", number=10)
    assert [line["event"] for line in said] == [*["refused"] * 3, "lines were left out", "refused"]
    assert said[3]["lines"] == 7


def test_a_decision_says_what_it_was_given_and_what_came_of_it() -> None:
    @explained
    def decide(number: int, *, twice: bool) -> str:
        return str(number * 2 if twice else number)

    with capture_logs() as said:
        assert decide(3, twice=True) == "6"
    # Whoever asks for `info` pays nothing for it.
    assert said == []
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))
    try:
        with capture_logs() as said:
            decide(3, twice=True)
    finally:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(20))
    [line] = said
    assert line["decision"] == "'6'"
    assert line["inputs"] == {"number": "3", "twice": "True"}
