"""Long lists in GraphQL: at most a hundred at once, with a cursor for what follows.

https://docs.github.com/graphql/guides/using-pagination-in-the-graphql-api
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fakegithub.access.answers import RequestRefused
from fakegithub.world.world import node_id, node_key

_MOST = 100
T = TypeVar("T")


def connection(
    name: str, items: Sequence[T], show: Callable[[T], Any], first: int | None, after: str | None
) -> dict[str, Any]:
    """One page of `items`: the `first` behind the cursor `after`.

    Raises:
        RequestRefused: when it is not said how many, or too many are asked for.
    """
    if first is None:
        raise RequestRefused(
            422,
            "You must provide a `first` or `last` value to properly paginate the "
            f"`{name}` connection.",
        )
    if not 0 <= first <= _MOST:
        raise RequestRefused(
            422,
            f"Requesting {first} records on the `{name}` connection exceeds the `first` limit of "
            f"{_MOST} records.",
        )
    start = _place(name, after)
    page = items[start : start + first]
    end = start + len(page)
    return {
        "totalCount": len(items),
        "nodes": [show(item) for item in page],
        "pageInfo": {
            "hasNextPage": end < len(items),
            "hasPreviousPage": start > 0,
            "startCursor": node_id("cursor", start + 1) if page else None,
            "endCursor": node_id("cursor", end) if page else None,
        },
    }


def _place(name: str, after: str | None) -> int:
    """How many items lie before and at the cursor."""
    if after is None:
        return 0
    kind, place = node_key(after)
    if kind != "cursor" or not place.isdecimal():
        raise RequestRefused(422, f"`{after}` does not appear to be a valid cursor of `{name}`.")
    return int(place)
