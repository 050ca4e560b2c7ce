"""Nothing of this host is said where everybody reads."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from bot.errors import without_paths
from bot.git.errors import CorruptRepository, GitFailed, GitTimeout
from bot.github.errors import Forbidden
from bot.playbooks.run import StepFailed
from bot.records.outages import in_public

HERE = "[a path on the server]"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("cannot read '/var/lib/playbooks/mirrors/1/x.git'", f"cannot read '{HERE}'"),
        ("dir=/srv/a/b: gone", f"dir={HERE}: gone"),
        ("File /opt/bot/app.py, line 3", f"File {HERE}, line 3"),
        ("see https://github.com/acme/app/pull/1", "see https://github.com/acme/app/pull/1"),
        ("comment `/retry` or /revert #1", "comment `/retry` or /revert #1"),
        ("GET /repos/{owner}/{repo}/pulls said no", "GET /repos/{owner}/{repo}/pulls said no"),
        ("POST /repos/{o}/{r}/git/trees: Odd", "POST /repos/{o}/{r}/git/trees: Odd"),
        ("PATCH /repos/{o}/{r}/git/refs/{ref*}: no", "PATCH /repos/{o}/{r}/git/refs/{ref*}: no"),
        ("POST /repos/{owner}/{repo}/git/trees: no", "POST /repos/{owner}/{repo}/git/trees: no"),
        ("apps/orchestrator/x.json differs", "apps/orchestrator/x.json differs"),
    ],
)
def test_paths_of_this_host_are_left_out_and_nothing_else_is(raw: str, said: str) -> None:
    assert without_paths(raw) == said
    assert str(StepFailed("look", raw)) == said


def wrong() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("/etc/secret/x")
    return caught.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GitFailed("fetch", 128, "fatal: /srv/x and more"), "git fetch ended with 128; the log"),
        (CorruptRepository("fsck", 1, "error in /srv/x"), "git fsck ended with 1; the log"),
        (GitTimeout("gc", 5), "git gc took longer than 5 s"),
        (FileNotFoundError(2, "No such file or directory", "/srv/x/y"), "the machine I run on"),
        (OSError("cannot open /srv/x/y"), f"cannot open {HERE}"),
        (ValueError("not in /srv/x/y"), HERE),
        (Forbidden("Resource not accessible by integration"), "Resource not accessible"),
        (wrong(), "this bot itself is at fault (ValidationError)"),
        (AttributeError("'Run' object has no attribute 'x'"), "this bot itself is at fault"),
        (KeyError("/srv/secret"), "this bot itself is at fault (KeyError)"),
        (json.JSONDecodeError("secret", "doc", 0), "this bot itself is at fault"),
    ],
)
def test_only_our_own_words_are_public(error: Exception, said: str) -> None:
    assert said in in_public(error)
    for raw in ("/srv", "/etc", "secret", "fatal"):
        assert raw not in in_public(error)
