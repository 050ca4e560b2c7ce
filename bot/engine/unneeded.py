"""A driver that a library takes in to tell its errors, and that is seldom there."""

from __future__ import annotations

import sys
from typing import Any

from bot import LazyModule


class UnneededDriver(LazyModule):
    """One whose classes are `()` until somebody else loads it.

    No error is an instance of that, and none can be one of a driver that was never loaded.
    """

    def __getattr__(self, name: str) -> Any:
        """As of a library that is loaded later; it is not loaded for this."""
        if not name.startswith("__") and self.__name__ not in sys.modules:
            return ()
        return super().__getattr__(name)
