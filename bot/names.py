"""Names by git's and GitHub's own rules: of revisions, and of people and Apps.

https://git-scm.com/docs/git-check-ref-format and https://git-scm.com/docs/gitrevisions
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

LONGEST = 300
"""GitHub's names of branches and tags end at 255 bytes; a full ref and steps back fit besides."""

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_STEPS = re.compile(r"(?:~[0-9]{0,9}|\^[0-9]{0,9}|\^\{(?:commit|object|tag)?\})*")


def is_ref_name(name: str) -> bool:
    """Tell whether a branch or tag can have this name (`git check-ref-format --branch`)."""
    if not name or name == "@" or name[0] in "-/" or name[-1] in "/." or _FORBIDDEN.search(name):
        return False
    parts = name.split("/")
    return not any(part.startswith(".") or part.endswith(".lock") for part in parts)


def is_revision(words: str) -> bool:
    """Tell whether these can name a commit: a name or SHA, perhaps with steps back (`v1~3`)."""
    name, steps = split_steps(words)
    can_be_named = name == "@" or is_ref_name(name)
    return can_be_named and len(words) <= LONGEST and _STEPS.fullmatch(steps) is not None


def split_steps(revision: str) -> tuple[str, str]:
    """Part a revision into its name and the steps back from there, `~3` or `^2`."""
    at = next((at for at, character in enumerate(revision) if character in "~^"), len(revision))
    return revision[:at], revision[at:]


_AROUND = ("``", '""', "''", "<>")


def unwrapped(words: str) -> str:
    """Take off what people put around a name so that it stands out.

    What stands inside as well is part of the name: `<b>slow</b>`, `"one" or "two"`.
    """
    while len(words) > 2 and (around := words[0] + words[-1]) in _AROUND:
        if around != "``" and not set(around).isdisjoint(words.strip(around)):
            break
        words = words[1:-1].strip()
    return words


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


CAPABILITY = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What is provided, such as `llm.summarize`; a pattern."""
PROVIDER = r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}"
"""Who provides it, such as `acme/model-2`; a pattern."""

NUMERIC = r"^[^\s:][^:]*(:lower|:higher)?$"
"""A metric, and perhaps which direction is worse, such as `latency:higher`; a pattern."""


def split_numeric(numeric: str) -> tuple[str, Literal["lower", "higher"] | None]:
    """Part what NUMERIC allows into a name and what is worse; None where either direction is."""
    name, _, worse = numeric.partition(":")
    return name, "lower" if worse == "lower" else "higher" if worse == "higher" else None


_QUOTES = ('"', "`", "'")


def typed_numeric(numeric: str) -> str:
    """Write a metric as a command takes it: in quotes where it has several words."""
    name, worse = split_numeric(numeric)
    is_one_word = not any(map(str.isspace, name)) and name[0] not in _QUOTES and name[-1] != ","
    quote = "" if is_one_word else next((each for each in _QUOTES if each not in name), "")
    return f"{quote}{name}{quote}" + (f":{worse}" if worse else "")
