"""Ends every test run with `N requests checked, 0 violations`, and fails it when there are any.

Each worker of a parallel run hands its tally to the controlling process through its output.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import pytest

from tests.contracts.download import OPENAPI

_KEY = "openapi_tally"
_SHOWN = 40


class OpenAPITally:
    """Collects the tallies of this process and of its workers."""

    def __init__(self) -> None:
        self.checked = 0
        self.violations: list[str] = []

    def add(self, checked: int, violations: Iterable[str]) -> None:
        self.checked += checked
        self.violations += violations

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        own = _of_this_process()
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_KEY] = own
            return
        self.add(*own)
        if self.violations and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        # A worker that crashed has no output; pytest reports the crash itself.
        self.add(*getattr(node, "workeroutput", {}).get(_KEY, (0, [])))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        count = len(self.violations)
        if self.checked:
            noun = "violation" if count == 1 else "violations"
            terminalreporter.section("GitHub's API description")
            terminalreporter.line(
                f"{self.checked} requests checked, {count} {noun}", red=bool(count)
            )
        elif not OPENAPI.ready:
            terminalreporter.section("GitHub's API description")
            terminalreporter.line("not downloaded: run `make contracts`; nothing was checked")
        distinct = list(dict.fromkeys(self.violations))
        for violation in distinct[:_SHOWN]:
            terminalreporter.line(violation)
        if len(distinct) > _SHOWN:
            terminalreporter.line(f"… and {len(distinct) - _SHOWN} more kinds")


def _of_this_process() -> tuple[int, list[str]]:
    if "fakegithub.contract.openapi" not in sys.modules:
        return 0, []
    from fakegithub.contract.openapi import PROCESS

    return PROCESS.checked, [str(violation) for violation in PROCESS.violations]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(OpenAPITally(), "openapi-tally-collector")
