"""The spans of one revert, from the webhook to the merge; a replay writes none of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bot import tracing
from bot.settings import InvalidSettings
from tests.shop import Shop


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.trace_to(SimpleSpanProcessor(exporter), version="1", replica="r")
    yield exporter
    tracing.stop_tracing()


def children(found: list[ReadableSpan], parent: int | None) -> list[ReadableSpan]:
    of = [each for each in found if (each.parent.span_id if each.parent else None) == parent]
    return sorted(of, key=lambda each: each.start_time or 0)


def tree(found: list[ReadableSpan], parent: int | None = None, depth: int = 0) -> list[str]:
    lines: list[str] = []
    for each in children(found, parent):
        assert each.context is not None
        took = ((each.end_time or 0) - (each.start_time or 0)) / 1e9
        lines += [f"{'  ' * depth}{each.name}  {took:.2f}s"]
        lines += tree(found, each.context.span_id, depth + 1)
    return lines


async def reverted(
    shop: Shop, spans: InMemorySpanExporter
) -> tuple[list[ReadableSpan], ReadableSpan]:
    """Revert something; the spans of its trace, and that of its Run."""
    number = await shop.broken()
    answer = await shop.says(number, "/revert because totals are zero")
    assert await answer.reaction() == "+1"
    await shop.final_word(number)

    async def over() -> list[ReadableSpan]:
        return [each for each in spans.get_finished_spans() if each.name == "run revert"]

    [run] = await shop.eventually(over)
    trace = run.context.trace_id
    of_trace = [
        each
        for each in spans.get_finished_spans()
        if each.context is not None and each.context.trace_id == trace
    ]
    return of_trace, run


async def test_a_revert_is_one_trace_from_the_webhook_to_the_merge(
    shop: Shop, spans: InMemorySpanExporter
) -> None:
    found, run = await reverted(shop, spans)
    if run.parent is None:
        # On a busy machine the look after missed deliveries is quicker than the delivery.
        spans.clear()
        found, run = await reverted(shop, spans)
    [root] = children(found, None)
    assert root.name == "delivery issue_comment"
    assert root.context is not None
    assert run.context is not None
    assert children(found, root.context.span_id) == [run]
    print("\n".join(tree(found)))  # noqa: T201 - for whoever runs this with -s
    steps = children(found, run.context.span_id)
    names = [each.name.removeprefix("step ") for each in steps]
    assert {"open-incident", "publish-hotfix", "merge-pull-request"} <= {
        name.split(":")[0] for name in names
    }
    of_steps = {each.context.span_id for each in steps if each.context}
    calls = [each for each in found if each.parent and each.parent.span_id in of_steps]
    assert any(each.name.endswith("/pulls/{number}/merge") for each in calls), calls
    assert run.attributes is not None
    assert run.attributes["playbooks.repository"] == shop.repository.full_name
    assert all((each.start_time or 0) >= (run.start_time or 0) - 1e9 for each in steps)


@pytest.mark.thorough
def test_switched_off_nothing_of_it_is_imported() -> None:
    code = (
        "import sys; from bot.tracing import set_up_tracing, step_span\n"
        "import bot.app\n"
        "set_up_tracing(None, version='1', replica='r')\n"
        "with step_span('r', 's'): pass\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr.decode()


def test_without_its_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(InvalidSettings, match=r"pip install 'incident-playbooks\[otel\]'"):
        tracing.set_up_tracing("http://127.0.0.1:4318", version="1", replica="r")
