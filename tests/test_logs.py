"""Logs: who reports an error must not become one."""

from __future__ import annotations

import errno
import io

import pytest
import structlog

from bot.logs import set_up_logs


class FullDisk(io.StringIO):
    """Nothing can be written there."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_on_a_full_disk_does_not_end_whoever_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", FullDisk())
    before = structlog.get_config()
    try:
        set_up_logs("info", "console")
        structlog.get_logger().error("the disk is full")
    finally:
        structlog.configure(**before)
