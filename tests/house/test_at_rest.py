"""What a server that is at rest does without: it costs memory, and time at each start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

NEVER_AT_START = {
    "numpy": "judging: only a search, a shadow or a ramp counts",
    "alembic": "only where there is something to migrate",
    "mako": "alembic's",
    "sqlalchemy.dialects.mysql": "alembic's",
    "apprise": "only where NOTIFY_URLS names an address",
    "jinja2": "the cockpit: the first page loads it",
    "markdown_it": "the cockpit's, and of the first comment that may hold a command",
    "nh3": "the cockpit's",
    "rich": "a picture in a terminal, of `playbooks bisect`",
    "pygments": "rich's",
    "psycopg": "only where the database is PostgreSQL",
    "bot.cockpit.preview_traffic": "the first preview",
    "bot.playbooks.bisect.plan": "the first of its Runs, or a preview",
    "bot.playbooks.revert.plan": "likewise",
    "bot.playbooks.alerts.playbook": "the first of its Runs",
    "bot.playbooks.autorevert.playbook": "likewise",
    "bot.playbooks.ramp.playbook": "likewise",
    "bot.playbooks.rollback.playbook": "likewise",
    "bot.playbooks.shadow.playbook": "likewise",
    "bot.local": "`playbooks bisect`",
    "bot.setup": "Setup, only until there is an App",
    "bot.transfer": "`playbooks export` and `import`",
    "bot.listen": "`playbooks listen`",
    "opentelemetry": "only with OTEL_EXPORTER_OTLP_ENDPOINT",
    "jsonschema_rs": "tests only",
    "mkdocs": "the manual is built beforehand",
}
"""By what each is for."""


def test_serve_starts_without_what_it_does_not_need_yet() -> None:
    code = "import sys, json, bot.cli, bot.app, bot.doctor; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = set(json.loads(told.stdout))
    assert {"bot.app", "dbos"} <= loaded
    assert sorted(loaded & NEVER_AT_START.keys()) == []


def test_whoever_asks_for_help_or_bisects_a_clone_waits_for_no_server() -> None:
    code = (
        "import sys, json; from bot.cli import main; main(['--help'], standalone_mode=False);"
        "print(json.dumps(sorted(sys.modules)))"
    )
    told = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = set(json.loads(told.stdout.splitlines()[-1]))
    assert {"demo.command", "bot.local.command", "bot.trials.runner"} <= loaded
    of_a_server = {
        "aiohttp",
        "sqlalchemy",
        "dbos",
        "prometheus_client",
        "gidgethub",
        "cryptography",
    }
    assert sorted(loaded & {*of_a_server, "bot.app", "demo.stage"}) == []


def test_what_stands_in_for_the_driver_of_postgresql_is_that_driver() -> None:
    code = (
        "import bot.engine, sys; assert 'psycopg' not in sys.modules; from dbos import _sys_db;"
        "from psycopg import errors; assert _sys_db.pg_errors.LockNotAvailable is "
        "errors.LockNotAvailable; assert sys.modules['psycopg'].OperationalError is "
        "_sys_db.pg_errors.LockNotAvailable.__mro__[1]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # noqa: S603 - our own words


def test_an_update_that_replaces_files_gives_a_running_server_nothing_of_another_release(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "bot", tmp_path / "bot", ignore=shutil.ignore_patterns("manual"))
    code = f"""
import pathlib, sys
import bot.app, bot.cockpit.preview_planner, bot.wiring.composition as wiring
from bot.kept_code import keep_code
assert bot.__path__ == [{str(tmp_path / "bot")!r}]
keep_code()
for each in pathlib.Path(bot.__path__[0]).rglob("*.py"):
    each.write_text("raise SystemExit('of another release')")
for lazy in (wiring.revert, wiring.bisect, wiring.ramp, wiring.rollback, wiring.shadow,
             wiring.alerts, wiring.autorevert):
    name = lazy.__name__.split(".")[2]
    assert callable(getattr(lazy, {{"alerts": "follow_alerts"}}.get(name, name)))
assert bot.cockpit.preview_planner.preview_traffic.of_ramp
assert sys.modules["bot.playbooks.revert.playbook"].__file__.endswith("revert/playbook.py")
"""
    subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code],
        cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip


def test_an_error_on_sqlite_does_not_load_the_driver_of_postgresql() -> None:
    code = (
        "import bot.engine, sqlite3, sys, sqlalchemy as sa; from dbos import _utils;"
        "from bot.records.outages import outage_of;"
        "busy = sa.exc.OperationalError('', {}, sqlite3.OperationalError('database is locked'));"
        "assert not _utils.retriable_postgres_exception(busy); outage_of(busy);"
        "assert 'psycopg' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # noqa: S603 - our own words
