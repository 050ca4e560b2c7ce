"""No search for garbage among what lasts as long as the run.

Five thousand tests, and all that they import, are a million objects. Python's collector would go
through all of them again and again, while they are collected and with each conversation.
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

BETWEEN_SEARCHES = 20_000
"""Objects made before the newest are looked through; Python's own 700 took a twelfth of a run."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search once, when all is there, and never again among that."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(BETWEEN_SEARCHES, *gc.get_threshold()[1:])
        gc.enable()
