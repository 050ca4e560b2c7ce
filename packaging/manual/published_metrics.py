"""The metrics that the product publishes, read from where the code makes them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class PublishedMetric:
    """One metric: its name as Prometheus has it, its type, labels, and what it says."""

    name: str
    type: str
    labels: tuple[str, ...]
    says: str


_FAMILIES = {
    "Counter": "counter", "CounterMetricFamily": "counter", "Histogram": "histogram",
    "GaugeMetricFamily": "gauge", "_gauge": "gauge", "InfoMetricFamily": "gauge",
}  # fmt: skip


@cache
def metrics() -> tuple[PublishedMetric, ...]:
    """Every metric of the product's own, read from where it is made."""
    found: dict[str, PublishedMetric] = {}
    for path in sorted((ROOT / "bot").rglob("*.py")):
        if "playbooks_" not in (text := path.read_text("utf-8")):
            continue
        for part in ast.walk(ast.parse(text)):
            if isinstance(part, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found |= {each.name: each for each in _made_in(part)}
    return tuple(found[name] for name in sorted(found))


def _made_in(scope: ast.AST) -> Iterator[PublishedMetric]:
    """The metrics that one function, class or module makes by itself or from a table."""
    calls = [each for each in ast.walk(scope) if isinstance(each, ast.Call)]
    made = {id(each): _FAMILIES[each.func.id] for each in calls
            if isinstance(each.func, ast.Name) and each.func.id in _FAMILIES}  # fmt: skip
    lists = {
        each.targets[0].id: each.value for each in ast.walk(scope)
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
    }  # fmt: skip
    for each in calls:
        if id(each) not in made or not each.args:
            continue
        more = [*each.args[2:], *(word.value for word in each.keywords if word.arg == "labels")]
        labels = _labels(lists.get(one.id, one) if isinstance(one, ast.Name) else one
                         for one in more)  # fmt: skip
        if isinstance(each.args[0], ast.Constant) and str(each.args[0].value)[:10] == "playbooks_":
            yield _metric(each.args, made[id(each)], each.func.id == "InfoMetricFamily", labels)
        elif isinstance(scope, ast.FunctionDef):
            for row in ast.walk(scope):
                if not isinstance(row, ast.Tuple) or not row.elts:
                    continue
                if isinstance(row.elts[0], ast.Constant) and str(row.elts[0].value).startswith(
                    "playbooks_"
                ):
                    yield _metric(row.elts, made[id(each)], False, labels)


def _labels(given: Iterable[ast.expr]) -> tuple[str, ...]:
    for each in given:
        if isinstance(each, ast.Tuple | ast.List):
            words = [one.value for one in each.elts if isinstance(one, ast.Constant)]
            if words and all(isinstance(word, str) for word in words):
                return tuple(words)
    return ()


def _metric(
    given: Sequence[ast.expr], type_: str, is_info: bool, labels: tuple[str, ...]
) -> PublishedMetric:
    name, says = (ast.literal_eval(each) for each in given[:2])
    ending = "_info" if is_info else "_total" if type_ == "counter" else ""
    return PublishedMetric(name + ending, type_, labels, says)
