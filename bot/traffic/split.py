"""How a capability's requests are split between its baseline and a candidate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bot.canary.facts import Seed
from bot.canary.policy import CapabilityName, Provider
from bot.records.instants import Instant
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
