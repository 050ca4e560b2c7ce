"""What a server that is at rest does without: it costs memory, and time at each start."""

from __future__ import annotations

import json
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
    "markdown_it": "the cockpit's",
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


def test_what_stands_in_for_the_driver_of_postgresql_is_that_driver() -> None:
    code = (
        "import bot.engine, sys; assert 'psycopg' not in sys.modules; from dbos import _sys_db;"
        "from psycopg import errors; assert _sys_db.pg_errors.LockNotAvailable is "
        "errors.LockNotAvailable; assert sys.modules['psycopg'].OperationalError is "
        "_sys_db.pg_errors.LockNotAvailable.__mro__[1]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)  # noqa: S603 - our own words
