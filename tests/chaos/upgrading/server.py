"""A server that forks lives of the bot from one tree of its code, whichever commit that is.

    PYTHONPATH=<tree> python server.py

It knows nothing of the tests: the tree may be years older than they are. An order is a line of
JSON on its input; what became of it are lines on its output. When the input ends, so does every
life.

A life writes each wait of a Run into the file `waits` (Run, playbook, place, seconds) and stops
itself at the one that the file `stop-at` names.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

PLAYBOOKS = ("revert", "bisect", "shadow", "ramp", "rollback", "judge", "triage")
_NAMES = {"autorevert": "judge", "alerts": "triage"}
"""Rooms of playbooks that are recorded under an older name."""
_MOVED = {
    "proposal/follow": "pull_request/watch",
    "proposal/settling": "pull_request/finish",
    "proposal/recovering": "pull_request/recovery",
    "proposal/agreeing": "pull_request/approval",
    "ramp/watch": "ramp/playbook",
    "judge/playbook": "autorevert/playbook",
    "triage/playbook": "alerts/playbook",
}
"""Where waits stood in older trees, and where they stand now."""
_PATIENCE = ("bot.playbooks.run:Patience", "bot.playbooks.parts:Patience")
_RHYTHM = ("bot.replicas:HeartbeatRhythm", "bot.heartbeat:Rhythm")
"""Where trees have it, the newest first."""
_HOLDS_S = 0.2
"""A wait is stopped a moment after it began: by then the engine has recorded that it waits."""
_NOT_A_PLACE = ("signals.py", "run.py")
"""These only pass a wait on."""


def main() -> None:
    """Import the bot of the tree, then fork a life for each order."""
    import bot
    import bot.app

    tree = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0]).resolve()
    found = Path(bot.__file__ or "").resolve()
    if not found.is_relative_to(tree):
        sys.exit(f"this is not the tree's bot: {found}")
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    _say(ready=str(found))
    living: set[int] = set()
    orders = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _bury(living)
        if 0 in ready:
            part = os.read(0, 1 << 16)
            if not part:
                break
            *lines, orders = (orders + part).split(b"\n")
            for line in lines:
                living.add(_begin(json.loads(line)))
    for pid in living:
        os.kill(pid, signal.SIGKILL)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _bury(living: set[int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        living.discard(pid)
        _say(pid=pid, code=os.waitstatus_to_exitcode(status))


def _begin(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _say(id=order["id"], pid=pid)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _live(order)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        sys.stderr.write(f"{end.code}\n")
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _live(order: dict[str, Any]) -> None:
    """Be the bot until a signal comes."""
    from bot.app import Bot
    from bot.logs import set_up_logs
    from bot.settings import load_settings

    room = Path(order["folder"])
    with (room / "log").open("a") as said, Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.environ.update(order["environment"])
    settings = load_settings()
    set_up_logs(settings.log_level, settings.log_format)
    _watch_waits(room)
    soon = timedelta(seconds=order["look_again"])
    wanted: dict[str, Any] = {
        "patience": _one_of(_PATIENCE)(look_again=soon, look_later=soon),
        "rhythm": _one_of(_RHYTHM)(
            beat_every=timedelta(seconds=order["beat_every"]),
            give_up_after=timedelta(seconds=order["dead_after"] / 2),
            dead_after=timedelta(seconds=order["dead_after"]),
        ),
        "hint_every": 0.1,
    }
    # An older bot may not know all of this yet.
    known = inspect.signature(Bot).parameters
    given = {name: value for name, value in wanted.items() if name in known}

    async def be() -> None:
        bot = Bot(settings, **given)
        await bot.start()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()
        await bot.stop()

    asyncio.run(be())


def _watch_waits(room: Path) -> None:
    durable = _durable_run()
    original: Callable[..., Any] = durable.wait

    async def wait(self: Any, *given: Any, **named: Any) -> Any:
        if _takes_what_else_came(sys._getframe(1)):
            return await original(self, *given, **named)
        playbook, place = _where(sys._getframe(1))
        numbers = [each for each in (*given, *named.values()) if isinstance(each, int | float)]
        seconds = float(numbers[-1]) if numbers else 0.0
        ids = [each for each in (*given, *named.values()) if isinstance(each, str)]
        name = str(ids[0]) if ids else ""
        with (room / "waits").open("a", encoding="utf-8") as trace:
            trace.write(f"{self.id}\t{playbook}\t{place}\t{seconds:g}\t{name}\n")
        stop = _order_to_stop(room, playbook, place, seconds)
        if stop is None:
            return await original(self, *given, **named)
        number, after = signal.Signals[stop["signal"]], float(stop["after"])
        if seconds:
            asyncio.get_running_loop().call_later(_HOLDS_S + after, os.kill, os.getpid(), number)
            return await original(self, *given, **named)
        os.kill(os.getpid(), number)
        return await asyncio.sleep(600)

    durable.wait = wait


def _takes_what_else_came(frame: FrameType) -> bool:
    """Whether it waits no more: `heard` has a Signal, and takes the others that have come."""
    return frame.f_code.co_name == "heard" and bool(frame.f_locals.get("signals"))


def _one_of(places: tuple[str, ...]) -> Any:
    """The first of these that the tree has, each `module:name`."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise LookupError(f"this tree has none of {', '.join(places)}")


def _durable_run() -> Any:
    """The engine's side of a Run, in whichever module of the tree it is."""
    for name, module in list(sys.modules.items()):
        if name == "bot.engine" or name.startswith("bot.engine."):
            for found in vars(module).values():
                if isinstance(found, type) and found.__name__.endswith("DurableRun"):
                    return found
    raise LookupError("this tree's engine has no DurableRun")


def _where(frame: FrameType | None) -> tuple[str, str]:
    """The playbook that waits, and the place in its code: `module:function`."""
    place, playbook = "", ""
    while frame is not None:
        path = frame.f_code.co_filename
        _, marker, below = path.partition("/bot/playbooks/")
        if marker:
            if not place and below not in _NOT_A_PLACE:
                module = below.removesuffix(".py")
                place = f"{_MOVED.get(module, module)}:{frame.f_code.co_name}"
            package = below.partition("/")[0]
            # The outermost one: what is shared is further in.
            package = _NAMES.get(package, package)
            playbook = package if package in PLAYBOOKS else playbook
        frame = frame.f_back
    return playbook, place


def _order_to_stop(room: Path, playbook: str, place: str, seconds: float) -> dict[str, Any] | None:
    path = room / "stop-at"
    try:
        order: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    here = order["playbook"] == playbook and order["place"] == place
    if not here or order["at_once"] != (seconds == 0):
        return None
    path.unlink()
    return order


if __name__ == "__main__":
    main()
