"""Which `.github/playbooks.yml` is in force: the newest good one of the default branch."""

from __future__ import annotations

from bot.config import CONFIG_PATH, LARGEST_CONFIG, Config
from bot.config_versions import read_version
from bot.git.errors import OutputTooLarge, ShallowHistory
from bot.git.process import Git
from bot.git.trees import read_blob

_VERSIONS_TRIED = 200


async def read_config(git: Git, default_head: str) -> tuple[Config, str | None]:
    """Read the last good `.github/playbooks.yml` of the default branch.

    Returns:
        The configuration, and why newer versions of the file were passed over, if they were.
    """
    # What a merged branch had in between was never the default branch's.
    listed = await git.run(
        *("rev-list", "--first-parent", f"--max-count={_VERSIONS_TRIED}", default_head),
        *("--", CONFIG_PATH),
    )
    fault: str | None = None
    for commit in listed.text.split():
        found = await git.run(
            "ls-tree", "--format=%(objecttype) %(objectname)", commit, "--", CONFIG_PATH
        )
        kind, _, sha = found.text.partition(" ")
        if kind != "blob":
            # No file; a folder or submodule of that name is none either.
            return Config(), fault
        try:
            version = await read_version(sha, await _blob(git, sha))
        except ShallowHistory:
            break
        if version.config is not None:
            return version.config, fault
        fault = fault or version.fault
    return Config(), fault


async def _blob(git: Git, sha: str) -> bytes | None:
    """The file; None where it is too large to be read."""
    try:
        return await read_blob(git, sha, limit=LARGEST_CONFIG)
    except OutputTooLarge:
        return None


async def own_config(git: Git) -> Config | None:
    """The configuration of a clone that has a `.github/playbooks.yml` of its own."""
    found = await git.run("ls-tree", "--name-only", "HEAD", "--", CONFIG_PATH, ok=(0, 128))
    if not found.text:
        return None
    return (await read_config(git, "HEAD"))[0]
