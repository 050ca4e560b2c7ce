"""API tokens: `name:role:repository-glob:sha256`. Only the hash is ever kept."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bot.triggers import Repository, Role

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_GLOB = re.compile(r"[A-Za-z0-9_.*?/\[\]!-]{1,200}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ApiToken:
    """A machine's right to call the API. `reaches` is a glob over `owner/name`."""

    name: str
    role: Role
    reaches: str
    sha256: str

    def may_see(self, repository: Repository) -> bool:
        """Tell whether this token reaches a repository; GitHub's names ignore case."""
        return fnmatchcase(repository.full_name.lower(), self.reaches.lower())


def read_tokens(entries: Sequence[str]) -> tuple[ApiToken, ...]:
    """Read the entries of PLAYBOOKS_API_TOKENS.

    Raises:
        ValueError: an entry is wrong; says which and how, and never repeats the hash.
    """
    tokens = tuple(_read(place, entry) for place, entry in enumerate(entries, start=1))
    names = [token.name for token in tokens]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"PLAYBOOKS_API_TOKENS: the name {name!r} is used twice")
    return tokens


def find_token(tokens: Sequence[ApiToken], secret: str) -> ApiToken | None:
    """Return the token this secret belongs to; takes as long whether one matches or none."""
    digest = hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
    matching = [token for token in tokens if hmac.compare_digest(token.sha256, digest)]
    return matching[0] if matching else None


def _read(place: int, entry: str) -> ApiToken:
    where = f"PLAYBOOKS_API_TOKENS, entry {place}"
    parts = entry.strip().split(":")
    if len(parts) != 4:
        raise ValueError(f"{where}: write name:role:repository-glob:sha256")
    name, role, reaches, digest = parts
    roles = [str(each) for each in Role]
    if not _NAME.fullmatch(name):
        raise ValueError(f"{where}: a name has 1 to 64 letters, digits and _ . -")
    if role not in roles:
        raise ValueError(f"{where}: the role must be one of {', '.join(roles)}")
    if not _GLOB.fullmatch(reaches):
        raise ValueError(f"{where}: the repository glob must look like acme/* or acme/app")
    if not _HASH.fullmatch(digest.lower()):
        raise ValueError(f"{where}: the last part must be the token's SHA-256 in 64 hex digits")
    return ApiToken(name, Role(role), reaches, digest.lower())
