"""How many requests each playbook cost GitHub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class RequestCounter(Collector):
    """Counts every request sent, by playbook and route template.

    It is a Prometheus collector: `registry.register(counter)`. Fetching tokens counts as the
    playbook `auth`; answers from the ETag cache (304) are counted apart, since GitHub does not
    charge them.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self._sent: Counter[tuple[str, str]] = Counter()
        self._unchanged: Counter[tuple[str, str]] = Counter()

    def sent(self, playbook: str, route: str) -> None:
        """Count one request on its way."""
        self._sent[playbook, route] += 1

    def unchanged(self, playbook: str, route: str) -> None:
        """Count one answer that was 304."""
        self._unchanged[playbook, route] += 1

    def total(self, playbook: str | None = None) -> int:
        """Give the number of requests, of one playbook or of all but `auth`."""
        return sum(
            count
            for (name, _), count in self._sent.items()
            if (name == playbook if playbook is not None else name != "auth")
        )

    def by_route(self, playbook: str | None = None) -> dict[str, int]:
        """Give the number of requests per route template, most frequent first."""
        routes: Counter[str] = Counter()
        for (name, route), count in self._sent.items():
            if name == playbook if playbook is not None else name != "auth":
                routes[route] += count
        return dict(routes.most_common())

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Give the counts in Prometheus's form."""
        for name, text, counts in (
            ("playbooks_github_requests", "Requests sent to GitHub.", self._sent),
            ("playbooks_github_unchanged", "Answers that were 304.", self._unchanged),
        ):
            family = CounterMetricFamily(name, text, labels=["playbook", "route"])
            for labels, count in sorted(counts.items()):
                family.add_metric(list(labels), count)
            yield family
