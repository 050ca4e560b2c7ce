"""OpenTelemetry spans: a delivery, the Run that it asked for, its steps, what they asked of GitHub.

A Run may be killed, wait for days and go on elsewhere. So nothing of a span is remembered: its
trace is named by the delivery, its own span by the Run's id, in whatever life. A step has a span
where it is really taken, never where a replay reads it; the Run's own is written once it is over.
Without `OTEL_EXPORTER_OTLP_ENDPOINT` nothing is imported, and each call here is one comparison.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import structlog
from ulid import ULID

from bot.github.transport.redaction import redact
from bot.settings import InvalidSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, SpanContext, Tracer

_provider: TracerProvider | None = None
_tracer: Tracer | None = None
_NOTHING = nullcontext()
_named: ContextVar[tuple[int, int] | None] = ContextVar("named", default=None)
"""The trace and the span that the next span is, where that is not left to chance."""


def set_up_tracing(endpoint: str | None, *, version: str, replica: str) -> None:
    """Send spans to a collector from now on; nothing where there is no `endpoint`.

    Args:
        endpoint: where OTLP over HTTP is taken; the SDK reads it, and its other variables, itself.
        version: of this product.
        replica: this process's name.

    Raises:
        InvalidSettings: the packages are not installed.
    """
    if endpoint is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise InvalidSettings(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the packages for it are missing: "
            "pip install 'incident-playbooks[otel]', or leave it out"
        ) from error
    trace_to(BatchSpanProcessor(OTLPSpanExporter()), version=version, replica=replica)


def trace_to(processor: SpanProcessor, *, version: str, replica: str) -> None:
    """Hand every span to this processor from now on; see `set_up_tracing`."""
    global _provider, _tracer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Gives a span the name that it has in every life."""

        def generate_trace_id(self) -> int:
            named = _named.get()
            return super().generate_trace_id() if named is None else named[0]

        def generate_span_id(self) -> int:
            named = _named.get()
            return super().generate_span_id() if named is None else named[1]

    about = {"service.version": version, "service.instance.id": replica}
    # What OTEL_SERVICE_NAME says goes first.
    resource = Resource.create(about)
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "incident-playbooks"}))
    _provider = TracerProvider(resource=resource, id_generator=Ids())
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("bot", version)


def stop_tracing() -> None:
    """Send what is left, and send nothing any more. Blocks."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def delivery_taken(delivery: str, event: str, began: float) -> None:
    """Write the span of a delivery that asked for something new.

    Args:
        delivery: its id.
        event: what it told of.
        began: when it came, in seconds since 1970.
    """
    if _tracer is not None:
        named = _trace(delivery), _span("delivery", delivery)
        about = {"playbooks.delivery": delivery, "playbooks.event": event}
        _write(f"delivery {event}", named, None, began, about)


def run_over(run: str, *, failed: bool) -> None:
    """Write the span of a Run that is over; `failed`: it broke off.

    What it was about is read from the ids that each line of its log carries.
    """
    if _tracer is None:
        return
    about = structlog.contextvars.get_contextvars()
    try:
        began = ULID.from_str(run.upper()).timestamp
    except ValueError:
        began = time.time()
    trace, span = _of_run(run)
    delivery = about.get("delivery")
    parent = None if delivery is None else _context(trace, _span("delivery", str(delivery)))
    attributes = {f"playbooks.{k}": str(v) for k, v in about.items() if v is not None}
    name = f"run {about.get('playbook', '')}"
    _write(name, (trace, span), parent, began, attributes, failed=failed)


def step_span(run: str, step: str) -> AbstractContextManager[Any]:
    """A span of a step that is really taken, while its effect is under way."""
    return _NOTHING if _tracer is None else _step_span(_tracer, run, step)


def call_span(name: str) -> AbstractContextManager[Any]:
    """A span of a request to GitHub, where it belongs to a step."""
    return _NOTHING if _tracer is None else _call_span(_tracer, name)


@contextmanager
def _step_span(tracer: Tracer, run: str, step: str) -> Iterator[None]:
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    parent = set_span_in_context(NonRecordingSpan(_context(*_of_run(run))))
    about = {"playbooks.run": run, "playbooks.step": step}
    with _going_on(tracer.start_span(f"step {step}", parent, attributes=about)):
        yield


@contextmanager
def _call_span(tracer: Tracer, name: str) -> Iterator[None]:
    from opentelemetry.trace import SpanKind, get_current_span

    if not get_current_span().is_recording():
        yield
        return
    method, _, route = name.partition(" ")
    about = {"http.request.method": method, "url.template": route}
    with _going_on(tracer.start_span(name, kind=SpanKind.CLIENT, attributes=about)):
        yield


@contextmanager
def _going_on(span: Span) -> Iterator[None]:
    from opentelemetry.trace import StatusCode, use_span

    # The words of an error may hold what nobody else is to read, so it is not recorded as it is.
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            span.set_status(StatusCode.ERROR, redact(f"{type(error).__name__}: {error}")[:300])
            raise


def _write(
    name: str,
    named: tuple[int, int],
    parent: SpanContext | None,
    began: float,
    attributes: dict[str, str],
    *,
    failed: bool = False,
) -> None:
    """Write a span that is over."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, StatusCode, set_span_in_context

    assert _tracer is not None  # noqa: S101 - asked before
    around = Context()
    if parent is not None:
        around = set_span_in_context(NonRecordingSpan(parent), around)
    token = _named.set(named)
    try:
        span = _tracer.start_span(
            name, around, attributes=attributes, start_time=int(began * 1_000_000_000)
        )
    finally:
        _named.reset(token)
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end()


def _of_run(run: str) -> tuple[int, int]:
    """A Run's trace, that of its delivery where it had one, and its own span."""
    delivery = structlog.contextvars.get_contextvars().get("delivery")
    return _trace(str(delivery or run)), _span("run", run)


def _trace(of: str) -> int:
    return int.from_bytes(hashlib.sha256(f"trace {of}".encode()).digest()[:16], "big") or 1


def _span(kind: str, of: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{kind} {of}".encode()).digest()[:8], "big") or 1


def _context(trace: int, span: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
