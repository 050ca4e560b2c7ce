"""Which files of a repository did this bot write? Known by name and by content.

Record files are not code: docs/decisions/0018.

Decision records, reports and the flag document. Each names the incident it is about, and each is
written by one function, so a file that merely lies beside them, or is only named like them, is
somebody's work: it is suspected and reverted like any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from bot.config import Config
from bot.git.history import describe, parents_of
from bot.git.process import Git
from bot.git.revert import KeptFiles
from bot.git.trees import raw_changes
from bot.playbooks.incident.record_files import RECORDS_BRANCHES
from bot.playbooks.ports import HistoryMirror
from bot.records.documents.artifacts import canonical_bytes
from bot.records.documents.reports import SPEC_REPORT_PATH
from bot.traffic.flagd import InvalidFlags, read_flags, written
from bot.triggers import RUN_ID

_ID = RUN_ID.pattern
_OURS = re.compile(rf"(?<![0-9a-z])({_ID})(?![0-9a-z])")
_SCHEMA = re.compile(r"incident-playbooks/[a-z]+/[0-9]+")


@dataclass(frozen=True)
class OwnFiles:
    """Tells what this bot wrote in a repository.

    Attributes:
        config: where it writes.
        incidents: the ids of the incidents it has had there; None: they are not known, and what
            a file says of itself has to do.
    """

    config: Config
    incidents: frozenset[str] | None = None

    @property
    def kept(self) -> KeptFiles:
        """The same for a computed revert."""
        root = self.config.artifacts.root
        folders = ("incidents", "provider_shadow_diffs", "ramp_reports")
        flags = self.config.flags.path
        return KeptFiles(
            paths=(
                f"{self.config.adr.directory}/*.md",
                *(f"{root}/{folder}/*.json" for folder in folders),
                SPEC_REPORT_PATH,
                *([flags] if flags else []),
            ),
            named=self.named,
            wrote=self.wrote,
        )

    def named(self, path: str) -> bool:
        """Whether a path is named like one of ours."""
        return path in (SPEC_REPORT_PATH, self.config.flags.path) or self._incident(path) != ""

    def wrote(self, path: str, content: bytes) -> bool:
        """Whether the file at `path` with these bytes is one of ours."""
        try:
            text = content.decode()
            if path == self.config.flags.path:
                return _is_flag_document(text)
            if path == SPEC_REPORT_PATH:
                return self._is_report(text, None)
            incident = self._incident(path)
            if not incident or not self._knows(incident):
                return False
            if path.endswith(".md"):
                return _is_decision(text, incident)
            return self._is_report(text, incident)
        except (ValueError, RecursionError):
            return False

    def _knows(self, incident: str) -> bool:
        return self.incidents is None or incident in self.incidents

    def _incident(self, path: str) -> str:
        """The incident that the name of a decision record or report has; empty: it is neither."""
        adr, root = re.escape(self.config.adr.directory), re.escape(self.config.artifacts.root)
        shapes = (
            rf"{adr}/[0-9]{{8}}-({_ID})-[a-z0-9-]+\.md",
            rf"{root}/incidents/(?:revert|bisect|rollback)-({_ID})\.json",
            rf"{root}/(?:provider_shadow_diffs|ramp_reports)/({_ID})\.json",
        )
        found = next((m for shape in shapes if (m := re.fullmatch(shape, path))), None)
        return found[1] if found else ""

    def _is_report(self, text: str, incident: str | None) -> bool:
        data = json.loads(text)
        if not isinstance(data, dict) or not _SCHEMA.fullmatch(str(data.get("schema"))):
            return False
        named = data.get("incident")
        if incident is not None and named != incident:
            return False
        return isinstance(named, str) and self._knows(named) and _is_written(data, text)


async def own_files(config: Config, git: Git, more: Collection[str] = ()) -> OwnFiles:
    """Read what is ours in a repository: the incidents of which the records branch has records.

    Only the App writes that branch.

    Args:
        config: the repository's configuration.
        git: its mirror.
        more: further incidents that are known to be ours.
    """
    known: list[str] = []
    for branch in RECORDS_BRANCHES:
        said = await git.run(*("ls-tree", "-r", "--name-only", f"refs/heads/{branch}"), ok=(0, 128))
        if said.code == 0:
            known = _OURS.findall(said.stdout.decode("utf-8", "replace"))
            break
    return OwnFiles(config, frozenset({*known, *more}))


async def is_own(sha: str, config: Config, bot: str, mirror: HistoryMirror) -> bool:
    """Whether a commit changes only what this bot wrote: records, reports, the flag document.

    Such a commit is never suspected. That it says it is ours is not enough: anybody can say so.

    Args:
        sha: the commit.
        config: where records and the flag document are.
        bot: the login we commit under.
        mirror: its commits.

    Raises:
        GitError: the mirror could not be read.
    """

    async def look(git: Git) -> bool:
        parents, _ = await parents_of(git, sha)
        if not parents:
            return False
        changes = await raw_changes(git, parents[0], sha)
        own = await own_files(config, git)
        if not changes or not all(_is_named(own, change.path) for change in changes):
            return False
        [info] = await describe(git, [sha])
        if is_by(info.author, info.email, bot):
            return True
        return await own.kept.of(git, sha, parents[0]) >= {change.path for change in changes}

    return await mirror.read(look)


def is_by(author: str, email: str, bot: str) -> bool:
    """Whether GitHub made a commit for this bot, by the name and address it gives a bot's.

    Args:
        author: the author's name, as the commit has it.
        email: the author's address, as the commit has it.
        bot: the App's login, such as `playbooks[bot]`.
    """
    return author == bot and email.endswith(f"+{bot}@users.noreply.github.com")


def _is_named(own: OwnFiles, path: bytes) -> bool:
    try:
        return own.named(path.decode())
    except UnicodeDecodeError:
        return False


def _is_written(data: Any, text: str) -> bool:
    return canonical_bytes(data) == text.encode()


def _is_decision(text: str, incident: str) -> bool:
    front, separator, decision = text.partition("\n---\n")
    fields = [line.partition(":")[0] for line in front.split("\n")]
    ours = ["---", "status", "date", "decision-makers", "outcome", "outcome-date"]
    return bool(separator) and fields == ours and f"\n* Incident: `{incident}`\n" in decision


def _is_flag_document(text: str) -> bool:
    try:
        return written(read_flags(text)) == text
    except InvalidFlags:
        return False
