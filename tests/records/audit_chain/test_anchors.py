"""Anchors: signed by one key that is made once and kept to its owner."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot.records.audit.anchors import (
    Anchor,
    private_key,
    public_key,
    read_anchors,
    sign,
)
from bot.records.audit.chain import AuditHead
from tests.records.examples import NOON

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HEAD = AuditHead(repository_id=2**63 - 1, seq=3, head_hash="ab" * 32)
ANCHOR = sign(HEAD, KEY, NOON)


def test_an_anchor_is_one_line_that_never_changes() -> None:
    assert ANCHOR.line() == sign(HEAD, KEY, NOON).line()
    assert ANCHOR.line().count("\n") == 1
    assert '"repository": "9223372036854775807"' in ANCHOR.line()
    assert read_anchors(ANCHOR.line()) == [ANCHOR]


@pytest.mark.parametrize(
    "change",
    [
        {"repository": "1"},
        {"seq": 4},
        {"head_hash": "cd" * 32},
        {"time": NOON + timedelta(seconds=1)},
        {"signature": ""},
        {"signature": "not base64 é"},
        {"signature": "AAAA"},
    ],
)
def test_a_changed_anchor_is_not_signed(change: dict[str, object]) -> None:
    assert ANCHOR.is_signed_by(KEY.public_key())
    assert not ANCHOR.model_copy(update=change).is_signed_by(KEY.public_key())


def test_lines_that_are_no_anchors_are_left_out() -> None:
    assert read_anchors(f'\nhello\n{{"seq": 1}}\n{ANCHOR.line()}[]\n') == [ANCHOR]


def test_another_kind_of_key_is_refused() -> None:
    elliptic = generate_private_key(SECP256R1())
    pem = elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        private_key(pem)
    with pytest.raises(ValueError, match="not an unencrypted PEM"):
        private_key(b"hello")
    with pytest.raises(ValueError, match="not a PEM public key"):
        public_key(b"hello")


def test_an_anchor_of_a_strange_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="repository"):
        Anchor(repository="x", seq=1, head_hash="ab" * 32, time=NOON, signature="")
