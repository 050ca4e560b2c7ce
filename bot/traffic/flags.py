"""The flagd document: one flag per capability, built from who serves it, checked before it is used.

A flag's variants are the providers; its `metadata` holds the generation that decided, and in a
shadow what to mirror. Traps this document avoids (found by trying flagd's Python provider): a
rule without the guard sends every request that has no targeting key to one arm; fractions with
a decimal point count as nothing; a misspelt variant gives the caller's default.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bot.traffic.buckets import bucketing_prefix
from bot.traffic.split import Allocation

SCHEMA = "https://flagd.dev/schema/v0/flags.json"
WHOLE = 100
"""What the weights of a split sum to."""

Document = Mapping[str, Any]


class InvalidFlags(Exception):
    """A flag document must not be used; the message names the flag and what is allowed."""


def flag_document(servings: Iterable[Allocation]) -> dict[str, Any]:
    """Build the document of one repository; the newest serving of each capability is given.

    Its own generation is that of its newest change.
    """
    found = sorted(servings, key=lambda serving: serving.capability)
    return {
        "$schema": SCHEMA,
        "metadata": {"generation": max((each.generation for each in found), default=0)},
        "flags": {each.capability: _flag(each) for each in found},
    }


def _flag(serving: Allocation) -> dict[str, Any]:
    split = serving.split
    variants = {"baseline": split.baseline}
    if split.candidate is not None:
        variants["candidate"] = split.candidate
    flag: dict[str, Any] = {
        "state": "ENABLED",
        "defaultVariant": "baseline",
        "variants": variants,
        "metadata": flag_metadata(serving),
    }
    if split.percent:
        flag["targeting"] = _targeting(serving.capability, split.salt, split.percent)
    return flag


def _targeting(capability: str, salt: str, percent: int) -> dict[str, Any]:
    prefix = bucketing_prefix(capability, salt)
    fractional = [
        {"cat": [prefix, {"var": "targetingKey"}]},
        ["candidate", percent],
        ["baseline", WHOLE - percent],
    ]
    return {"if": [{"!!": [{"var": "targetingKey"}]}, {"fractional": fractional}, "baseline"]}


def flag_metadata(serving: Allocation) -> dict[str, str | int | float | bool]:
    """What travels with every answer: the generation that decided, and what to mirror."""
    split = serving.split
    metadata: dict[str, str | int | float | bool] = {
        "generation": serving.generation,
        "mode": split.mode,
    }
    if serving.paused is not None:
        metadata["paused"] = True
    if split.mode == "shadow":
        metadata |= {
            "mirrorTo": split.candidate or "",
            "mirrorRate": split.sample_rate,
            "mirrorSeed": split.seed,
        }
    return metadata


def written(document: Document) -> str:
    """Write a document as it is served and committed: sorted keys, newline-terminated."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def check_flags(document: object) -> None:
    """Make sure that every flag splits as we mean it, before anybody reads it.

    Raises:
        InvalidFlags: it does not; says which flag and why.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("flags"), Mapping):
        raise InvalidFlags("A flag document needs 'flags', a mapping of flags by name.")
    if generation_of(document) is None:
        raise InvalidFlags("metadata.generation must be a whole number, 0 or more.")
    for name, flag in document["flags"].items():
        fault = _fault(str(name), flag)
        if fault:
            raise InvalidFlags(f"Flag {name!r}: {fault}.")


def generation_of(document: Document) -> int | None:
    """Read a document's generation; None where it has none of ours."""
    metadata = document.get("metadata")
    found = metadata.get("generation") if isinstance(metadata, Mapping) else None
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        return None
    return found


def _fault(name: str, flag: object) -> str | None:
    if not isinstance(flag, Mapping):
        return "must be a mapping"
    variants = flag.get("variants")
    if flag.get("state") != "ENABLED":
        return "state must be ENABLED: else callers get their own defaults"
    if not isinstance(variants, Mapping) or not variants:
        return "variants must name at least one provider"
    if not all(isinstance(value, str) and value for value in variants.values()):
        return "every variant must be a provider's name"
    if flag.get("defaultVariant") not in variants:
        return f"defaultVariant must be one of {', '.join(variants)}"
    targeting = flag.get("targeting")
    return None if targeting in (None, {}) else _rule_fault(name, targeting, variants)


def _rule_fault(name: str, rule: object, variants: Mapping[str, Any]) -> str | None:
    only = dict(rule) if isinstance(rule, Mapping) and len(rule) == 1 else None
    match only:
        case {
            "if": [
                {"!!": [{"var": "targetingKey"}]},
                {"fractional": [{"cat": [str(prefix), {"var": "targetingKey"}]}, *arms]},
                fallback,
            ]
        }:
            pass
        case _:
            return (
                "targeting must be a fractional split of the targeting key, guarded by "
                '{"if": [{"!!": [{"var": "targetingKey"}]}, …]}'
            )
    if not prefix.startswith(f"{name}:"):
        return f"what is hashed must begin with {name}:"
    if fallback not in variants:
        return f"requests without a targeting key must get one of {', '.join(variants)}"
    return _weights_fault(arms, variants)


def _weights_fault(arms: list[Any], variants: Mapping[str, Any]) -> str | None:
    total = 0
    for arm in arms:
        match arm:
            case [str(variant), int(weight)] if not isinstance(weight, bool) and weight >= 0:
                if variant not in variants:
                    return f"{variant!r} is no variant; allowed are {', '.join(variants)}"
                total += weight
            case _:
                return 'an arm must be ["variant", weight] with a whole weight, 0 or more'
    if total != WHOLE:
        return f"the weights must sum to {WHOLE}; they sum to {total}"
    if [arm[0] for arm in arms] != ["candidate", "baseline"]:
        return "the candidate comes first, then the baseline: only so is the split nested"
    return None
