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
