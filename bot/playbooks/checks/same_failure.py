"""Is it the same failure? A check's name alone does not say so where its report says more."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from bot.triggers import Value

T = TypeVar("T")

_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class CodePlace(Value):
    """A spot in the code that a check complained about; its line number may move, so it is left."""

    path: str
    said: str


class Failure(Value):
    """How a check failed, as far as its report tells.

    Attributes:
        headlines: of its reports; normalized, as `headline` does it.
        places: what it complained about, where.
    """

    headlines: frozenset[str] = frozenset()
    places: frozenset[CodePlace] = frozenset()


Failures = Mapping[str, Failure]
"""By the name of the check; one that is missing did not fail."""


def headline(text: str) -> str:
    """Normalize words: counts, times and addresses differ from run to run."""
    return " ".join(_NUMBERS.sub("0", text.lower()).split())


def is_same(one: Failure, other: Failure) -> bool:
    """Tell whether two runs of one check failed alike; where nothing speaks against it, they did.

    One common complaint is enough: a change may cure some failures and leave others.
    """
    if one.places and other.places:
        return bool(one.places & other.places)
    if one.headlines and other.headlines:
        return bool(one.headlines & other.headlines)
    return True


def alike(there: Failures, here: Failures) -> tuple[str, ...]:
    """Name the checks that failed there, except those that fail here in another way."""
    return tuple(sorted(n for n in there if n not in here or is_same(there[n], here[n])))


def otherwise(there: Failures, here: Failures) -> tuple[str, ...]:
    """Name the checks that fail here and failed there, but in another way."""
    both = there.keys() & here.keys()
    return tuple(sorted(name for name in both if not is_same(there[name], here[name])))


def joined(reports: Iterable[Failure]) -> Failure:
    """Take several reports of one name as one; one that tells nothing leaves all in doubt."""
    reports = tuple(reports)
    return Failure(
        headlines=_union([each.headlines for each in reports]),
        places=_union([each.places for each in reports]),
    )


def _union(parts: Collection[frozenset[T]]) -> frozenset[T]:
    return frozenset().union(*parts) if all(parts) else frozenset()
