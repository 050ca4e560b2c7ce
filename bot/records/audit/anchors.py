"""Signed ends of audit chains, kept where the database cannot reach: in git.

A chain alone cannot show that its tail was cut off, nor that all of it was written again. An
Anchor can: it says, signed with Ed25519, which entry the chain had at that place.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from datetime import datetime

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import Field, ValidationError

from bot.records.audit.chain import AuditHead
from bot.records.tables.columns import Instant, rfc3339
from bot.triggers import Value

ANCHORS_PATH = "audit/anchors.jsonl"
"""Where anchors stand on the records branch, one JSON object per line."""

DOMAIN = b"incident-playbooks/anchor/1\x00"


class Anchor(Value):
    """A signed statement: at `time`, entry `seq` of this repository's chain had this hash.

    `repository` is GitHub's repository id as text, `signature` base64.
    """

    repository: str = Field(pattern=r"^[0-9]{1,20}$")
    seq: int = Field(ge=1)
    head_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    time: Instant
    signature: str = Field(max_length=200)

    @property
    def repository_id(self) -> int:
        """Whose chain."""
        return int(self.repository)

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        """Tell whether the owner of `key` made this statement."""
        try:
            signature = base64.b64decode(self.signature, validate=True)
            key.verify(signature, _statement(self))
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def line(self) -> str:
        """Write the anchor as one line of `audit/anchors.jsonl`, with its newline."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True) + "\n"


def sign(head: AuditHead, key: Ed25519PrivateKey, at: datetime) -> Anchor:
    """State with our signature what the end of a chain is at the moment `at`.

    Args:
        head: the chain's last entry, and whose chain it is.
        key: the private key of this installation.
        at: the time that the statement gives, which is signed, too.
    """
    unsigned = Anchor(
        repository=str(head.repository_id),
        seq=head.seq,
        head_hash=head.head_hash,
        time=at,
        signature="",
    )
    signature = base64.b64encode(key.sign(_statement(unsigned))).decode()
    return unsigned.model_copy(update={"signature": signature})


def read_anchors(text: str) -> list[Anchor]:
    """Read anchors, one per line. Lines that are none are left out: they prove nothing."""
    return list(_anchors(text.splitlines()))


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """Read an Ed25519 private key in PEM.

    Raises:
        ValueError: it is another kind of key, encrypted, or none at all.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, ValueError) as error:
        raise ValueError("the signing key is not an unencrypted PEM private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("the signing key is not an Ed25519 key")
    return key


def public_key(pem: bytes) -> Ed25519PublicKey:
    """Read an Ed25519 public key in PEM.

    Raises:
        ValueError: it is another kind of key, or none at all.
    """
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise ValueError("the public key is not a PEM public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the public key is not an Ed25519 key")
    return key


def public_keys(pem: bytes) -> tuple[Ed25519PublicKey, ...]:
    """Read Ed25519 public keys in PEM, one after the other: the present one and those before.

    Raises:
        ValueError: one is another kind of key, or there is none at all.
    """
    begin = b"-----BEGIN"
    blocks = [begin + rest for rest in pem.split(begin)[1:]]
    return tuple(public_key(block) for block in blocks or [pem])


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """Write a private key in PEM, unencrypted."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Write a public key in PEM, for those who verify."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _statement(anchor: Anchor) -> bytes:
    return DOMAIN + rfc8785.dumps(
        {
            "repository": anchor.repository,
            "seq": str(anchor.seq),
            "head_hash": anchor.head_hash,
            "time": rfc3339(anchor.time),
        }
    )


def _anchors(lines: Iterable[str]) -> Iterable[Anchor]:
    for line in lines:
        try:
            yield Anchor.model_validate_json(line)
        except ValidationError:
            continue
