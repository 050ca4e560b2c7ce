"""The shares as a flagd document: how a user falls into a bucket, and what is wrong with a file.

flagd hashes the CBOR encoding of the bucketing value with MurmurHash3 (x86, 32 bits, seed 0) and
scales it to the sum of the weights: `(hash * total) >> 32` (flagd-core 2, "fractional"). With
weights that always sum to 100 and the candidate first, a key below 5 is below 25 too: the split
is nested, and no key flips back while the candidate's share grows.

A flag's variants are the providers; its `metadata` holds the generation that decided, and in a
shadow what to mirror. Traps this document avoids (found by trying flagd's Python provider): a
rule without the guard sends every request that has no targeting key to one arm; fractions with
a decimal point count as nothing; a misspelt variant gives the caller's default.

A revert or a late merge may bring back an old document. Nobody asks the repository who serves,
but programs may read the file; so what is there must never favour a candidate more than what is
served. An older document that favours nobody is left alone: it is followed by the next commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bot.canary.policy import CapabilityName, Provider, Seed
from bot.records.tables.columns import Instant
from bot.triggers import Value

Mode = Literal["steady", "shadow", "ramp"]
Salt = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class Split(Value):
    """Who gets which share of a capability's requests.

    Attributes:
        baseline: the provider that serves whatever the candidate does not.
        candidate: who might take over; None while there is none.
        percent: the candidate's share.
        mode: steady: nobody is on trial; shadow: the candidate answers copies of some requests,
            and users see none of it; ramp: it serves its share.
        attempt: the shadow's or ramp's id; None when steady.
        salt: of the hash that splits. Another salt sends other keys to the candidate.
        sample_rate: share of requests to mirror; 0 except in a shadow.
        seed: of the choice which requests are mirrored.
    """

    baseline: Provider
    candidate: Provider | None = None
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    mode: Mode = "steady"
    attempt: str | None = None
    salt: Salt = "0"
    sample_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: Seed = "0"

    @model_validator(mode="after")
    def _fits(self) -> Split:
        trial = self.mode != "steady"
        if trial != (self.candidate is not None) or trial != (self.attempt is not None):
            raise ValueError("a shadow or ramp has a candidate and an attempt; else there is none")
        if self.candidate == self.baseline:
            raise ValueError(f"{self.baseline} cannot be both baseline and candidate")
        if self.percent and self.mode != "ramp":
            raise ValueError("only in a ramp does the candidate serve")
        if self.sample_rate and self.mode != "shadow":
            raise ValueError("only in a shadow are requests mirrored")
        return self

    @property
    def favours_candidate(self) -> bool:
        """Whether the candidate gets requests, or copies of them."""
        return self.percent > 0 or self.sample_rate > 0


class Allocation(Value):
    """Who serves a capability since a certain change.

    Attributes:
        repository_id: whose capability.
        capability: its name.
        generation: of the repository's flag document: grows with every change of it. Each
            observation carries the one that decided it.
        split: how requests are split.
        paused: why no candidate may get anything until somebody lifts it; None: not paused.
        actor: who changed it.
        why: in words for people.
        at: when.
    """

    repository_id: int
    capability: CapabilityName
    generation: Annotated[int, Field(ge=1)]
    split: Split
    paused: str | None
    actor: str
    why: str
    at: Instant


_MASK = 0xFFFFFFFF


def bucketing_prefix(capability: str, salt: str) -> str:
    """What is hashed together with the targeting key, in front of it."""
    return f"{capability}:{salt}:"


def is_candidate(capability: str, split: Split, targeting_key: str) -> bool:
    """Tell whether the split gives this key to the candidate."""
    hashed = murmur3(cbor_text(bucketing_prefix(capability, split.salt) + targeting_key))
    return (hashed * 100) >> 32 < split.percent


def cbor_text(text: str) -> bytes:
    """Encode a text string in CBOR (RFC 8949, section 3.1, major type 3), shortest form."""
    data = text.encode("utf-8")
    length = len(data)
    if length < 24:
        head = bytes([0x60 + length])
    elif length < 0x100:
        head = bytes([0x78, length])
    elif length < 0x10000:
        head = b"\x79" + length.to_bytes(2, "big")
    else:
        head = b"\x7a" + length.to_bytes(4, "big")
    return head + data


def murmur3(data: bytes) -> int:
    """MurmurHash3, x86, 32 bits, seed 0 (Appleby 2011, public domain reference)."""
    hashed = 0
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        hashed ^= _scramble(int.from_bytes(data[start : start + 4], "little"))
        hashed = (_rotated(hashed, 13) * 5 + 0xE6546B64) & _MASK
    hashed ^= _scramble(int.from_bytes(data[whole:], "little"))
    hashed ^= len(data)
    hashed = ((hashed ^ (hashed >> 16)) * 0x85EBCA6B) & _MASK
    hashed = ((hashed ^ (hashed >> 13)) * 0xC2B2AE35) & _MASK
    return hashed ^ (hashed >> 16)


def _scramble(block: int) -> int:
    return (_rotated((block * 0xCC9E2D51) & _MASK, 15) * 0x1B873593) & _MASK


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _MASK


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


def read_flags(text: str) -> dict[str, Any]:
    """Read a document that anybody may have written.

    Whatever it returns can be written again: `written` gives JSON in UTF-8, as every reader of
    flags takes it.

    Raises:
        InvalidFlags: it is no JSON, or `check_flags` refuses it; says why.
    """
    try:
        found = json.loads(text, parse_constant=_no_number)
        check_flags(found)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise InvalidFlags("It is nested too deeply.") from None
    except ValueError as fault:
        raise InvalidFlags(str(fault)) from None
    return dict(found)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


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
    if not _is_named(flag.get("defaultVariant"), variants):
        return f"defaultVariant must be one of {', '.join(variants)}"
    targeting = flag.get("targeting")
    return None if targeting in (None, {}) else _rule_fault(name, targeting, variants)


def _is_named(variant: object, variants: Mapping[str, Any]) -> bool:
    return isinstance(variant, str) and variant in variants


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
    if not _is_named(fallback, variants):
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


def what_is_wrong(text: str, served: Document) -> str | None:
    """Say why a document must be replaced by the served one; None: it may stay.

    Args:
        text: the file as it is in the repository.
        served: the document as it is served, checked.
    """
    try:
        there = read_flags(text)
    except InvalidFlags as fault:
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
    metadata = flag.get("metadata")
    rate = metadata.get("mirrorRate", 0) if isinstance(metadata, Mapping) else 0
    return rate if isinstance(rate, int | float) else 0.0
