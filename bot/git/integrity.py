"""Is a mirror's folder whole? Told from the files themselves, before git trusts them.

Git is no help there. What a damaged partial clone lacks it tries to fetch, in a process that lacks
it too, thousands deep; a broken ref is passed over with a warning; and a commit graph with wrong
numbers gives wrong answers. So what has a checksum (packs, their indexes, the commit graph) is
checked by it, configuration by its form, and refs by a seal that each refresh leaves. A file is
read once, then again when its status changes; nobody but us and git writes here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bot.git.errors import MirrorDamaged

_DIGEST_BYTES = 20
_READ_WHOLE_BYTES = 64 * 1024 * 1024
_CHUNK_BYTES = 1 << 20
_HEAD = re.compile(rb"(?:ref: refs/[^\s\0]+|[0-9a-f]{40})\n?")
_PACKED_REFS = re.compile(rb"(?:(?:#[^\n\0]*|\^?[0-9a-f]{40}|[0-9a-f]{40} refs/[^\n\0]+)\n)*")
_LOOSE_FOLDER = re.compile(r"[0-9a-f]{2}")
_OBJECT_FILE = re.compile(r"[0-9a-f]{38}")
# Derived from the objects: git does without them, and upkeep writes the first again.
_CACHES = ("objects/info/commit-graph", "objects/pack/multi-pack-index")

_SEAL = "playbooks-refs"

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Doubts:
    """What is sound in itself, but not as it was.

    Attributes:
        packs: Packs that were there before and are gone; that may be damage, or another process
            that packed them into one.
        refs: Whether the refs are other ones than the last refresh left.
    """

    packs: frozenset[str]
    refs: bool

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.packs) or self.refs


@dataclass(slots=True)
class Soundness:
    """What is known of one mirror's files.

    Attributes:
        path: The mirror's git directory.
        packs: The packs there were when it was last found sound; None before that.
    """

    path: Path
    packs: frozenset[str] | None = None
    _refs: tuple[object, ...] | None = None
    _seen: dict[tuple[Path, bool], _Stamp] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def check(self, *, whole: bool = False) -> Doubts:
        """Check everything that a command may read, but for loose objects.

        Args:
            whole: Read packs of more than 64 MB to their ends too.

        Returns:
            What is to be looked into though no file is damaged.

        Raises:
            MirrorDamaged: A file is damaged or missing; `passing` where git, at work at this
                moment, may look the same.
        """
        with self._lock:
            try:
                self._check_folders()
                self._check_form(Path("HEAD"), _HEAD, may_lack=False)
                self._check_config()
                moved = not self._are_refs_sealed(self._check_refs())
                found = self._check_packs(whole)
            except FileNotFoundError as problem:
                raise MirrorDamaged(f"{problem.filename} is missing", passing=True) from None
            except OSError as problem:
                raise MirrorDamaged(f"{problem.filename}: {problem.strerror}") from None
            gone = (self.packs or frozenset()) - found
            if not gone:
                self.packs = found
            return Doubts(gone, moved)

    def accept(self) -> None:
        """Take the packs that are there now for all there should be."""
        with self._lock:
            self.packs = None
            self._seen.clear()
        self.check()

    def drop_damaged(self, *, loose: bool) -> tuple[str, ...]:
        """Delete damaged files that can be made again: the commit graph, and loose objects.

        Args:
            loose: Read every loose object too; they are what was computed here, never fetched.

        Returns:
            What was deleted, as paths in the mirror.
        """
        suspects = [self.path / name for name in _CACHES if not self._is_sound_cache(name)]
        if loose:
            suspects += [file for file in loose_objects(self.path) if not is_sound_object(file)]
        for file in suspects:
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    file.unlink()
        return tuple(str(file.relative_to(self.path)) for file in suspects)

    def _check_folders(self) -> None:
        for name in (".", "objects", "objects/pack", "refs"):
            folder = self.path / name
            if not folder.is_dir():
                raise MirrorDamaged(f"{name} is not a folder")
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise MirrorDamaged(f"{name} cannot be written to")

    def _check_config(self) -> None:
        file = self.path / "config"
        if self._is_known(file):
            return
        text = file.read_bytes()
        wanted = (b'[remote "origin"]', b"promisor = true", b"bare = true")
        if b"\0" in text or not all(words in text for words in wanted):
            raise MirrorDamaged("config does not say what it said")
        self._know(file)

    def _check_refs(self) -> list[Path]:
        files = ref_files(self.path)
        for file in files:
            # One that is gone by now was deleted by a fetch.
            form = _PACKED_REFS if file.name == "packed-refs" else _HEAD
            self._check_form(file, form, may_lack=True)
        return files

    def _are_refs_sealed(self, files: list[Path]) -> bool:
        """Tell whether the refs are those of the seal; where there is none, they are in motion."""
        seal = self.path / _SEAL
        try:
            status = tuple((file, _stamp(file)) for file in (seal, *files))
        except FileNotFoundError:
            return True
        if status != self._refs:
            if seal.read_text() != _refs_digest(files):
                return not seal.exists()
            self._refs = status
        return True

    def _check_form(self, name: Path, form: re.Pattern[bytes], *, may_lack: bool) -> None:
        file = self.path / name
        try:
            if self._is_known(file):
                return
            text = file.read_bytes()
        except FileNotFoundError:
            if may_lack:
                return
            raise
        if not form.fullmatch(text):
            raise MirrorDamaged(f"{file.relative_to(self.path)} is not as git writes it")
        self._know(file)

    def _check_packs(self, whole: bool) -> frozenset[str]:
        folder = self.path / "objects" / "pack"
        found: dict[str, set[str]] = {}
        for entry in os.scandir(folder):
            stem, _, ending = entry.name.partition(".")
            if stem.startswith("pack-"):
                found.setdefault(stem, set()).add(ending)
        # Git names a pack's index last and removes it first: without it, there is no such pack.
        packs = {stem: endings for stem, endings in found.items() if "idx" in endings}
        for stem, endings in packs.items():
            if "pack" not in endings or not endings & {"promisor", "mtimes"}:
                raise MirrorDamaged(f"{stem} is not complete", passing=True)
            for ending in endings & {"idx", "rev", "mtimes"}:
                self._check_digest(folder / f"{stem}.{ending}")
            self._check_pack(folder / f"{stem}.pack", folder / f"{stem}.idx", whole)
        return frozenset(packs)

    def _check_digest(self, file: Path) -> None:
        if not self._is_known(file):
            if not _has_digest(file):
                raise MirrorDamaged(f"{file.name} does not match its checksum")
            self._know(file)

    def _check_pack(self, pack: Path, index: Path, whole: bool) -> None:
        if self._is_known(pack, whole):
            return
        size = pack.stat().st_size
        with index.open("rb") as stream:
            stream.seek(-2 * _DIGEST_BYTES, os.SEEK_END)
            wanted = stream.read(_DIGEST_BYTES)
        with pack.open("rb") as stream:
            head = stream.read(4)
            stream.seek(max(0, size - _DIGEST_BYTES))
            if head != b"PACK" or stream.read() != wanted:
                raise MirrorDamaged(f"{pack.name} does not match its index")
        everything = whole or size <= _READ_WHOLE_BYTES
        if everything and not _has_digest(pack):
            raise MirrorDamaged(f"{pack.name} does not match its checksum")
        self._know(pack, everything)

    def _is_sound_cache(self, name: str) -> bool:
        file = self.path / name
        try:
            if self._is_known(file):
                return True
            sound = _has_digest(file)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        if sound:
            self._know(file)
        return sound

    def _is_known(self, file: Path, whole: bool = False) -> bool:
        return self._seen.get((file, whole)) == _stamp(file)

    def _know(self, file: Path, whole: bool = False) -> None:
        stamp = _stamp(file)
        self._seen[file, False] = stamp
        if whole:
            self._seen[file, True] = stamp


def seal_refs(path: Path) -> None:
    """Remember which refs there are, for as long as nobody calls `unseal_refs`."""
    # Where the disk is full they stay unsealed, which means only that they are not checked.
    with contextlib.suppress(OSError):
        (path / _SEAL).write_text(_refs_digest(ref_files(path)))


def unseal_refs(path: Path) -> None:
    """Say that refs are about to change; whoever dies meanwhile leaves them unsealed."""
    (path / _SEAL).unlink(missing_ok=True)


def ref_files(path: Path) -> list[Path]:
    """Every file that holds refs; none but `packed-refs` unless a fetch is under way."""
    found = []
    for here, _, names in os.walk(path / "refs", onerror=_raise):
        found += [Path(here, name) for name in names if not name.endswith(".lock")]
    packed = path / "packed-refs"
    return sorted(found) + ([packed] if packed.exists() else [])


def _refs_digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def loose_objects(path: Path) -> Iterator[Path]:
    """Every loose object of a git directory; those that vanish meanwhile do not matter."""
    for folder in _listed(path / "objects"):
        if _LOOSE_FOLDER.fullmatch(folder):
            for name in _listed(path / "objects" / folder):
                if _OBJECT_FILE.fullmatch(name):
                    yield path / "objects" / folder / name


def sound_cruft(path: Path) -> list[Path]:
    """Name the files of the sound packs of computed objects, each pack's index last."""
    found = []
    for times in path.glob("objects/pack/pack-*.mtimes"):
        files = [times.with_suffix(f".{ending}") for ending in ("pack", "rev", "mtimes", "idx")]
        with contextlib.suppress(OSError):
            if all(_has_digest(file) for file in files if file.name[-3:] != "rev"):
                found += [file for file in files if file.exists()]
    return found


def is_sound_object(file: Path) -> bool:
    """Tell whether a loose object is what its name says; one that is gone is no damage."""
    try:
        content = zlib.decompress(file.read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, zlib.error):
        return False
    return hashlib.sha1(content, usedforsecurity=False).hexdigest() == file.parent.name + file.name


def _has_digest(file: Path) -> bool:
    """Tell whether a file ends with the SHA-1 of what comes before, as git's binary files do."""
    left = file.stat().st_size - _DIGEST_BYTES
    digest = hashlib.sha1(usedforsecurity=False)
    with file.open("rb") as stream:
        while left > 0 and (chunk := stream.read(min(left, _CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
        return left == 0 and stream.read() == digest.digest()


def _listed(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []


def _raise(problem: OSError) -> None:
    if not isinstance(problem, FileNotFoundError):
        raise problem


def _stamp(file: Path) -> _Stamp:
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
