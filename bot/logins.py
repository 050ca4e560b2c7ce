"""Logins as people write them: with or without `@`, in any case, apps with or without `[bot]`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_BOT = "[bot]"
_APP = "app/"
"""How GitHub's command line names an app."""


def bare(written: str) -> str:
    """A login without the `@` and the blanks around it; an app's as GitHub's REST API has it."""
    login = written.strip().removeprefix("@")
    if login.lower().startswith(_APP):
        return f"{login[len(_APP) :].removesuffix(_BOT)}{_BOT}"
    return login


def _bare(value: Any) -> Any:
    return bare(value) if isinstance(value, str) else value


_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}"

Login = Annotated[str, BeforeValidator(_bare, str), Field(pattern=rf"^{_NAME}$")]
"""A person; a leading `@` is dropped."""
Author = Annotated[str, BeforeValidator(_bare, str), Field(pattern=rf"^{_NAME}(\[bot\])?$")]
"""A person or an app; a leading `@` is dropped."""


def is_among(login: str, named: Iterable[str]) -> bool:
    """Tell whether somebody is named; GitHub's logins ignore case.

    Where an app is named without its `[bot]`, as GitHub's pages show it, it is meant too.
    """
    lower = login.lower()
    meant = {lower, lower.removesuffix(_BOT)}
    return any(bare(each).lower() in meant for each in named)
