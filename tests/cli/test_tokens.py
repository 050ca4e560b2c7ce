"""`playbooks token`: made, listed and revoked while the server goes on."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.intake.http import auth
from bot.intake.http.auth import KnownTokens, read_tokens
from bot.records.database import open_database, url_from
from bot.triggers import Role


class Said(NamedTuple):
    code: int
    out: str
    err: str


async def playbooks(*arguments: str, **environment: str) -> Said:
    """The command in a thread: a process for each would take longer than all the rest."""
    done = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
    return Said(done.exit_code, done.stdout, done.stderr)


async def test_a_token_calls_at_once_and_is_revoked_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "KNOWN_FOR", -1.0)
    here = {"PLAYBOOKS_DATA": str(tmp_path)}
    old = hashlib.sha256(b"old").hexdigest()
    here["PLAYBOOKS_API_TOKENS"] = f"old-ci:write:acme/*:{old}"
    made = await playbooks(
        "token", "new", "ci", "--role", "triage", "--repositories", "acme/*", **here
    )
    said = dict(line.split(":", 1) for line in made.out.splitlines())
    secret, spec = said["token"].strip(), said["spec"].strip()
    assert spec == f"ci:triage:acme/*:{hashlib.sha256(secret.encode()).hexdigest()}"

    # The server that was running all the while.
    engine = open_database(url_from(tmp_path))
    tokens = KnownTokens(read_tokens([here["PLAYBOOKS_API_TOKENS"]]), engine)
    found = await tokens.find(secret)
    assert found is not None
    assert (found.name, found.role, found.reaches) == ("ci", Role.TRIAGE, "acme/*")
    assert await tokens.find("old") is not None

    again = await playbooks("token", "new", "ci", **here)
    assert (again.code, "named ci already" in again.err) == (1, True)
    listed = (await playbooks("token", "list", **here)).out
    assert "ci  triage  acme/*  made " in listed
    assert "old-ci  write  acme/*  in PLAYBOOKS_API_TOKENS" in listed
    assert secret not in listed

    for name in ("ci", "old-ci"):
        assert "refused from now on" in (await playbooks("token", "revoke", name, **here)).out
    assert await tokens.find(secret) is None
    assert await tokens.find("old") is None
    assert (await playbooks("token", "list", **here)).out.count("revoked ") == 2
    unknown = await playbooks("token", "revoke", "nobody", **here)
    assert (unknown.code, "token list" in unknown.err) == (1, True)
    assert (await playbooks("token", "new", "ci", **here)).code == 0
    await engine.dispose()


async def test_a_token_for_the_setting_is_printed_and_stored_nowhere(tmp_path: Path) -> None:
    made = await playbooks("token", "new", "ci", "--print-only", PLAYBOOKS_DATA=str(tmp_path))
    assert made.code == 0
    spec = made.out.splitlines()[1].removeprefix("spec:").strip()
    assert read_tokens([spec])[0].name == "ci"
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240
    wrong = await playbooks("token", "new", "c i", "--print-only", PLAYBOOKS_DATA=str(tmp_path))
    assert (wrong.code, "letters, digits" in wrong.err) == (1, True)
