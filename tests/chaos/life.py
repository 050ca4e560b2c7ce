"""One life of the real bot in a process of its own, from start to SIGKILL.

A life is forked from a server process that has imported the bot already: everything is as after
`python -m bot serve`, except for the second and a half that the imports take.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Literal

from tests.forks import FORKS

Moment = Literal["began", "ended"]

_START_S = 60.0


class KillAtStep:
    """An observer that kills its own process at the moment of a step that a file names.

    The file holds, with tabs between, `began`, `3`, a step's name and a token: the third time that
    such a step begins, counted from the first sight of the token. Every moment is written to the
    trace first, so that the trace ends with the moment of death.
    """

    def __init__(self, plan: Path, trace: Path) -> None:
        self._plan, self._trace = plan, trace
        self._token, self._seen = "", 0

    async def began(self, run: str, step: str) -> None:
        self._pass("began", run, step)

    async def ended(self, run: str, step: str) -> None:
        self._pass("ended", run, step)

    async def waiting(self, run: str, at: str) -> None:
        del run, at

    def _pass(self, moment: Moment, run: str, step: str) -> None:
        with self._trace.open("a", encoding="utf-8") as trace:
            trace.write(f"{moment}\t{run}\t{step}\n")
        try:
            kind, number, wanted, token = self._plan.read_text(encoding="utf-8").split("\t")
        except FileNotFoundError:
            return
        if token != self._token:
            self._token, self._seen = token, 0
        if kind != moment or wanted not in ("", step):
            return
        self._seen += 1
        if self._seen == int(number):
            self._plan.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Conditions:
    """What a life is given besides its settings. Times are in seconds."""

    look_again: float = 2.0
    beat_every: float = 5.0
    give_up_after: float = 15.0
    dead_after: float = 40.0
    look_for_missed: float = 60.0
    hint_every: float = 0.1


def live(environment: Mapping[str, str], folder: str, conditions: Conditions) -> None:
    """Be the bot until a signal comes. Runs in the new process."""
    from bot.app import Bot
    from bot.logs import set_up_logs
    from bot.playbooks.run import Patience
    from bot.replicas import HeartbeatRhythm
    from bot.settings import load_settings

    room = Path(folder)
    with (room / "log").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.environ.update(environment)
    settings = load_settings()
    set_up_logs(settings.log_level, settings.log_format)

    async def be() -> None:
        soon = timedelta(seconds=conditions.look_again)
        bot = Bot(
            settings,
            patience=Patience(look_again=soon, look_later=soon, other_bots=soon, outages=soon),
            observers=(KillAtStep(room / "plan", room / "trace"),),
            rhythm=HeartbeatRhythm(
                beat_every=timedelta(seconds=conditions.beat_every),
                give_up_after=timedelta(seconds=conditions.give_up_after),
                dead_after=timedelta(seconds=conditions.dead_after),
            ),
            look_for_missed=timedelta(seconds=conditions.look_for_missed),
            hint_every=conditions.hint_every,
        )
        bot.github.pace(0)
        await bot.start()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()
        await bot.stop()

    asyncio.run(be())


class Life:
    """A bot's process: started, killed, started again on the same data and port."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        conditions: Conditions | None = None,
        *,
        as_program: bool = False,
    ) -> None:
        """Prepare.

        Args:
            environment: the settings.
            folder: for log, trace and plan.
            conditions: how the bot is made; not for a program.
            as_program: start `python -m bot serve` instead of forking.
        """
        self.environment, self.folder = dict(environment), folder
        self._conditions = conditions or Conditions()
        self._as_program = as_program
        self._process: BaseProcess | Popen[bytes] | None = None
        self.lives = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """The present process."""
        assert self._process is not None
        assert self._process.pid is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        if self._process is None:
            return False
        if isinstance(self._process, Popen):
            return self._process.poll() is None
        return self._process.is_alive()

    @property
    def code(self) -> int | None:
        """What the last process ended with; a signal's number is negative."""
        if isinstance(self._process, Popen):
            return self._process.poll()
        return None if self._process is None else self._process.exitcode

    async def start(self) -> None:
        """Start, and return once it answers."""
        self.lives += 1
        if self._as_program:
            self._process = self._program()
        else:
            self._process = FORKS.Process(
                target=live,
                args=(self.environment, str(self.folder), self._conditions),
                daemon=True,
            )
            await asyncio.to_thread(self._process.start)
        async with asyncio.timeout(_START_S):
            while not await self._answers():
                if not self.alive:
                    raise AssertionError(f"the bot did not start:\n{self.said()}")
                await asyncio.sleep(0.05)

    def _program(self) -> Popen[bytes]:
        with (self.folder / "log").open("ab") as said:
            return Popen(
                [sys.executable, "-m", "bot", "serve"],
                env=os.environ | self.environment,
                stdin=DEVNULL,
                stdout=said,
                stderr=said,
            )

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", int(self.environment["PLAYBOOKS_PORT"])
            )
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: bot\r\nConnection: close\r\n\r\n")
            said = await reader.read()
        except OSError:
            return False
        writer.close()
        # While it cannot begin, its port answers in its place.
        return b"200 OK" in said and b"waiting" not in said

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the present process, if it lives."""
        if self.alive:
            os.kill(self.pid, number)

    async def died(self, within: float = 60.0) -> None:
        """Wait for the process to be gone."""
        async with asyncio.timeout(within):
            while self.alive:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """SIGKILL, and wait."""
        self.send(signal.SIGKILL)
        await self.died()

    async def stop(self) -> None:
        """SIGTERM, and wait."""
        self.send(signal.SIGTERM)
        await self.died()

    # Kill points inside

    def plan(self, moment: Moment, number: int, step: str, token: str) -> None:
        """Have it kill itself at the `number`th such moment of a step of this name ("": of any)."""
        draft = self.folder / "plan.draft"
        draft.write_text("\t".join((moment, str(number), step, token)), encoding="utf-8")
        draft.rename(self.folder / "plan")

    def unplan(self) -> None:
        """Let it live."""
        (self.folder / "plan").unlink(missing_ok=True)

    def trace(self) -> list[tuple[str, str, str]]:
        """Every moment so far: moment, Run, step."""
        path = self.folder / "trace"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [(m, r, s) for m, r, s in (line.split("\t") for line in lines)]

    def said(self, last: int = 4000) -> str:
        """The end of its log."""
        path = self.folder / "log"
        return path.read_text(errors="replace")[-last:] if path.exists() else ""
