"""Incident Playbooks: brings a broken repository back to a safe state and finds out why."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A library that is loaded when something of it is first asked for.

    For what is large, and what a server that is at rest never needs (`tests/house/test_at_rest.py`
    names it). Where types are checked the library itself is imported.
    """

    def __getattr__(self, name: str) -> Any:
        """Load the library, and keep what was asked for: the next time it is here.

        Raises:
            AttributeError: it is for whoever imports, as `__path__`: that loads nothing.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(import_module(self.__name__), name)
        # Of ours nothing is called a thousand times, and a test may put something in its place.
        if not self.__name__.startswith(f"{__name__}."):
            setattr(self, name, found)
        return found


@contextmanager
def standing_in(**modules: ModuleType | None) -> Iterator[None]:
    """Have what is imported meanwhile find these, or (with None) no module of that name.

    For a library that takes in another wherever it is, though it seldom needs it. Whoever imports
    that other one afterwards gets it. Nothing happens where it is loaded already.
    """
    placed = {name: each for name, each in modules.items() if name not in sys.modules}
    sys.modules.update(placed)  # type: ignore[arg-type]  # None is how Python itself says it
    try:
        yield
    finally:
        for name in placed:
            sys.modules.pop(name, None)


@contextmanager
def loading() -> Iterator[None]:
    """Import without looking for garbage, neither meanwhile nor in what was loaded afterwards.

    It stays, and would be looked through again and again: an eighth of a start.
    """
    was_looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_looking:
            gc.enable()


if "structlog" not in sys.modules:
    # It takes rich in for tracebacks that we write ourselves: 7 MB. Colours are for Windows.
    with standing_in(rich=None, colorama=None):
        import_module("structlog")
