"""Tolerant reading of webhook payloads: what is missing, misshapen or hostile reads as None.

Payloads differ by event, age and product, and the published examples break GitHub's own schemas.
So nothing here raises, and whatever later becomes part of an address or a database row is held
to the shape it must have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bot.triggers import Repository

Payload = Mapping[str, Any]

_LARGEST_ID = 2**63 - 1
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_LOGIN = re.compile(r"[A-Za-z0-9_-]{1,100}(?:\[bot\])?")
_SHA = re.compile(r"[0-9a-f]{40}")
_WEB = re.compile(r"https?://[^\s<>\"'`()\\]{1,2000}")


def text(payload: Payload, *path: str) -> str | None:
    """Return the text at this path; characters no database or UTF-8 can hold are replaced."""
    found = _at(payload, path)
    if not isinstance(found, str):
        return None
    return found.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def number(payload: Payload, *path: str) -> int | None:
    """Return the positive 64-bit whole number at this path."""
    found = _at(payload, path)
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if 0 < found <= _LARGEST_ID else None


def mapping(payload: Payload, *path: str) -> Payload:
    """Return the object at this path, or an empty one."""
    found = _at(payload, path)
    return found if isinstance(found, dict) else {}


def sha(payload: Payload, *path: str) -> str | None:
    """Return the full commit id at this path; the all-zero id of a deleted ref counts as none."""
    found = text(payload, *path)
    return found if found and _SHA.fullmatch(found) and found.strip("0") else None


def login(payload: Payload, *path: str) -> str | None:
    """Return the account name at this path."""
    found = text(payload, *path)
    return found if found and _LOGIN.fullmatch(found) else None


def web_address(payload: Payload, *path: str) -> str | None:
    """Return the http(s) address at this path, free of what could end a Markdown link."""
    found = text(payload, *path)
    return found if found and _WEB.fullmatch(found) else None


def numbers_in(payload: Payload, *path: str) -> tuple[int, ...]:
    """Return the `number` of each object in the list at this path."""
    found = _at(payload, path)
    entries = found if isinstance(found, list) else []
    numbers = (number(entry, "number") for entry in entries if isinstance(entry, dict))
    return tuple(each for each in numbers if each is not None)


def names_in(payload: Payload, *path: str) -> tuple[str, ...]:
    """Return the `name` of each object in the list at this path."""
    found = _at(payload, path)
    entries = found if isinstance(found, list) else []
    names = (text(entry, "name") for entry in entries if isinstance(entry, dict))
    return tuple(each for each in names if each is not None)


def repository(payload: Payload) -> Repository | None:
    """Return the repository an event is about; without an installation we cannot act on it."""
    id_ = number(payload, "repository", "id")
    installation = number(payload, "installation", "id")
    owner = text(payload, "repository", "owner", "login")
    name = text(payload, "repository", "name")
    if id_ is None or installation is None or not _is_name(owner) or not _is_name(name):
        return None
    return Repository(id=id_, owner=owner or "", name=name or "", installation_id=installation)


def _is_name(found: str | None) -> bool:
    return bool(found and _NAME.fullmatch(found) and found.strip("."))


def _at(payload: Payload, path: tuple[str, ...]) -> Any:
    found: Any = payload
    for key in path:
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def label_names(payload: Payload) -> tuple[str, ...]:
    """The names of the labels of an issue or pull request."""
    listed = payload.get("labels")
    shown = listed if isinstance(listed, list) else []
    named = [text({"label": each}, "label", "name") for each in shown]
    return tuple(name for name in named if name)
