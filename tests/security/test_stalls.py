"""What anybody can make us read costs the event loop next to nothing, whatever it holds.

While the loop is busy nothing else happens: no hotfix is merged, and a heartbeat that comes too
late ends the process. The measure is the time that one thread computes, against that of a fixed
sum on the same machine.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from bot import errors, markdown
from bot.cockpit.text import with_references
from bot.command_arguments import CommentPlace
from bot.config import Config
from bot.github.markers import BODY_LIMIT, cut
from bot.github.transport.redaction import redact
from bot.intake.comment_parser import parse
from bot.playbooks.incident.own_files import OwnFiles
from bot.playbooks.incident.phrases import quoted
from bot.spec_reports import LARGEST_BYTES, read_spec
from tests.shop import Shop
from tests.spec_reports.test_in_pull_requests import FILE, SPEC, opened, says

_MILLION_S = 0.05
"""How long a million additions take where the limit was set."""


def _slowness() -> float:
    """How many times as long as there it takes here, at least once."""
    tries = []
    for _ in range(3):
        total, before = 0, time.thread_time()
        for number in range(1_000_000):
            total += number
        tries.append(time.thread_time() - before)
    return max(1.0, min(tries) / _MILLION_S)


MOST_SECONDS = 0.3 * _slowness()
"""Of computing at a stretch. What this is about took from two seconds to thirty, there."""


class Busy:
    """The longest stretch for which the event loop's thread computed without a pause."""

    seconds = 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Busy]:
    busy = Busy()

    async def tick() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.005)
            busy.seconds = max(busy.seconds, time.thread_time() - before)

    # What a worker has kept of other tests is not looked through for garbage meanwhile.
    gc.freeze()
    ticking = asyncio.create_task(tick())
    try:
        yield busy
    finally:
        ticking.cancel()
        gc.unfreeze()


ROWS = '{"spec":[' + ",".join(["{}"] * 80_000) + "]}"
METRICS = '{"metrics":[' + ",".join(["{}"] * (LARGEST_BYTES // 3 - 10)) + "]}"


@pytest.mark.sampled("rows")
@pytest.mark.parametrize("text", [ROWS, METRICS], ids=["rows", "metrics"])
async def test_a_spec_report_of_nothing_but_faults_holds_up_nothing(shop: Shop, text: str) -> None:
    async with watched() as busy:
        number = await opened(shop, "mend", {FILE: text})
        await says(shop, number, "it is not a spec report")
    assert busy.seconds < MOST_SECONDS


async def test_a_description_of_nothing_but_beginnings_holds_up_nothing(shop: Shop) -> None:
    number = await opened(shop, "mend", {"other.txt": "x\n"})
    # There is room for the report: where there is none the words stay as they are.
    beginnings = "<!-- playbooks:" * (BODY_LIMIT // 15 - 300)
    await shop.bob.patch(f"pulls/{number}", body=beginnings)
    async with watched() as busy:
        await shop.bob.push("mend", {FILE: SPEC}, "Add a report")

        async def tried() -> bool:
            body = str((await shop.alice.pull_request(number))["body"])
            return "1 met" in body

        await shop.eventually(tried)
    assert busy.seconds < MOST_SECONDS


def long(unit: str) -> str:
    return unit * (BODY_LIMIT // len(unit))


UNITS = [
    "<!-- playbooks:", "<!-- playbooks:x -", markdown.marker("spec-end"),
    markdown.marker("spec-start") + markdown.marker("spec-end"),
    "<!--", "<", "-->", "`", "`` ` ", "```\n", "\n", " ",
    "[", "[](", "![", "\\", "<code>", "eyJ", "eyJaaaaaaaa.", "gho_", "://", "://a:", "/", "/a",
    "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "authorization: ", "/revert\n", "/rever\n",
    "/revert #1 ", "/bisect a..b because ", "@a ", "#1 ", "www.", "1. ", "> ", "_a", "*a **", "é",
    "\u0300", "\u202e", "[skip ", "a" * 26, "docs/decisions/",
]  # fmt: skip
READERS: dict[str, Callable[[str], object]] = {
    "cut": lambda text: cut(text + "x" * 40),
    "redact": redact,
    "parse": lambda text: parse(
        text, CommentPlace("acme/shop", "https://github.example/acme/shop")
    ),
    "text": markdown.text,
    "code": markdown.code,
    "fence": markdown.fence,
    "with_section": lambda text: markdown.with_section(text, "spec", "x", limit=BODY_LIMIT),
    "for_file": markdown.for_file,
    "quoted": quoted,
    "with_references": lambda text: with_references(text, str),
    "without_paths": errors.without_paths,
    "named": OwnFiles(Config()).named,
}


@pytest.mark.sampled("code")
@pytest.mark.parametrize("reader", READERS)
def test_the_longest_text_is_read_in_a_moment_whatever_it_repeats(reader: str) -> None:
    took = {unit: seconds(READERS[reader], long(unit)) for unit in UNITS}
    assert {unit: each for unit, each in took.items() if each > MOST_SECONDS} == {}


def spec_reports() -> Iterator[str]:
    yield ROWS
    yield METRICS
    yield ROWS[: LARGEST_BYTES - 2].rpartition(",")[0] + "]}"
    yield "[" * LARGEST_BYTES
    yield json.dumps({f"k{n}": n for n in range(2_500)})
    yield json.dumps({"metrics": [{"metrics": {f"k{n}": "x" for n in range(2_000)}}]})
    yield '{"pull_request":' + "9" * 30_000 + "}"


def test_the_worst_spec_reports_are_refused_in_a_moment() -> None:
    read_spec(b"{}")  # what is made at the first reading is made once
    for text in spec_reports():
        assert isinstance(read_spec(text.encode()), tuple)
        assert seconds(lambda each: read_spec(each.encode()), text) < MOST_SECONDS / 3


def seconds(read: Callable[[str], object], text: str) -> float:
    """How long the reader takes: of three tries the quickest, in which nobody else's garbage is."""
    tries = []
    for _ in range(3):
        before = time.thread_time()
        read(text)
        tries.append(time.thread_time() - before)
    return min(tries)
