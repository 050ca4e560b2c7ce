"""Is an audit chain what it was? Answered from the rows and from signed anchors kept elsewhere.

`verify` is pure. `audit_verify` reads a database and anchors for the command line.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from enum import IntEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import JsonValue, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from bot.records.audit import chain
from bot.records.audit.anchors import ANCHORS_PATH, Anchor, public_keys, read_anchors
from bot.records.audit.chain import GENESIS, AuditEntry, AuditHead, UnreadableRow
from bot.records.database import open_database, open_existing, reading
from bot.records.tables.columns import Instant
from bot.triggers import Value

RECORDS_REFS = (
    *(f"refs/{side}/{name}"
      for side in ("heads", "remotes/origin")
      for name in ("playbooks/records", "playbooks-records")),
    # All that a fetch leaves in a clone of a single branch, such as `--depth 1` makes.
    "FETCH_HEAD",
)  # fmt: skip


class ExitCode(IntEnum):
    """The exit codes of `audit verify`."""

    INTACT = 0
    CANNOT_CHECK = 1
    ALTERED = 2
    TRUNCATED = 3


class Restored(Value):
    """A person's statement in the chain: an older backup was restored, and these anchors lost."""

    at: Instant
    by: str
    because: str
    lost: frozenset[tuple[int, str]]
    """Entries of the chain that was lost: number and hash, as they had been anchored."""

    def __str__(self) -> str:
        """Say it in a clause."""
        last = max(seq for seq, _ in self.lost)
        return (
            f"an older backup was restored ({self.at:%Y-%m-%d}, says {self.by}: {self.because}); "
            f"what came before that up to entry {last} of the former chain is lost"
        )


class Intact(Value):
    """Every entry follows from the one before, and the anchors agree up to `anchored`."""

    entries: int
    anchored: int
    restored: tuple[Restored, ...] = ()
    code: ExitCode = ExitCode.INTACT

    def __str__(self) -> str:
        """Say it in one sentence."""
        said = f"intact: {self.entries} entries, anchored up to entry {self.anchored}"
        rest = self.entries - self.anchored
        if rest:
            said = f"{said}; the last {rest} are chained but not anchored yet"
        return "; ".join([said, *map(str, self.restored)])


class CannotCheck(Value):
    """There is not enough to tell."""

    reason: str
    code: ExitCode = ExitCode.CANNOT_CHECK

    def __str__(self) -> str:
        """Say it in one sentence."""
        return f"could not check: {self.reason}"


class Altered(Value):
    """Entry `entry` is not what was written there, or is gone from between others."""

    entry: int
    reason: str
    code: ExitCode = ExitCode.ALTERED

    def __str__(self) -> str:
        """Say it in one sentence."""
        return f"altered: entry {self.entry}: {self.reason}"


class Truncated(Value):
    """The chain ends before entry `entry`, which is known to have existed."""

    entry: int
    reason: str
    code: ExitCode = ExitCode.TRUNCATED

    def __str__(self) -> str:
        """Say it in one sentence."""
        return f"truncated: entry {self.entry} is missing: {self.reason}"


class Older(Value):
    """The database is whole up to an earlier entry than is known to have existed."""

    entries: int
    anchored: int
    code: ExitCode = ExitCode.TRUNCATED

    def __str__(self) -> str:
        """Say it in two sentences."""
        return (
            f"older: the database is whole and ends at entry {self.entries}, but a signed anchor "
            f"names entry {self.anchored}. Either an older backup was restored (then say so: "
            "playbooks audit restored), or somebody cut off the end"
        )


Verdict = Intact | CannotCheck | Altered | Truncated | Older
RESTORED = "audit.restored"
"""The entry by which a person says that an older backup was restored."""


class ChainVerdict(Value):
    """What was found about one repository's chain."""

    repository_id: int
    verdict: Verdict


class AuditReport(Value):
    """What was found about every chain, or why nothing could be checked at all."""

    chains: tuple[ChainVerdict, ...] = ()
    problem: str | None = None

    @property
    def code(self) -> ExitCode:
        """The exit code: the gravest finding, where an alteration outweighs a cut tail."""
        if self.problem is not None or not self.chains:
            return ExitCode.CANNOT_CHECK
        grave = [ExitCode.ALTERED, ExitCode.TRUNCATED, ExitCode.CANNOT_CHECK, ExitCode.INTACT]
        return min((chain.verdict.code for chain in self.chains), key=grave.index)

    def lines(self) -> list[str]:
        """Say what was found, one line per repository."""
        if self.problem is not None:
            return [f"could not check: {self.problem}"]
        return [f"repository {chain.repository_id}: {chain.verdict}" for chain in self.chains]


def verify(
    entries: Sequence[AuditEntry | UnreadableRow],
    anchors: Sequence[Anchor],
    keys: Ed25519PublicKey | Sequence[Ed25519PublicKey],
    head: AuditHead | None = None,
) -> Verdict:
    """Judge one repository's chain.

    Args:
        entries: its rows in order, from the first.
        anchors: statements about this chain from outside the database. What an unknown key signed
            proves nothing, but while there is such a one nothing is called intact: either a key is
            missing here, or somebody wrote it.
        keys: who must have signed them; several where the key was changed.
        head: the end of the chain as the database remembers it, if it does.
    """
    if broken := _first_broken(entries):
        return broken
    hashes = {entry.seq: entry.entry_hash for entry in entries if isinstance(entry, AuditEntry)}
    known = (keys,) if isinstance(keys, Ed25519PublicKey) else tuple(keys)
    restored = restorations(entries)
    lost = {each for one in restored for each in one.lost}
    signed = sorted((a for a in anchors if _is_signed(a, known)), key=lambda anchor: anchor.seq)
    genuine = [a for a in signed if (a.seq, a.head_hash) not in lost]
    if disagreeing := _first_disagreeing(hashes, genuine):
        return disagreeing
    last = len(entries)
    if genuine and genuine[-1].seq > last:
        if head is not None and head.seq == last and head.head_hash == hashes[last]:
            return Older(entries=last, anchored=genuine[-1].seq)
        return Truncated(
            entry=last + 1,
            reason=f"a signed anchor names entry {genuine[-1].seq}, the chain ends at {last}",
        )
    if head is not None and (wrong := _head_disagrees(hashes, head, last)):
        return wrong
    if not genuine:
        why = "none of the anchors is signed by this key" if anchors else "there is no anchor"
        return CannotCheck(
            reason=f"{why}, and a cut tail or a rewritten chain cannot be seen without one"
        )
    if foreign := sorted({a.seq for a in anchors if not _is_signed(a, known)}):
        return CannotCheck(
            reason=f"{len(foreign)} of the anchors (of entry {foreign[-1]}"
            f"{' and earlier ones' if len(foreign) > 1 else ''}) are signed by an unknown key. "
            "Either somebody wrote them, or the key was changed: then put every public key into "
            f"one file. The known key vouches up to entry {genuine[-1].seq}"
        )
    return Intact(entries=last, anchored=genuine[-1].seq, restored=tuple(restored))


def restorations(entries: Sequence[AuditEntry | UnreadableRow]) -> list[Restored]:
    """Read from a chain which older backups were restored; what cannot be read says nothing."""
    found = []
    for entry in entries:
        if isinstance(entry, AuditEntry) and entry.action == RESTORED:
            with suppress(ValidationError):
                found.append(
                    Restored.model_validate({"at": entry.time, "by": entry.actor} | entry.data)
                )
    return found


async def declare_restored(
    database_url: str, anchors: Path, key_file: Path, *, by: str, because: str, at: datetime
) -> dict[int, int]:
    """Note in each chain that the anchors which it no longer reaches are lost.

    Args:
        database_url: the database that was restored; a server may run on it.
        anchors: as in `audit_verify`.
        key_file: likewise.
        by: who says so.
        because: why.
        at: now.

    Returns:
        By repository, how many anchors were named. Empty: every anchor agrees.

    Raises:
        ValueError: a chain does not hold by itself, or there is nothing to compare with.
    """
    known, keys = await asyncio.to_thread(_evidence, anchors, key_file)
    named: dict[int, int] = {}
    engine = open_database(database_url)
    try:
        for repository_id in sorted({anchor.repository_id for anchor in known}):
            async with engine.begin() as conn:
                entries = await chain.read(conn, repository_id)
                if broken := _first_broken(entries):
                    raise ValueError(f"repository {repository_id}: {broken}")
                declared = {each for one in restorations(entries) for each in one.lost}
                there = {(e.seq, e.entry_hash) for e in entries if isinstance(e, AuditEntry)}
                lost = sorted(
                    {
                        (each.seq, each.head_hash)
                        for each in known
                        if each.repository_id == repository_id and _is_signed(each, keys)
                    }
                    - declared
                    - there
                )
                if lost:
                    data: dict[str, JsonValue] = {
                        "because": because,
                        "lost": [list(x) for x in lost],
                    }
                    await chain.append(conn, repository_id, RESTORED, actor=by, at=at, data=data)
                    named[repository_id] = len(lost)
    finally:
        await engine.dispose()
    return named


def _is_signed(anchor: Anchor, keys: Sequence[Ed25519PublicKey]) -> bool:
    return any(anchor.is_signed_by(key) for key in keys)


async def audit_verify(database_url: str, anchors: Path, key_file: Path) -> AuditReport:
    """Check every chain of a database against anchors from outside it.

    Args:
        database_url: the database; it is only read, and never created.
        anchors: a file of anchors, or a git repository with the branch `playbooks/records`.
        key_file: the public key in PEM; several where it was changed, one after the other.
    """
    try:
        known, keys = await asyncio.to_thread(_evidence, anchors, key_file)
        return AuditReport(chains=await _chains(database_url, known, keys))
    except OSError as error:
        said = f"{error.filename} cannot be read: {error.strerror}" if error.filename else error
        return AuditReport(problem=str(said))
    except (ValueError, SQLAlchemyError) as error:
        return AuditReport(problem=str(error).splitlines()[0])


async def _chains(
    database_url: str, known: Sequence[Anchor], keys: Sequence[Ed25519PublicKey]
) -> tuple[ChainVerdict, ...]:
    engine = reading(open_existing(database_url))
    verdicts = []
    try:
        async with engine.connect() as conn:
            stored = await chain.repositories(conn)
            named = {anchor.repository_id for anchor in known}
            for repository_id in sorted({*stored, *named}):
                entries, head = await chain.whole(conn, repository_id)
                those = [anchor for anchor in known if anchor.repository_id == repository_id]
                verdict = verify(entries, those, keys, head)
                verdicts.append(ChainVerdict(repository_id=repository_id, verdict=verdict))
    finally:
        await engine.dispose()
    return tuple(verdicts)


def _evidence(anchors: Path, key_file: Path) -> tuple[list[Anchor], tuple[Ed25519PublicKey, ...]]:
    keys = public_keys(key_file.read_bytes())
    if anchors.is_file():
        return read_anchors(anchors.read_text(encoding="utf-8")), keys
    if not anchors.is_dir():
        raise ValueError(f"{anchors} is neither a file of anchors nor a git repository")
    texts = [text for ref in RECORDS_REFS if (text := _from_git(anchors, ref)) is not None]
    if not texts:
        raise ValueError(
            f"{anchors} has no {ANCHORS_PATH} on the branch playbooks/records: "
            "fetch that branch first, with git fetch origin playbooks/records"
        )
    return [anchor for text in texts for anchor in read_anchors(text)], keys


def _from_git(repository: Path, ref: str) -> str | None:
    read = subprocess.run(  # noqa: S603 - a list, no shell; the ref is one of ours
        ["git", "-C", str(repository), "cat-file", "blob", f"{ref}:{ANCHORS_PATH}"],  # noqa: S607 - git as installed
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return read.stdout.decode(errors="replace") if read.returncode == 0 else None


def _first_broken(entries: Sequence[AuditEntry | UnreadableRow]) -> Altered | None:
    previous = GENESIS
    for expected, entry in enumerate(entries, start=1):
        if entry.seq != expected:
            return Altered(entry=expected, reason="it was removed")
        if isinstance(entry, UnreadableRow):
            return Altered(entry=entry.seq, reason=entry.why)
        if entry.prev_hash != previous:
            return Altered(entry=entry.seq, reason="it does not follow the entry before it")
        if entry.computed_hash() != entry.entry_hash:
            return Altered(entry=entry.seq, reason="its content does not match its hash")
        previous = entry.entry_hash
    return None


def _first_disagreeing(hashes: dict[int, str], genuine: Sequence[Anchor]) -> Altered | None:
    agreed = 0
    for anchor in genuine:
        if anchor.seq not in hashes:
            break
        if hashes[anchor.seq] != anchor.head_hash:
            return Altered(
                entry=anchor.seq,
                reason=(
                    "it is not the entry that was signed: "
                    f"entries {agreed + 1} to {anchor.seq} were rewritten"
                ),
            )
        agreed = anchor.seq
    return None


def _head_disagrees(
    hashes: dict[int, str], head: AuditHead, last: int
) -> Altered | Truncated | None:
    if head.seq > last:
        return Truncated(entry=last + 1, reason=f"the database's own head names entry {head.seq}")
    if head.seq < last:
        return Altered(entry=head.seq + 1, reason="it was added without moving the chain's head")
    if hashes[last] != head.head_hash:
        return Altered(entry=last, reason="it is not the entry the chain's head names")
    return None
