"""Trials in this server's own sandbox: at most so many at once, whoever asks for them.

They never have a network: this server's would lead to its neighbours.

A trial lives in this process only. Whoever waits for one asks by name; one that is not known, as
after a restart, is simply asked for again, since trials change nothing outside their folder.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from bot.culprit.evidence import TrialOutcome
from bot.records.outages import in_public
from bot.trials.limits import for_this_machine
from bot.trials.outcome import CommandNotFoundError, Judgement
from bot.trials.runner import LocalTrialRunner, TrialPlan, TrialResult
from bot.trials.sandbox import (
    Bubblewrap,
    SandboxError,
    Showing,
    WritableFolders,
    require,
    server_view,
)
from bot.trials.worktree import TreeSource, Workplace, in_thread, workplace

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Order:
    """What all trials of one session have in common.

    Attributes:
        plan: what is run on each commit.
        source: where trees come from.
        seconds: how long one command may take.
    """

    plan: TrialPlan
    source: TreeSource
    seconds: float


class TrialPool:
    """Runs trials of commits nobody vouches for, confined, and remembers how they ended."""

    def __init__(
        self,
        *,
        workers: int,
        ended: Callable[[str], Awaitable[None]],
        root: Path | None = None,
        showing: Showing | None = None,
        is_off: bool = False,
    ) -> None:
        """Prepare; nothing is written before the first trial.

        Args:
            workers: trials at once, of all sessions together.
            ended: told of a session whenever one of its trials has ended.
            root: where work folders are made; by default where large temporary files belong.
            showing: what of this machine trials see, and what never.
            is_off: whether nothing is tried on this server at all.
        """
        self.is_off = is_off
        self._workers = workers
        self._ended = ended
        self._root = root
        self._showing = showing or Showing()
        self._free = asyncio.Semaphore(workers)
        self._sessions: dict[str, _Session] = {}
        self._works: str | None = None

    async def why_not(self) -> str | None:
        """Say why trials cannot be confined on this machine; None where they can."""
        if self.is_off:
            return "it is switched off (PLAYBOOKS_SANDBOX=off)."
        if self._works is None:
            async with workplace(self._root) as place:
                try:
                    await in_thread(_probe, place, self._showing)
                except SandboxError as error:
                    # Not remembered: somebody may mend it while we run.
                    return str(error)
            self._works = "yes"
        return None

    async def begin(self, session: str, name: str, commit: str, order: Order) -> None:
        """Start a trial unless it is known; it ends whenever a place was free for it.

        Raises:
            OSError: the work folder cannot be written.
            SandboxError: secrets cannot be hidden from it, or it is switched off.
        """
        if self.is_off:
            raise SandboxError("the sandbox is switched off on this server (PLAYBOOKS_SANDBOX=off)")
        known = self._sessions.get(session)
        if known is None:
            known = await self._open(session, order)
        if name not in known.trials:
            # In a context of its own: it outlives the step that asks for it.
            known.trials[name] = asyncio.create_task(
                self._try(session, known, name, commit), context=Context()
            )

    def is_known(self, session: str, name: str) -> bool:
        """Tell whether a trial was begun in this life of the process, and not stopped."""
        known = self._sessions.get(session)
        return known is not None and name in known.trials

    def result(self, session: str, name: str) -> TrialResult | None:
        """Give how a trial ended; None while it has not, or where it is not known."""
        known = self._sessions.get(session)
        task = known.trials.get(name) if known is not None else None
        return task.result() if task is not None and task.done() and not task.cancelled() else None

    async def stop(self, session: str, names: Collection[str]) -> None:
        """End trials and forget them; nothing of them is left running."""
        known = self._sessions.get(session)
        if known is None:
            return
        tasks = [known.trials.pop(name) for name in names if name in known.trials]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def end(self, session: str) -> None:
        """End a whole session and remove its folder."""
        known = self._sessions.pop(session, None)
        if known is None:
            return
        for task in known.trials.values():
            task.cancel()
        await asyncio.gather(*known.trials.values(), return_exceptions=True)
        await known.folder.aclose()

    async def close(self) -> None:
        """End everything."""
        for session in list(self._sessions):
            await self.end(session)

    async def _open(self, session: str, order: Order) -> _Session:
        folder = AsyncExitStack()
        place = await folder.enter_async_context(workplace(self._root))
        sandbox = Bubblewrap(server_view(os.environ, self._showing))
        limits = for_this_machine(place.folder, self._workers, order.seconds)
        runner = LocalTrialRunner(order.plan, order.source, sandbox, limits, place, self._workers)
        self._sessions[session] = opened = _Session(runner, folder)
        return opened

    async def _try(self, session: str, known: _Session, name: str, commit: str) -> TrialResult:
        try:
            async with self._free:
                return await known.runner.run(commit, name)
        except CommandNotFoundError as error:
            # An old commit may lack the script; that says nothing of the others.
            return _nothing(TrialOutcome.UNTESTABLE, str(error))
        except Exception as error:
            log.exception("a trial could not be run", trial=name)
            # It is told in public reports: no paths of this machine.
            return _nothing(TrialOutcome.INFRA, in_public(error))
        finally:
            if name in known.trials:
                await asyncio.shield(self._ended(session))


@dataclass
class _Session:
    runner: LocalTrialRunner
    folder: AsyncExitStack
    trials: dict[str, asyncio.Task[TrialResult]] = field(default_factory=dict)


def _probe(place: Workplace, showing: Showing) -> None:
    probe = WritableFolders.under(place.folder)
    for folder in (probe.tree, probe.scratch):
        folder.mkdir(exist_ok=True)
    require(Bubblewrap(server_view(os.environ, showing)), probe)


def _nothing(outcome: TrialOutcome, reason: str) -> TrialResult:
    return TrialResult(Judgement(outcome, reason), 0.0, "")
