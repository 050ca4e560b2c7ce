"""No secret reaches a log or an error."""

from __future__ import annotations

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.github.transport.redaction import REDACTED, redact, redact_event

LETTERS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=36)
JWT = jwt.encode({"iss": "1", "exp": 2}, "k" * 40, algorithm="HS256")
LONG_FORM = f"ghs_123456_{JWT}"


@given(
    prefix=st.sampled_from(["ghs_", "ghp_", "gho_", "ghu_", "ghr_", "github_pat_"]), body=LETTERS
)
def test_tokens_of_every_kind_are_redacted(prefix: str, body: str) -> None:
    assert redact(f"before {prefix}{body}, after") == f"before {REDACTED}, after"


@pytest.mark.parametrize("secret", [JWT, LONG_FORM])
def test_jwts_and_the_long_token_form_are_redacted_whole(secret: str) -> None:
    assert redact(f"token {secret} here") == f"token {REDACTED} here"


def test_private_keys_are_redacted_even_when_cut_off() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"
    assert redact(f"x {key}") == f"x {REDACTED}"
    assert redact(f"x {key}-----END RSA PRIVATE KEY----- y") == f"x {REDACTED} y"


def test_passwords_in_addresses_and_headers_are_redacted() -> None:
    assert redact("https://x-access-token:abc@host/o/r.git") == f"https://{REDACTED}@host/o/r.git"
    assert redact("Authorization: Basic eHl6\nHost: h") == f"Authorization: {REDACTED}\nHost: h"


def test_plain_text_stays_as_it_is() -> None:
    text = "ghs_ is a prefix; https://host:80/a@b and eyJ are fine; sha 0123abcd"
    assert redact(text) == text


def test_log_entries_are_redacted_at_every_depth() -> None:
    event = {
        "event": f"got {LONG_FORM}",
        "raw": LONG_FORM.encode(),
        "inner": {"list": [LONG_FORM], "n": 1},
        "error": ValueError(LONG_FORM),
    }
    assert LONG_FORM not in str(redact_event(None, "info", event))
    assert event["inner"] == {"list": [REDACTED], "n": 1}
