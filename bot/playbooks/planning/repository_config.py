"""Which `.github/playbooks.yml` is in force: the newest good one of the default branch."""

from __future__ import annotations

from bot.config import CONFIG_PATH, Config, InvalidConfig, parse_config
from bot.git.errors import ShallowHistory
from bot.git.process import Git
from bot.git.trees import read_blob

_VERSIONS_TRIED = 20


async def read_config(git: Git, default_head: str) -> tuple[Config, str | None]:
    """Read the last good `.github/playbooks.yml` of the default branch.

    Returns:
        The configuration, and why newer versions of the file were passed over, if they were.
    """
    listed = await git.run(
        *("rev-list", f"--max-count={_VERSIONS_TRIED}", default_head, "--", CONFIG_PATH)
    )
    fault: str | None = None
    for commit in listed.text.split():
        found = await git.run("ls-tree", "--format=%(objectname)", commit, "--", CONFIG_PATH)
        if not found.text:
            return Config(), fault
        try:
            blob = await read_blob(git, found.text, limit=1 << 20)
            return parse_config(blob.decode("utf-8", "replace")), fault
        except InvalidConfig as invalid:
            fault = fault or str(invalid)
        except ShallowHistory:
            break
    return Config(), fault


async def own_record_paths(git: Git) -> tuple[str, ...]:
    """The record files of a clone that has a `.github/playbooks.yml` of its own; else nothing."""
    found = await git.run("ls-tree", "--name-only", "HEAD", "--", CONFIG_PATH, ok=(0, 128))
    if not found.text:
        return ()
    return (await read_config(git, "HEAD"))[0].record_paths
