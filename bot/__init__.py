"""Incident Playbooks: brings a broken repository back to a safe state and finds out why."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A library that is loaded when something of it is first asked for.

    For what is large, and what a server that is at rest never needs (`tests/house/test_at_rest.py`
    names it). Where types are checked the library itself is imported.
    """

    def __getattr__(self, name: str) -> Any:
        """Load the library, and keep what was asked for: the next time it is here."""
        found = getattr(import_module(self.__name__), name)
        setattr(self, name, found)
        return found


if "structlog" not in sys.modules and "rich" not in sys.modules:
    # structlog takes rich in wherever it is, for tracebacks that we write ourselves: 7 MB. Here it
    # does not find it, and whoever draws with it does.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import_module("structlog")
    del sys.modules["rich"]
