"""Runs one command within its limits, and keeps the ends of what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.github.transport.redaction import redact
from bot.trials.limits import (
    Cgroup,
    DiskMeter,
    LimitBroken,
    TrialLimits,
    breached,
    create_cgroup,
    group_of,
    marked,
    memory_on_machine,
    parent_for_trials,
    snapshot,
    threads_on_machine,
    unlinked_bytes,
    usage,
)
from bot.trials.sandbox import Launch, SandboxError

HEAD_BYTES = 64 << 10
TAIL_BYTES = 192 << 10


class StreamEnds:
    """The first 64 KiB and the last 192 KiB of a stream, and how long it was."""

    def __init__(self) -> None:
        """Start empty."""
        self.total_bytes = 0
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next piece."""
        self.total_bytes += len(chunk)
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:] if room > 0 else chunk
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]

    def text(self) -> str:
        """Return what was kept; where something was left out, a line says how much."""
        tail = bytes(self._tail[-TAIL_BYTES:])
        left_out = self.total_bytes - len(self._head) - len(tail)
        gap = f"\n[… {left_out:,} bytes left out …]\n".encode() if left_out else b""
        return (bytes(self._head) + gap + tail).decode("utf-8", "replace")


_GLANCE_SECONDS = 0.02
_LOOK_SECONDS = 0.1
_SHARE_OF_TIME = 10.0
_LONGEST_PAUSE_SECONDS = 1.0
"""A trial that takes all processors makes a look long, and must not be left alone for that."""
_SUDDEN_THREADS = 1500
_GONE_SECONDS = 60.0
_JOIN = 'echo $$ > "$1" && shift && exec "$@"'


@dataclass(frozen=True)
class Execution:
    """How a command ended.

    Attributes:
        exit_status: as a shell has it: 128 + n where signal n killed it.
        breach: the limit it broke and was killed for, if any.
        output: the start and the end of what it printed, without anything secret.
        output_bytes: how much it printed.
        seconds: how long it ran.
    """

    exit_status: int
    breach: LimitBroken | None
    output: str
    output_bytes: int
    seconds: float


async def execute(
    launch: Launch,
    limits: TrialLimits,
    folders: Sequence[Path],
    mark: str,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Execution:
    """Run `launch` until it ends or breaks a limit; then nothing of it is alive any more.

    Args:
        launch: what to start.
        limits: what it may use.
        folders: what it may write, to be measured.
        mark: `NAME=value`, in the environment of all its processes and of no others.
        clock: seconds, only ever growing.

    Raises:
        SandboxError: the sandbox failed before the command could start.
    """
    parent = parent_for_trials()
    name = "playbooks-" + mark.partition("=")[2].replace("/", "-")
    group = create_cgroup(parent, name, limits.memory_bytes) if parent else None
    running = _Running(launch, mark, group)
    try:
        await running.start()
        meter = DiskMeter(folders, limits.disk_bytes, clock)
        breach, seconds = await _watch(running, limits, meter, clock)
    finally:
        # Also when cancelled: nothing that was started outlives this call.
        await asyncio.shield(running.end())
    if group is not None:
        if breach is None and group.ran_out_of_memory():
            breach = LimitBroken.MEMORY
        group.remove()
    return Execution(
        exit_status=running.exit_status(breach),
        breach=breach,
        output=redact(running.output.text()),
        output_bytes=running.output.total_bytes,
        seconds=seconds,
    )


async def _watch(
    running: _Running, limits: TrialLimits, meter: DiskMeter, clock: Callable[[], float]
) -> tuple[LimitBroken | None, float]:
    started = clock()
    threads, shared = threads_on_machine(), memory_on_machine().shared_bytes
    next_look = started
    while True:
        ended = await running.ended(_GLANCE_SECONDS)
        now = clock()
        grown = threads_on_machine() - threads
        if grown > limits.processes + _SUDDEN_THREADS:
            # Looking closer would take longer than such a bomb takes to double.
            return LimitBroken.PROCESSES, now - started
        if not ended and now < next_look and grown <= limits.processes:
            continue
        memory = memory_on_machine()
        if memory.is_scarce and memory.shared_bytes - shared > limits.memory_bytes:
            # Segments that nobody has attached, and files in memory that are under way between
            # processes, are no process's: whose they are cannot be told.
            return LimitBroken.MEMORY, now - started
        group = group_of(snapshot(), running.pid) if not ended else []
        disk = await asyncio.to_thread(meter.bytes_now)
        breach = breached(
            limits,
            usage(group),
            seconds=now - started,
            disk_bytes=disk + unlinked_bytes(group),
            output_bytes=running.output.total_bytes,
        )
        if breach is not None or ended:
            return breach, now - started
        # Looking must stay cheap on a machine with very many processes.
        pause = max(_LOOK_SECONDS, (clock() - now) * _SHARE_OF_TIME)
        next_look = now + min(pause, _LONGEST_PAUSE_SECONDS)


class _Running:
    """One started command: its output, its status, and how to end all of it."""

    def __init__(self, launch: Launch, mark: str, group: Cgroup | None) -> None:
        self._launch = launch
        self._mark = mark
        self._group = group
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._status = _SandboxStatus()
        self.output = StreamEnds()

    async def start(self) -> None:
        argv = list(self._launch.argv)
        descriptors = []
        if self._launch.reports_status:
            descriptor = self._status.open()
            descriptors.append(descriptor)
            argv[1:1] = ["--json-status-fd", str(descriptor)]
        argv[:0] = self._launch.before
        if self._group is not None:
            argv = ["/bin/sh", "-c", _JOIN, "sh", str(self._group.processes_file), *argv]
        try:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(self._launch.environment),
                cwd=self._launch.folder,
                start_new_session=True,
                pass_fds=descriptors,
                limit=1 << 20,
            )
        except OSError as error:
            raise SandboxError(f"the trial could not be started: {error}") from error
        finally:
            self._status.close_writer()
        self._reader = asyncio.create_task(self._read(self._process.stdout))

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def ended(self, seconds: float) -> bool:
        """Wait `seconds`, and tell whether the command has ended.

        Its own exit is what counts. asyncio's `wait` would also wait for every process that
        still holds the output open.
        """
        if self._process is None or self._process.returncode is not None:
            return True
        await asyncio.sleep(seconds)
        return self._process.returncode is not None

    async def end(self) -> None:
        """Kill what is left, and return only when all of it is gone."""
        if self._group is not None:
            self._group.kill()
        await self._status.kill_namespace()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if not self._launch.reports_status:
            await kill_marked(self._mark)
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GONE_SECONDS):
                    await self._process.wait()
        if self._reader is not None:
            # Everything that could hold the pipe open is dead, so its end comes at once.
            await asyncio.wait([self._reader], timeout=1.0)
            self._reader.cancel()
        self._status.close()

    def exit_status(self, breach: LimitBroken | None) -> int:
        """Return the command's status, as a shell has it.

        Raises:
            SandboxError: the sandbox ended by itself, before the command started.
        """
        status = self._process.returncode if self._process else None
        if status is None or breach is not None:
            return 128 + signal.SIGKILL
        if self._launch.reports_status and self._status.exit_code is None and status > 0:
            raise SandboxError(f"bubblewrap failed: {redact(self.output.text()).strip()[-300:]}")
        return status if status >= 0 else 128 - status

    async def _read(self, stream: asyncio.StreamReader | None) -> None:
        while stream is not None and (chunk := await stream.read(1 << 20)):
            self.output.add(chunk)


class _SandboxStatus:
    """What bwrap says on its status descriptor, and a handle on the namespace's first process.

    When that process dies the kernel kills all others of its PID namespace: pid_namespaces(7).
    """

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self._reader = self._writer = self._first_process = -1
        self._text = b""

    def open(self) -> int:
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._reader, self._read)
        return self._writer

    def close_writer(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def close(self) -> None:
        for descriptor in (self._reader, self._first_process):
            if descriptor >= 0:
                asyncio.get_running_loop().remove_reader(descriptor)
                os.close(descriptor)
        self._reader = self._first_process = -1

    async def kill_namespace(self) -> None:
        self._read()
        if self._first_process < 0:
            return
        gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._first_process, gone.set)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first_process, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GONE_SECONDS):
                await gone.wait()

    def _read(self) -> None:
        if self._reader < 0:
            return
        try:
            chunk = os.read(self._reader, 1 << 16)
        except BlockingIOError:
            return
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._reader)
            return
        *lines, self._text = (self._text + chunk).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "exit-code" in said:
                self.exit_code = int(said["exit-code"])
            if "child-pid" in said and self._first_process < 0:
                with contextlib.suppress(ProcessLookupError):
                    self._first_process = os.pidfd_open(int(said["child-pid"]))


async def kill_marked(mark: str) -> None:
    """Kill every process whose environment holds `mark`, also those that left the group."""
    for _ in range(100):
        found = await asyncio.to_thread(marked, mark)
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.02)
