"""A client for programs that provide a capability: who serves this request, and how did it go?

One file, nothing but Python's own library: install the package, or copy the file.

    client = Client("https://playbooks.example", token, {"llm.summarize": "provider-a"})
    text = client.call("llm.summarize", request_id, {"provider-a": ask_a, "provider-b": ask_b})

The caller never waits for reporting: observations go through a bounded queue, and what does not
fit is dropped and counted. Where nobody can be asked who serves, the baseline does.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import math
import os
import queue
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPException
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

T = TypeVar("T")
Mode = Literal["steady", "shadow", "ramp"]

MOST_WAITING = 10_000
"""Observations that wait to be sent; beyond, they are dropped."""
MOST_AT_ONCE = 1_000
LAST_WORDS = 2.0
"""Seconds that the end of a program waits for what was not sent yet."""
MOST_MIRRORED_AT_ONCE = 4
"""Copies of requests that the candidate answers at the same time; beyond, none is made."""


@dataclass(frozen=True)
class Decision:
    """Who serves one request.

    Attributes:
        capability: what is provided.
        key: what was decided on: the request's id, or the key that the split is by.
        provider: who serves.
        arm: baseline or candidate.
        generation: of the flag document that decided; None: nobody could be asked, so the
            baseline serves and nothing is observed.
        mode: what goes on: when steady, nothing is observed.
        mirror_to: who is to answer a copy of it, unseen; None: nobody.
    """

    capability: str
    key: str
    provider: str
    arm: Literal["baseline", "candidate"] = "baseline"
    generation: int | None = None
    mode: Mode = "steady"
    mirror_to: str | None = None


@dataclass
class Counts:
    """How things went.

    Attributes:
        sent: observations that were taken.
        refused: observations that were not.
        dropped: observations that had no room, or could not be sent in time.
        unasked: requests that the baseline served because nobody could be asked.
        unmirrored: requests that were not copied because too many copies were under way.
    """

    sent: int = 0
    refused: int = 0
    dropped: int = 0
    unasked: int = 0
    unmirrored: int = 0


@dataclass(frozen=True)
class _Server:
    url: str
    token: str = field(repr=False)
    repository: str | None

    def path(self, rest: str) -> str:
        where = "" if self.repository is None else f"/r/{quote(self.repository)}"
        return f"{self.url}{where}{rest}"

    def post(self, url: str, body: bytes, timeout: float) -> Any:
        """Post, and read the answer's JSON.

        Raises:
            TimeoutError: it did not come in time, not even drop by drop.
        """
        until = time.monotonic() + timeout
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = Request(url, body, headers, method="POST")  # noqa: S310 - http(s), see Client
        with _OPENER.open(request, timeout=timeout) as answer:
            said = b""
            while part := answer.read1():
                said += part
                if time.monotonic() > until:
                    raise TimeoutError
        return json.loads(said)


class _NoRedirects(HTTPRedirectHandler):
    """A redirect is an error: it would carry the token elsewhere."""

    def redirect_request(self, *args: object, **more: object) -> None:
        del args, more


_OPENER = build_opener(_NoRedirects)
_UNREACHABLE = (OSError, HTTPException, ValueError, LookupError, TypeError)


class Client:
    """Decides, measures and reports. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        token: str,
        baselines: Mapping[str, str],
        *,
        repository: str | None = None,
        timeout: float = 0.5,
        pause: float = 2.0,
    ) -> None:
        """Start the thread that reports.

        Args:
            url: of the bot, `https://…` (or `http://…`).
            token: an API token of the role `triage`.
            baselines: by capability, who serves where nobody can be asked.
            repository: `owner/name`; needed where the bot serves several.
            timeout: seconds that a request waits for a decision at most.
            pause: seconds without asking after nobody answered: the baseline serves at once.

        Raises:
            ValueError: `url` is not an address of the web.
        """
        if not url.startswith(("https://", "http://")):
            raise ValueError("url must begin with https:// or http://")
        self.counts = Counts()
        self._server = _Server(url.rstrip("/"), token, repository)
        self._baselines = dict(baselines)
        self._timeout = timeout
        self._pause = pause
        self._ask_again = 0.0
        self._reporter = _Reporter(self._server, self.counts)
        self._reporter.start()
        self._mirrors = threading.BoundedSemaphore(MOST_MIRRORED_AT_ONCE)
        _CLIENTS.add(self)

    def decide(self, capability: str, key: str) -> Decision:
        """Tell who serves the request `key`.

        Raises:
            KeyError: the capability has no baseline here.
        """
        fallback = Decision(capability, key, self._baselines[capability])
        if not isinstance(key, str) or time.monotonic() < self._ask_again:
            self.counts.unasked += 1
            return fallback
        body = json.dumps({"context": {"targetingKey": key}}).encode()
        url = self._server.path(f"/ofrep/v1/evaluate/flags/{quote(capability, safe='')}")
        try:
            return _decided(self._server.post(url, body, self._timeout), fallback)
        except HTTPError as error:
            error.close()
            # Not found: nothing was ever decided, so the baseline serves.
            if error.code == 400:
                # It is this key that cannot be used: the next one is asked about as ever.
                self.counts.unasked += 1
            elif error.code != 404:
                self._give_up()
            return fallback
        except _UNREACHABLE:
            self._give_up()
            return fallback

    def call(
        self,
        capability: str,
        key: str,
        providers: Mapping[str, Callable[[], T]],
        *,
        cost: Callable[[T], float] | None = None,
    ) -> T:
        """Have whoever serves answer, report how it went, and give the answer.

        In a shadow the candidate answers a copy in the background; its answer is thrown away.

        Args:
            capability: what is wanted.
            key: the request's id, or the key that the split is by.
            providers: by name, what to call. A provider that is missing here is not called.
            cost: tells what an answer cost, USD.

        Raises:
            Exception: whatever the provider that served raised.
        """
        decision = self.decide(capability, key)
        if decision.provider not in providers:
            decision = Decision(capability, key, self._baselines[capability])
        pair = uuid.uuid4().hex
        copied = providers.get(decision.mirror_to) if decision.mirror_to else None
        mirrored = copied is not None and self._mirror(decision, copied, cost, pair)
        if decision.mode == "shadow" and not mirrored:
            return providers[decision.provider]()
        return self._measured(
            decision, providers[decision.provider], cost, pair if mirrored else None
        )

    def report(
        self,
        decision: Decision,
        *,
        latency: float | None = None,
        error: bool | None = None,
        cost: float | None = None,
        revenue: float | None = None,
        spend: float | None = None,
        pair_id: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Report how a request went, without waiting.

        Args:
            decision: who served it.
            latency: seconds.
            error: whether it failed.
            cost: USD.
            revenue: USD, once its attribution window is over; with `spend`.
            spend: USD.
            pair_id: in a shadow: the same for both answers.
            at: when it was served; None: now.
        """
        if decision.generation is None or decision.mode == "steady":
            return
        found = {
            "event_id": uuid.uuid4().hex,
            "capability": decision.capability,
            "arm": decision.arm,
            "generation": decision.generation,
            "time": (at or datetime.now(UTC)).isoformat(),
            # Only whether two are the same matters, and a key may be somebody's name.
            "key": hashlib.sha256(decision.key.encode(errors="replace")).hexdigest()[:32],
            "pair_id": pair_id,
            "latency": _number(latency),
            "error": None if error is None else bool(error),
            "cost": _number(cost),
            "revenue": _number(revenue),
            "spend": _number(spend),
        }
        self._reporter.put({name: value for name, value in found.items() if value is not None})

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits, for `timeout` seconds at most; the rest is dropped and counted.

        So is what is reported afterwards. A program that ends closes its clients by itself.
        """
        self._reporter.close(timeout)

    def __enter__(self) -> Client:
        """Use it in a `with` statement."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def forked(self) -> None:
        """Start afresh in a process that was forked: threads stay behind, and what they hold."""
        self._mirrors = threading.BoundedSemaphore(MOST_MIRRORED_AT_ONCE)
        self._reporter = _Reporter(self._server, self.counts)

    def _give_up(self) -> None:
        self.counts.unasked += 1
        self._ask_again = time.monotonic() + self._pause

    def _measured(
        self,
        decision: Decision,
        provider: Callable[[], T],
        cost: Callable[[T], float] | None,
        pair: str | None,
    ) -> T:
        began = time.monotonic()
        try:
            answer = provider()
        except Exception:
            self.report(decision, latency=time.monotonic() - began, error=True, pair_id=pair)
            raise
        latency = time.monotonic() - began
        try:
            spent = None if cost is None else cost(answer)
        except Exception:  # whatever is wrong with the cost, the answer is there
            spent = None
        self.report(decision, latency=latency, error=False, cost=spent, pair_id=pair)
        return answer

    def _mirror(
        self,
        decision: Decision,
        provider: Callable[[], T],
        cost: Callable[[T], float] | None,
        pair: str,
    ) -> bool:
        if not self._mirrors.acquire(blocking=False):
            self.counts.unmirrored += 1
            return False
        copy = replace(decision, provider=decision.mirror_to or "", arm="candidate")

        def answer() -> None:
            try:
                self._measured(copy, provider, cost, pair)
            except Exception:  # noqa: S110 - it was reported, and nobody waits for it
                pass
            finally:
                self._mirrors.release()

        try:
            threading.Thread(target=answer, daemon=True, name="mirrored request").start()
        except RuntimeError:  # no thread is to be had
            self._mirrors.release()
            self.counts.unmirrored += 1
            return False
        return True


_CLIENTS: weakref.WeakSet[Client] = weakref.WeakSet()


def _forked() -> None:
    # Their locks may be held for ever here.
    _REPORTERS.clear()
    for client in list(_CLIENTS):
        client.forked()


if hasattr(os, "register_at_fork"):
    # Servers load the program once and fork their workers from it.
    os.register_at_fork(after_in_child=_forked)


def _number(given: Any) -> float | None:
    """Make a number of any type (Decimal, numpy's) one that JSON has; None: it is none."""
    try:
        found = float(given)
    except Exception:  # whatever the type raises, the rest of the observation is worth sending
        return None
    return found if math.isfinite(found) else None


def _decided(answer: Any, fallback: Decision) -> Decision:
    """Read an OFREP answer."""
    metadata = answer["metadata"]
    generation = metadata["generation"]
    if not isinstance(generation, int) or not isinstance(answer["value"], str):
        raise ValueError("the answer is not one of ours")
    mode: Mode = metadata["mode"] if metadata.get("mode") in ("shadow", "ramp") else "steady"
    mirror_to = None
    if mode == "shadow" and sampled(
        str(metadata["mirrorSeed"]), fallback.key, float(metadata["mirrorRate"])
    ):
        mirror_to = str(metadata["mirrorTo"])
    return Decision(
        fallback.capability,
        fallback.key,
        answer["value"],
        "candidate" if answer["variant"] == "candidate" else "baseline",
        generation,
        mode,
        mirror_to,
    )


def sampled(seed: str, request_id: str, rate: float) -> bool:
    """Tell whether a request is mirrored: `sha256(seed|request id) < rate`, so it can be replayed.

    A larger rate holds every request of a smaller one.
    """
    digest = hashlib.sha256(f"{seed}|{request_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < rate * (1 << 64)


_REPORTERS: weakref.WeakSet[_Reporter] = weakref.WeakSet()


@atexit.register
def _leaving() -> None:
    until = time.monotonic() + LAST_WORDS
    for reporter in list(_REPORTERS):
        reporter.close(max(0.0, until - time.monotonic()))


class _Reporter:
    """Sends observations from a thread of its own."""

    def __init__(self, server: _Server, counts: Counts) -> None:
        self._server = server
        self._counts = counts
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        self._give_up_at = float("inf")
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, daemon=True, name="observations")
                thread.start()
                self._thread = thread
                _REPORTERS.add(self)

    def put(self, observation: dict[str, Any]) -> None:
        try:
            # While the last words are sent there is room for what was under way.
            if self._closing.is_set() and not (self._thread and self._thread.is_alive()):
                raise queue.Full
            if self._thread is None:
                self.start()
            self._queue.put_nowait(observation)
        except (queue.Full, RuntimeError):
            self._counts.dropped += 1

    def close(self, timeout: float) -> None:
        self._give_up_at = time.monotonic() + timeout
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout + 0.2)

    def _run(self) -> None:
        while True:
            lines = self._take()
            if lines:
                self._send(lines)
            elif self._closing.is_set():
                return

    def _take(self) -> list[dict[str, Any]]:
        """Take what waits; in quiet times a little patience makes one request of many."""
        lines: list[dict[str, Any]] = []
        wait_until = time.monotonic() + 0.1
        while len(lines) < MOST_AT_ONCE:
            left = wait_until - time.monotonic()
            try:
                if left <= 0 or self._closing.is_set():
                    lines.append(self._queue.get_nowait())
                else:
                    lines.append(self._queue.get(timeout=left))
            except queue.Empty:
                break
        return lines

    def _send(self, lines: list[dict[str, Any]]) -> None:
        """Send lines until they are taken: sending them twice changes nothing."""
        query = "" if self._server.repository is None else self._server.repository
        url = f"{self._server.url}/providers/observations"
        if query:
            url += "?" + urlencode({"repository": query})
        body = "\n".join(json.dumps(line) for line in lines).encode()
        pause = 0.1
        while True:
            try:
                left = self._give_up_at - time.monotonic()
                answer = self._server.post(url, body, min(10.0, max(left, 0.1)))
                taken, refused = answer["accepted"] + answer["duplicates"], len(answer["rejected"])
            except HTTPError as error:
                error.close()
                if error.code < 500 and error.code not in (408, 429):
                    self._counts.refused += len(lines)
                    return
            except _UNREACHABLE:
                pass
            else:
                self._counts.sent += taken
                self._counts.refused += refused
                return
            if self._closing.is_set():
                pause = 0.1
            if time.monotonic() + pause > self._give_up_at:
                self._counts.dropped += len(lines)
                return
            if self._closing.is_set():
                time.sleep(pause)
            else:
                self._closing.wait(pause)
                pause = min(pause * 2, 10.0)
