"""API tokens as the setting names them."""

from __future__ import annotations

import hashlib

import pytest

from bot.intake.http.auth import find_token, read_tokens
from bot.triggers import Repository, Role

HASH = hashlib.sha256(b"s3cret").hexdigest()


def repository(full_name: str) -> Repository:
    owner, name = full_name.split("/")
    return Repository(id=1, owner=owner, name=name, installation_id=2)


def test_a_token_is_found_by_its_secret_and_by_nothing_else() -> None:
    tokens = read_tokens([f"ci:write:acme/*:{HASH}", f"eyes:read:*:{'0' * 64}"])
    found = find_token(tokens, "s3cret")
    assert found is not None
    assert (found.name, found.role) == ("ci", Role.WRITE)
    for wrong in ("", "s3cre", "S3cret", HASH, "\ud800"):
        assert find_token(tokens, wrong) is None


@pytest.mark.parametrize(
    ("reaches", "name", "expected"),
    [
        ("acme/*", "Acme/App", True),
        ("ACME/app", "acme/app", True),
        ("*", "acme/app", True),
        ("acme/app", "acme/app2", False),
        ("acme/*", "acme2/app", False),
        ("*/app", "evil/app", True),
        ("acme/[ab]*", "acme/core", False),
    ],
)
def test_a_token_reaches_what_its_glob_says(reaches: str, name: str, *, expected: bool) -> None:
    (token,) = read_tokens([f"ci:write:{reaches}:{HASH}"])
    assert token.may_see(repository(name)) is expected


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("ci:write:acme/*", "name:role:repository-glob:sha256"),
        (f"c i:write:acme/*:{HASH}", "a name has"),
        (f"ci:owner:acme/*:{HASH}", "none, read, triage, write, maintain, admin"),
        (f"ci:write::{HASH}", "acme/*"),
        (f"ci:write:acme/*:{HASH[:-1]}", "64 hex digits"),
    ],
)
def test_a_wrong_entry_is_named_without_its_hash(entry: str, says: str) -> None:
    with pytest.raises(ValueError, match="entry 1") as error:
        read_tokens([entry])
    assert says in str(error.value)
    assert HASH[:20] not in str(error.value)


def test_two_tokens_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        read_tokens([f"ci:read:*:{HASH}", f"ci:write:*:{HASH}"])
