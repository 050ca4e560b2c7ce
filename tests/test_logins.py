"""Logins as people write them mean the same everywhere they are read."""

from __future__ import annotations

import pytest

from bot.config import InvalidConfig, SelfWork, parse_config
from bot.names import is_among
from bot.safety.gate import why_self_work
from bot.settings import Settings


@pytest.mark.parametrize(
    ("written", "author"),
    [
        ("@acme-agent", "acme-agent"),
        ("Acme-Agent", "acme-agent"),
        (" @ACME-agent ", "Acme-Agent"),
        ("acme-agent", "acme-agent[bot]"),
        ("@acme-agent[bot]", "acme-agent[bot]"),
        ("app/acme-agent", "acme-agent[bot]"),
        ("octo_corp", "octo_corp"),
    ],
)
def test_an_author_of_self_work_is_found_however_the_login_is_written(
    written: str, author: str
) -> None:
    marks = parse_config(f"self_work: {{authors: ['{written}']}}").self_work
    assert why_self_work(marks, author=author, labels=())


@pytest.mark.parametrize(
    ("written", "author"), [("acme-agent[bot]", "acme-agent"), ("@acme", "acme-agent")]
)
def test_nobody_else_is_meant(written: str, author: str) -> None:
    marks = SelfWork.model_validate({"authors": (written,)})
    assert why_self_work(marks, author=author, labels=()) is None
    assert not is_among(author, [written])


@pytest.mark.parametrize(
    "written", ["@@a", "@", "a b", "acme/agents", "-a", "a[bott]", "ä", "a" * 40]
)
def test_what_is_no_login_is_refused(written: str) -> None:
    with pytest.raises(InvalidConfig, match=r"self_work\.authors\.0"):
        parse_config(f"self_work: {{authors: ['{written}']}}")
    with pytest.raises(InvalidConfig, match=r"founder\.people\.0"):
        parse_config(f"founder: {{people: ['{written}']}}")


def test_a_founder_is_a_person_with_or_without_the_sign() -> None:
    assert parse_config("founder: {people: ['@olivia', bob]}").founder.people == ("olivia", "bob")
    with pytest.raises(InvalidConfig, match=r"founder\.people\.0"):
        parse_config("founder: {people: ['robot[bot]']}")


def test_the_founders_of_the_settings_are_read_the_same_way() -> None:
    settings = Settings.model_validate(
        {
            "github_app_id": 1,
            "github_private_key": "k",
            "github_webhook_secret": "s",
            "playbooks_founders": "@olivia, Bob",
        }
    )
    assert settings.playbooks_founders == ("olivia", "Bob")
