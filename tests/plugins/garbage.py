"""No search for garbage among what lasts as long as the run.

Five thousand tests, and all that they import, are a million objects. Python's collector would go
through all of them again and again, while they are collected and with each conversation.
"""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search once, when all is there, and never again among that."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
