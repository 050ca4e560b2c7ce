"""What the bot may use, and who its Founders are: the sections of limits in the configuration."""

from __future__ import annotations

from decimal import Decimal
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bot.names import Login
from bot.triggers import Role


def _inside_repository(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value:
        raise ValueError("must be a path inside the repository, without '..'")
    # Git holds none of them in a tree, by any of their names; lines and lists of paths break.
    if not value.isprintable() or {part.lower() for part in path.parts} & {".git", "git~1"}:
        raise ValueError("must be a path that git can hold: no '.git', nothing invisible")
    return str(path).strip("/")


RepositoryPath = Annotated[str, AfterValidator(_inside_repository)]


class Section(BaseModel):
    """One section of `.github/playbooks.yml`."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class Founder(Section):
    """Who approves what cannot be undone, and what that is.

    Without `people`, those of the process settings; without those, the repository's admins.
    """

    people: Annotated[tuple[Login, ...], Field(max_length=50)] = ()
    """Logins of those who approve what cannot be undone."""
    paths: Annotated[tuple[RepositoryPath, ...], Field(max_length=200)] = ()
    """Where a revert may go only with a Founder's yes, say `db/migrations/**`."""
    approval_hours: int = Field(default=72, ge=1, le=24 * 30)
    """A request that nobody has answered by then expires."""


WorkflowRef = Annotated[
    str,
    Field(
        max_length=500,
        pattern=r"^[\w.-]+/[\w.-]+/\.github/workflows/[^@\s]+\.ya?ml@refs/(heads|tags)/\S+$",
    ),
]
"""A workflow as GitHub's tokens name it: `acme/app/.github/workflows/a.yml@refs/heads/main`."""


class CallersConfig(Section):
    """Which workflows may act here without a stored secret; every other one only reports."""

    workflows: Annotated[tuple[WorkflowRef, ...], Field(max_length=50)] = ()
    """Each as `OWNER/REPO/.github/workflows/FILE@REF`."""


SCALES = {"money": 1_000_000, "count": 1}
"""How many of its smallest units one of a budget's units has: money is kept in millionths."""
_MOST = Decimal(10**9)


class BudgetLimit(Section):
    """How much self-work, and what it runs, may use in a window.

    `unit` is a currency in three letters (`usd`), or the name of what is counted (`tokens`,
    `seconds`, `requests`): then amounts are whole numbers.
    """

    unit: Annotated[str, Field(pattern=r"^[a-z]{3,16}$")]
    """A currency in three letters, or what is counted."""
    limit: Decimal = Field(ge=0, le=_MOST, allow_inf_nan=False)
    """What may be used in one window."""
    window: Literal["hour", "day", "week", "month"] = "day"
    """By UTC: hours, days, weeks from Monday, months."""

    @model_validator(mode="after")
    def _fits_the_unit(self) -> BudgetLimit:
        self.units(self.limit)
        return self

    def units(self, amount: Decimal) -> int:
        """Count an amount in the smallest units.

        Raises:
            ValueError: it is below zero, not finite, beyond a billion, or finer than the smallest.
        """
        if not amount.is_finite() or not 0 <= amount <= _MOST:
            raise ValueError(f"must be from 0 to {_MOST:,} {self.unit}")
        scale = SCALES["money" if len(self.unit) == 3 else "count"]
        units = amount * scale
        if units != units.to_integral_value():
            finest = "six digits after the point" if scale > 1 else "a whole number"
            raise ValueError(f"must be {finest} of {self.unit} at most")
        return int(units)

    def said(self, units: int) -> str:
        """Write an amount in the budget's unit."""
        scale = SCALES["money" if len(self.unit) == 3 else "count"]
        whole, rest = divmod(units, scale)
        digits = f"{rest:06d}".rstrip("0") if scale > 1 else ""
        return f"{whole}.{digits.ljust(2, '0')}" if scale > 1 else str(whole)


class Caps(Section):
    """What the bot itself may begin or use; what a person asks for is counted, never refused.

    At a cap of trials or minutes a bisect says what it has learnt, and a person may have it go on.
    """

    reverts_a_day: int = Field(default=10, ge=0, le=1000)
    """Reverts that no person asked for."""
    hotfix_pull_requests_a_day: int = Field(default=10, ge=0, le=1000)
    """Hotfixes that no person asked for."""
    bisects_a_day: int = Field(default=20, ge=0, le=1000)
    """Bisects that no person asked for."""
    trials_a_day: int = Field(default=300, ge=1, le=10_000)
    """Of all bisects of the repository together, in any 24 hours; so are the minutes they take."""
    ci_minutes_a_day: int = Field(default=24 * 60, ge=1, le=100_000)
    """What their trials may take of CI together."""
    github_requests_an_hour: int = Field(default=5000, ge=100, le=1_000_000)
    """What the bot asks GitHub about this repository; recovery is counted, never refused."""


def _write_at_least(role: Role) -> Role:
    if not role.at_least(Role.WRITE):
        raise ValueError("must be write, maintain or admin")
    return role


CommandRole = Annotated[Role, AfterValidator(_write_at_least)]


class Commands(Section):
    """The weakest role that may use a command, where it is to be more than write.

    `prefix_only`: comments count only as `/playbooks revert` and so on, for repositories where
    another bot answers to the same words.
    """

    revert: CommandRole = Role.WRITE
    bisect: CommandRole = Role.WRITE
    shadow: CommandRole = Role.WRITE
    ramp: CommandRole = Role.WRITE
    rollback: CommandRole = Role.WRITE
    pause: CommandRole = Role.WRITE
    unpause: CommandRole = Role.WRITE
    approve: CommandRole = Role.WRITE
    reject: CommandRole = Role.WRITE
    prefix_only: bool = False
    """Whether commands are heard only as `/playbooks …`."""

    def needed(self, command: str) -> Role | None:
        """The role a command needs; None where this says nothing about it."""
        found = getattr(self, command, None) if command in type(self).model_fields else None
        return found if isinstance(found, Role) else None

    @model_serializer(mode="wrap")
    def _as_approved(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A section is known by its digest: one approved before there was this key stays approved.
        written: dict[str, Any] = write(self)
        return written if self.prefix_only else without(written, "prefix_only")


def without(written: dict[str, Any], name: str) -> dict[str, Any]:
    """Leave a key out of what is approved."""
    return {key: value for key, value in written.items() if key != name}
