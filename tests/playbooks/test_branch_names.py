"""What branches are called, and whose they are: from names and trailers alone."""

from __future__ import annotations

import subprocess
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.playbooks.incident.branches import (
    MOST_NAMES,
    Naming,
    about_capability,
    about_change,
    flat,
    incident_of_hotfix,
    is_hotfix,
)

INCIDENT = "01k0000000000000000000k2m4"
OTHER = "01k0000000000000000000zzzz"
BASE = "0123456789ab" + "0" * 28
LONGEST = 40


def _naming(
    kind: str = "revert",
    proposal: Literal["hotfix", "fix"] = "hotfix",
    *,
    attempt: int = 1,
    short: bool = True,
) -> Naming:
    return Naming(kind, proposal, INCIDENT, attempt, short)


@pytest.mark.parametrize(
    ("naming", "about", "name"),
    [
        (_naming(), about_change(7, "3f2a9c1" + "0" * 33), "hotfix/revert-7-k2m4"),
        (_naming(), about_change(None, "3f2a9c1" + "0" * 33), "hotfix/revert-3f2a9c1-k2m4"),
        (_naming(attempt=2), "7", "hotfix/revert-7-k2m4-2"),
        (_naming("bisect", "fix"), "3f2a9c1", "fix/bisect-3f2a9c1-k2m4"),
        (
            _naming("rollback", "fix"),
            about_capability("llm.Summarize/v2 für alle"),
            "fix/rollback-llm-summarize-v2-k2m4",
        ),
        (_naming("rollback", "fix"), about_capability("…"), "fix/rollback-capability-k2m4"),
        (_naming(short=False), "7", f"hotfix/revert-{INCIDENT}"),
        (_naming(short=False, attempt=3), "7", f"hotfix/revert-{INCIDENT}-3"),
    ],
)
def test_a_branch_is_called(naming: Naming, about: str, name: str) -> None:
    assert naming.first(about) == name
    assert naming.may_have(name)
    assert naming.may_have(flat(name))


def test_the_names_after_the_first_are_numbered_on() -> None:
    first, second, third, *more = _naming().names("hotfix/revert-7-k2m4")
    assert (first, second, third) == (
        "hotfix/revert-7-k2m4",
        "hotfix/revert-7-k2m4-2",
        "hotfix/revert-7-k2m4-3",
    )
    assert len(more) == MOST_NAMES - 3
    again = [*_naming(attempt=2).names("hotfix/revert-7-k2m4-2")]
    assert again[:2] == ["hotfix/revert-7-k2m4-2", "hotfix/revert-7-k2m4-3"]
    long = f"hotfix/revert-{INCIDENT}"
    assert [*_naming(short=False).names(long)] == [long]


_SHAS = st.text("0123456789abcdef", min_size=40, max_size=40)
_CHANGES = st.builds(about_change, st.none() | st.integers(1, 10**10 - 1), _SHAS)


@settings(max_examples=60, deadline=None)
@given(
    of=st.tuples(st.just(("revert", "hotfix")), _CHANGES)
    | st.tuples(st.just(("bisect", "fix")), _CHANGES)
    | st.tuples(st.just(("rollback", "fix")), st.builds(about_capability, st.text())),
    attempt=st.integers(1, 40),
)
def test_every_name_is_one_for_git_and_for_a_phone(
    of: tuple[tuple[str, Literal["hotfix", "fix"]], str], attempt: int
) -> None:
    (kind, proposal), about = of
    naming = _naming(kind, proposal, attempt=attempt)
    names = [*naming.names(naming.first(about))]
    assert len({*names}) == len(names)
    for name in (names[0], names[-1], flat(names[-1])):
        assert len(name) <= LONGEST
        assert naming.may_have(name)
        assert is_hotfix(name) == (kind == "revert")
        checked = subprocess.run(["git", "check-ref-format", "--branch", name], check=False)  # noqa: S603, S607
        assert checked.returncode == 0, name


@pytest.mark.parametrize(
    ("name", "keys", "attempt"),
    [
        ("hotfix/revert-7-k2m4", [f"{INCIDENT}/1/0123456789ab"], 1),
        ("hotfix/revert-7-k2m4-3", [f"{INCIDENT}/2/0123456789ab"], 2),
        ("hotfix-revert-7-k2m4", [f"{INCIDENT}/1/0123456789ab"], 1),
        # A person's branch of that name; another incident's; one begun at our earlier merge.
        ("hotfix/revert-7-k2m4", [], None),
        ("hotfix/revert-7-k2m4", [f"{OTHER}/1/0123456789ab"], None),
        ("hotfix/revert-7-k2m4", [f"{OTHER}/1/0123456789ab", f"{INCIDENT}/1/0123456789ab"], None),
        ("hotfix/revert-7-k2m4", ["something-else"], None),
        # Begun before names were short.
        (f"hotfix/revert-{INCIDENT}", [], 1),
        (f"hotfix/revert-{INCIDENT}-2", [], 2),
        (f"hotfix-revert-{INCIDENT}", [], 1),
        (f"hotfix/revert-{OTHER}", [], None),
    ],
)
def test_whose_a_branch_is(name: str, keys: list[str], attempt: int | None) -> None:
    assert _naming().attempt_of(name, keys) == attempt


def test_attempts_on_the_same_base_have_different_keys() -> None:
    assert _naming().key(BASE) == f"{INCIDENT}/1/0123456789ab"
    assert _naming(attempt=2).key(BASE) == f"{INCIDENT}/2/0123456789ab"
    # As it was before names were short: Runs begun then find their commit again.
    assert _naming(attempt=2, short=False).key(BASE) == f"{INCIDENT}/0123456789ab"


@pytest.mark.parametrize(
    ("name", "keys", "incident"),
    [
        (f"hotfix/revert-{INCIDENT}", [], INCIDENT),
        (f"hotfix/revert-{INCIDENT}-2", [], INCIDENT),
        ("hotfix/revert-7-k2m4", [f"{INCIDENT}/1/0123456789ab"], INCIDENT),
        ("hotfix-revert-3f2a9c1-k2m4-2", [f"{INCIDENT}/2/0123456789ab"], INCIDENT),
        # Somebody's commit upon it bears another trailer, or none is left.
        ("hotfix/revert-7-k2m4", [f"{OTHER}/1/0123456789ab"], None),
        (
            "hotfix/revert-7-k2m4",
            [f"{OTHER}/1/0123456789ab", f"{INCIDENT}/1/0123456789ab"],
            INCIDENT,
        ),
        ("hotfix/revert-7-k2m4", [], None),
        ("hotfix/login", [f"{INCIDENT}/1/0123456789ab"], None),
    ],
)
def test_a_hotfix_tells_its_incident(name: str, keys: list[str], incident: str | None) -> None:
    assert incident_of_hotfix(name, keys) == incident
