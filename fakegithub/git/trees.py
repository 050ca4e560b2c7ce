"""Tree objects read, changed and written without a process.

https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Change = tuple[str, str] | None
Read = Callable[[str], bytes]
Loose = Callable[[str], bytes | None]
Write = Callable[[str, bytes], str]

_TREE = "40000"


def parse(raw: bytes) -> dict[str, tuple[str, str]]:
    """The entries of a tree object: name to (mode, SHA)."""
    entries, at = {}, 0
    while at < len(raw):
        space, end = raw.index(b" ", at), raw.index(b"\0", at)
        name = raw[space + 1 : end].decode(errors="surrogateescape")
        entries[name] = (raw[at:space].decode(), raw[end + 1 : end + 21].hex())
        at = end + 21
    return entries


def serialize(entries: Mapping[str, tuple[str, str]]) -> bytes:
    """The tree object with these entries; a directory sorts as if its name ended in `/`."""

    def order(name: str) -> bytes:
        encoded = name.encode(errors="surrogateescape")
        return encoded + b"/" if entries[name][0] == _TREE else encoded

    return b"".join(
        entries[name][0].encode()
        + b" "
        + name.encode(errors="surrogateescape")
        + b"\0"
        + bytes.fromhex(entries[name][1])
        for name in sorted(entries, key=order)
    )


def compare(loose: Loose, old: str | None, new: str) -> dict[str, str] | None:
    """As `git diff-tree --name-status`: A, D or M by path; None where an object is not loose."""
    found: dict[str, str] = {}
    if not _compare(loose, old, new, "", found):
        return None
    return dict(sorted(found.items(), key=_bytewise))


def _compare(
    loose: Loose, old: str | None, new: str | None, above: str, found: dict[str, str]
) -> bool:
    raw = b"" if old is None else loose(old), b"" if new is None else loose(new)
    if raw[0] is None or raw[1] is None:
        return False
    before, after = parse(raw[0]), parse(raw[1])
    for name in {*before, *after}:
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        folders = _folder(was), _folder(now)
        if any(folders) and not _compare(loose, *folders, f"{above}{name}/", found):
            return False
        was_file, is_file = was and not folders[0], now and not folders[1]
        if was_file or is_file:
            found[above + name] = "M" if was_file and is_file else "D" if was_file else "A"
    return True


def _folder(entry: tuple[str, str] | None) -> str | None:
    return entry[1] if entry and entry[0] == _TREE else None


def _bytewise(item: tuple[str, str]) -> bytes:
    return item[0].encode(errors="surrogateescape")


def edit(read: Read, write: Write, base: str | None, changes: Mapping[str, Change]) -> str:
    """Write the tree that `base` becomes when paths are set to (mode, SHA) or, None, removed.

    A directory left empty goes; a file where a directory is needed gives way.
    """
    return _edit(read, write, base, changes) or write("tree", b"")


def _edit(read: Read, write: Write, base: str | None, changes: Mapping[str, Change]) -> str | None:
    entries = parse(read(base)) if base else {}
    below: dict[str, dict[str, Change]] = {}
    for path, change in changes.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = change
        elif change is None:
            entries.pop(name, None)
        else:
            entries[name] = (change[0].lstrip("0"), change[1])
    for name, deeper in below.items():
        mode, sha = entries.get(name, ("", ""))
        subtree = _edit(read, write, sha if mode == _TREE else None, deeper)
        if subtree is not None:
            entries[name] = (_TREE, subtree)
        elif mode == _TREE:
            entries.pop(name)
    return write("tree", serialize(entries)) if entries else None
