"""Whether a flag document in the repository would give somebody more than is decided now.

A revert or a late merge may bring back an old document. Nobody asks the repository who serves,
but programs may read the file; so what is there must never favour a candidate more than what is
served. An older document that favours nobody is left alone: it is followed by the next commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bot.traffic.flags import Document, InvalidFlags, check_flags, generation_of


def what_is_wrong(text: str, served: Document) -> str | None:
    """Say why a document must be replaced by the served one; None: it may stay.

    Args:
        text: the file as it is in the repository.
        served: the document as it is served, checked.
    """
    try:
        there = json.loads(text)
        check_flags(there)
    except (ValueError, RecursionError, InvalidFlags) as fault:
        return f"it cannot be used ({fault})"
    generation, ours = generation_of(there) or 0, generation_of(served) or 0
    if generation > ours:
        return f"it claims generation {generation}, and {ours} is served"
    for name, flag in there["flags"].items():
        now = served["flags"].get(name, {})
        for provider, share in _shares(flag).items():
            decided = _shares(now).get(provider, 0)
            if share > decided and provider != _default(now):
                return f"it gives {provider} {share}% of {name}, and {decided}% is decided"
        if _mirrored(flag) > _mirrored(now):
            return f"it mirrors requests of {name}, and no shadow is under way"
    return None


def _default(flag: Mapping[str, Any]) -> str | None:
    found = flag.get("variants", {}).get(flag.get("defaultVariant"))
    return None if found is None else str(found)


def _shares(flag: Mapping[str, Any]) -> dict[str, int]:
    """By provider, its share of requests, percent."""
    if not flag:
        return {}
    rule = flag.get("targeting")
    if not rule:
        return {str(_default(flag)): 100}
    arms = rule["if"][1]["fractional"][1:]
    return {str(flag["variants"][variant]): weight for variant, weight in arms}


def _mirrored(flag: Mapping[str, Any]) -> float:
    rate = flag.get("metadata", {}).get("mirrorRate", 0)
    return rate if isinstance(rate, int | float) else 0.0
