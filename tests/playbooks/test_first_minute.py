"""Whoever is first, by whatever way, whatever GitHub refuses: a sample of the first minute's cells.

Every test run has each way once; `make thorough` each refusal, before and after the merge;
`python benchmarks/first_minute.py` plays the whole product. Its bots are processes of their own: a
process has one engine, and the other tests' bot may have it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.first_minute.product import WORLDS, Way

ROOT = Path(__file__).resolve().parents[2]
SEED = 15


@pytest.mark.sampled("a few")
@pytest.mark.parametrize("cells", [len(Way), len(WORLDS)], ids=["a few", "every refusal"])
async def test_main_is_safe_whoever_was_first_and_whatever_was_refused(cells: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "benchmarks" / "first_minute.py")),
        *("--jobs", "1", "--side-by-side", "6", "--sample", str(cells), "--seed", str(SEED)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode(errors="replace")[-6000:]
