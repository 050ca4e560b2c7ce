"""Versions of `.github/playbooks.yml`, each read once and away from the event loop.

Anybody may bring a version, by a pull request from a fork; so what reading one costs is paid once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cachetools import LRUCache

from bot.config import (
    LARGEST_CONFIG,
    TOO_LARGE,
    Config,
    ConfigText,
    InvalidConfig,
    read_config_text,
)

_REMEMBERED = 1024 * 1024
"""Bytes of files whose meaning is remembered."""
_OVERHEAD = 1024


@dataclass(frozen=True)
class ConfigVersion:
    """What one version of the file comes to.

    Attributes:
        blob: its id in git; empty where there is no file.
        config: what it says; None where it cannot be used.
        fault: why it cannot be used; empty where it can.
        doubts: what was hardly meant as it is read.
    """

    blob: str
    config: Config | None
    fault: str = ""
    doubts: tuple[str, ...] = ()


NO_FILE = ConfigVersion("", Config())

_known: LRUCache[str, tuple[ConfigVersion, int]] = LRUCache(
    _REMEMBERED, getsizeof=lambda entry: entry[1] + _OVERHEAD
)


async def read_version(blob: str, source: bytes | None) -> ConfigVersion:
    """Read one version, or remember what came of reading it.

    Args:
        blob: the file's id in git, which names its content.
        source: the file; None where it is larger than LARGEST_CONFIG.
    """
    if source is None or len(source) > LARGEST_CONFIG:
        return ConfigVersion(blob, None, fault=TOO_LARGE)
    if blob in _known:
        return _known[blob][0]
    try:
        read: ConfigText = await asyncio.to_thread(read_config_text, source)
        version = ConfigVersion(blob, read.config, doubts=read.doubts)
    except InvalidConfig as invalid:
        version = ConfigVersion(blob, None, fault=str(invalid))
    _known[blob] = (version, len(source))
    return version
