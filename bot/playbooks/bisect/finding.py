"""From a search to what is said and decided about it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bot.culprit import log
from bot.culprit.evidence import SearchSettings
from bot.culprit.graph import CommitGraph
from bot.culprit.metric import MISSES, STOPS, MetricSearch
from bot.culprit.metric_log import is_metric_log
from bot.culprit.search import Search
from bot.culprit.verdict import SearchStatus
from bot.playbooks.bisect.numeric import NumericSearch
from bot.records.bisects import Bar
from bot.records.documents.artifacts import canonical_bytes
from bot.records.documents.reports import (
    BisectReport,
    Finding,
    MetricEffect,
    NamedBoundary,
    Suspect,
)

CulpritSearch = Search | NumericSearch
"""A search for a failure's culprit, or for what changed a number."""

_DIGITS = 6
_SHOWN = 50
BARS = 24
_WIDTH = 30


def finding_of(search: CulpritSearch) -> Finding:
    """Write down what is concluded by now; of a long list of suspects the likeliest fifty."""
    verdict = search.verdict()
    return Finding(
        status=verdict.status.value,
        culprit=verdict.culprit,
        suspects=tuple(
            Suspect(sha=each.sha, probability=round(each.probability, _DIGITS))
            for each in verdict.candidates[:_SHOWN]
        ),
        confidence=round(verdict.confidence, _DIGITS),
        may_act=verdict.may_act,
        may_report=verdict.may_report,
        reason=verdict.reason,
        splitters=verdict.splitters[:_SHOWN],
        trials=verdict.trials,
        rounds=verdict.rounds,
        p_no_culprit=round(verdict.p_no_culprit, _DIGITS),
        p_before_range=round(verdict.p_before_range, _DIGITS),
        cause=verdict.cause.value if verdict.cause else None,
        boundaries=tuple(
            NamedBoundary(sha=each.sha, kind=each.kind.value) for each in verdict.boundaries
        ),
        effect=_effect(search.metric) if isinstance(search, NumericSearch) else None,
    )


def _effect(search: MetricSearch) -> MetricEffect | None:
    """By how much the number changed; None where nothing is named that changed it."""
    found = search.verdict()
    if found.status not in (SearchStatus.CULPRIT, SearchStatus.CLASS):
        return None
    # Digits that count: what is measured in seconds may change by millionths.
    effect, low, high = (float(f"{each:.{_DIGITS}g}") for each in (found.effect, *found.interval))
    return MetricEffect(
        metric=search.metric,
        effect=effect,
        low=low,
        high=high,
        deviations=round(found.deviations, _DIGITS),
    )


def guilty(finding: Finding, graph: CommitGraph) -> str | None:
    """Name the commit to revert: the culprit, or the merge that brought in the whole class."""
    if not finding.may_report:
        return None
    if finding.status == "culprit":
        return finding.culprit
    if finding.status == "class":
        owners = {graph.merged_by[graph.number[each.sha]] for each in finding.suspects}
        if len(owners) == 1:
            return graph.commits[owners.pop()]
    return None


def log_lines(search: CulpritSearch) -> tuple[str, ...]:
    """Split a search's log into its lines."""
    # Names in it may hold what Python takes for further line ends, such as U+2028.
    return tuple(search.to_log().removesuffix("\n").split("\n"))


def search_of(lines: Sequence[str]) -> CulpritSearch:
    """Rebuild a search from its log's lines.

    Raises:
        log.LogError: they are no log of a search.
    """
    text = "".join(f"{line}\n" for line in lines)
    return NumericSearch.from_log(text) if is_metric_log(text) else Search.from_log(text)


def with_budget(search: CulpritSearch, budget: int) -> CulpritSearch:
    """Let a search that was stopped go on with a larger budget; all it has learnt stays.

    As many failures of the infrastructure as at first are put up with again: a person who asks to
    go on has mended what failed.
    """
    header, *events = log_lines(search)
    entry = json.loads(header)
    if isinstance(search, NumericSearch):
        entry |= {"budget": budget, "misses": entry["misses"] + MISSES}
        if search.metric.stops is not None:
            entry["stops"] += STOPS
        return search_of([log.line(entry).rstrip("\n"), *events])
    settings, usual = entry["settings"], SearchSettings()
    settings["budget"] = budget
    settings["infra_attempts"] += usual.infra_attempts
    settings["infra_cap"] += usual.infra_cap
    return search_of([log.line(entry).rstrip("\n"), *events])


def judged_as(search: CulpritSearch, other: CulpritSearch) -> CulpritSearch:
    """Let a search go on with the settings of another one; all it has learnt stays."""
    header, events = log_lines(other)[0], log_lines(search)[1:]
    return search_of([header, *events])


def replay(report: bytes) -> bytes:
    """Write a bisect's report again, its finding derived from its log and nothing else.

    Raises:
        ValueError: it is no report of a bisect, or its log is broken.
    """
    read = BisectReport.model_validate_json(report)
    if read.finding is None or not read.log:
        return canonical_bytes(read)
    found = finding_of(search_of(read.log))
    return canonical_bytes(read.model_copy(update={"finding": found}))


def bars(search: CulpritSearch, most: int) -> tuple[Bar, ...]:
    """Divide the range into at most `most` stretches, oldest first, with the posterior of each."""
    candidates = search.probabilities()
    size = max(1, -(-len(candidates) // most))
    found = []
    for start in range(0, len(candidates), size):
        part = candidates[start : start + size]
        likeliest = max(part, key=lambda each: each.probability)
        mass = round(sum(each.probability for each in part), _DIGITS)
        found.append(Bar(first=start + 1, count=len(part), sha=likeliest.sha, probability=mass))
    return tuple(found)


def chart(search: CulpritSearch) -> str:
    """Draw the posterior over the range as text, oldest commits first.

    Each bar is a commit, or in long ranges a stretch of commits; its length is the probability
    that the culprit is there.
    """
    rows = []
    for each in bars(search, BARS):
        last = each.first + each.count - 1
        where = f"{each.first}" if each.count == 1 else f"{each.first}-{last}"
        bar = "█" * round(each.probability * _WIDTH)
        rows.append(f"{where:>13} {each.sha[:7]} {each.probability:6.1%} {bar}")
    return "\n".join(rows)
