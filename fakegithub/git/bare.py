"""One bare repository, as the server sees it: objects, refs, merges.

Calls are synchronous on purpose: a handler that does not await is atomic, so two requests can
never see half of each other's work. A process costs a few milliseconds, so what cannot change
(objects, and what follows from two of them) is remembered, and simple files are read directly.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from pathlib import Path

from cachetools import LRUCache

from fakegithub.git import diffs, trees
from fakegithub.git.diffs import Change
from fakegithub.git.loose_history import LooseHistory
from fakegithub.git.objects import Signature, StoredCommit, TreeItem, parse_commit

__all__ = [
    "EMPTY_TREE",
    "ZERO",
    "BareRepository",
    "Change",
    "GitRefused",
    "Signature",
    "StoredCommit",
    "TreeItem",
    "clean_environment",
]  # fmt: skip

ZERO = "0" * 40
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_PRE_RECEIVE = """#!/bin/sh
# What a branch forbids is decided by the server, which names the branches per push (one a line);
# what depends on the new commits is looked at here, where they can be seen.
status=0
listed() { printf '%s\\n' "$1" | grep -qxF -- "$ref"; }
refuse() { echo "error: GH006: Protected branch update failed for $ref. $1" >&2; status=1; }
zero=0000000000000000000000000000000000000000
while read -r old new ref; do
  listed "$DEMO_REFUSE" && refuse "Changes must follow the rules of the branch."
  [ "$new" = $zero ] && continue
  if [ "$old" != $zero ]; then
    listed "$DEMO_NO_FORCE" && ! git merge-base --is-ancestor "$old" "$new" &&
      refuse "Cannot force-push to this branch."
    listed "$DEMO_LINEAR" && [ -n "$(git rev-list --merges -1 "$new" "^$old")" ] &&
      refuse "This branch must not contain merge commits."
  fi
  [ -n "$DEMO_NO_WORKFLOWS" ] &&
    [ -n "$(git rev-list -1 "$new" --not --branches -- .github/workflows)" ] &&
    refuse "A GitHub App needs the workflows permission to change workflow files."
done
exit $status
"""
_CONFIG = (
    ("http.receivepack", "true"),
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("receive.hideRefs", "refs/pull"),
    ("gc.auto", "0"),
    ("receive.autogc", "false"),
)
_SETTLED = frozenset({"diff-tree", "ls-tree", "merge-base", "merge-tree", "rev-list"})
"""Commands whose answer cannot change where they name objects by their full SHAs only."""
_OBJECT = re.compile(r"\^?[0-9a-f]{40}")
_MOVING = frozenset({"--all", "--branches", "--tags", "--remotes", "--glob"})
"""Options that stand for refs."""
_KINDS = {"40000": "tree", "160000": "commit"}
"""What an entry of a tree is, by its mode; everything else is a blob."""


class GitRefused(Exception):
    """Git refused; the message is what it said."""


class BareRepository:
    """A bare git repository on disk."""

    def __init__(self, path: Path) -> None:
        """Open the repository at `path`; `create` makes it."""
        self.path = path
        self._commits: dict[str, StoredCommit] = {}
        self._types: dict[str, str] = {}
        self._settled: LRUCache[tuple[str, ...], tuple[int, bytes]] = LRUCache(4_000)
        self._changes: dict[tuple[str, str], list[Change]] = {}
        self._history = LooseHistory(self._loose_commit)

    @classmethod
    def create(cls, path: Path, default_branch: str) -> BareRepository:
        """Make an empty repository set up for smart HTTP (a copy of one made before)."""
        template = path.parent / "template"
        if not template.exists():
            cls._make_template(template)
        shutil.copytree(template, path)
        (path / "HEAD").write_text(f"ref: refs/heads/{default_branch}\n", encoding="utf-8")
        return cls(path)

    def fork(self, path: Path) -> BareRepository:
        """Make a copy with refs of its own and the same objects.

        As on GitHub, where all forks share one store: each can name the commits of every other.
        """
        shutil.copytree(self.path, path, ignore=shutil.ignore_patterns("objects", "pull"))
        (path / "objects").symlink_to(self.path / "objects", target_is_directory=True)
        return BareRepository(path)

    @classmethod
    def _make_template(cls, path: Path) -> None:
        path.mkdir(parents=True)
        cls(path).run("init", "--quiet", "--bare", "--template=", ".")
        sections = "".join(
            f"[{key.split('.')[0]}]\n\t{key.split('.')[1]} = {value}\n" for key, value in _CONFIG
        )
        with (path / "config").open("a", encoding="utf-8") as config:
            config.write(sections)
        hook = path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(_PRE_RECEIVE, encoding="utf-8")
        hook.chmod(0o755)

    # Running git

    def run(self, *args: str, data: bytes = b"", ok: Sequence[int] = (0,)) -> bytes:
        """Run one git command here and return its output.

        Raises:
            GitError: when it exits with a code not in `ok`.
        """
        return self.run_code(*args, data=data, ok=ok)[1]

    def run_code(
        self, *args: str, data: bytes = b"", ok: Sequence[int] = (0,)
    ) -> tuple[int, bytes]:
        """Like `run`, and tell the exit code too.

        What cannot change is remembered.
        """
        settled = not data and _is_settled(args)
        if settled and args in self._settled and self._settled[args][0] in ok:
            return self._settled[args]
        done = subprocess.run(  # noqa: S603 - a list argv, never a shell
            ["git", *args],  # noqa: S607 - git is found on PATH, as everywhere
            cwd=self.path,
            input=data,
            capture_output=True,
            check=False,
            env=clean_environment(),
        )
        if done.returncode not in ok:
            raise GitRefused(done.stderr.decode(errors="replace").strip())
        if settled:
            self._settled[args] = (done.returncode, done.stdout)
        return done.returncode, done.stdout

    def text(self, *args: str, data: bytes = b"") -> str:
        """Run git and return its output as stripped text."""
        return self.run(*args, data=data).decode(errors="replace").strip()

    # Refs

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Every ref that starts with `prefix`, by full name."""
        found = {name: sha for name, sha in self._packed().items() if name.startswith(prefix)}
        folder = self.path / prefix.rpartition("/")[0]
        for file in folder.rglob("*") if folder.is_dir() else ():
            name = file.relative_to(self.path).as_posix()
            if name.startswith(prefix) and not name.endswith(".lock") and file.is_file():
                found[name] = file.read_text(encoding="ascii").strip()
        return dict(sorted(found.items()))

    def ref(self, name: str) -> str | None:
        """What a full ref name points at."""
        if not name.startswith("refs/") or ".." in name:
            return None
        try:
            return (self.path / name).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return self._packed().get(name)

    def _packed(self) -> dict[str, str]:
        packed = self.path / "packed-refs"
        if not packed.exists():
            return {}
        lines = packed.read_text(encoding="utf-8").splitlines()
        pairs = [line.split(" ", 1) for line in lines if line[:1] not in ("#", "^")]
        return {name: sha for sha, name in pairs}

    def branch(self, name: str) -> str | None:
        """The head of a branch."""
        return self.ref(f"refs/heads/{name}")

    def update_ref(self, name: str, sha: str | None) -> None:
        """Point a ref at `sha`, or delete it.

        Raises:
            GitError: when another ref is in the way (`topic` and `topic/one`).
        """
        if sha is None:
            self.run("update-ref", "-d", name)
            return
        place = self.path / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = place.with_name(f"{place.name}.lock")
            with lock.open("x", encoding="ascii") as file:
                file.write(f"{sha}\n")
            lock.rename(place)
        except OSError:
            self.run("update-ref", name, sha)

    def valid_ref(self, name: str) -> bool:
        """Tell whether git accepts this full ref name."""
        return self.run_code("check-ref-format", name, ok=(0, 1))[0] == 0

    def commit_sha(self, revision: str) -> str | None:
        """The commit that a branch, tag, full ref or (abbreviated) SHA names."""
        if not revision or revision.startswith("-") or ".." in revision or "@{" in revision:
            return None
        if self._types.get(revision) == "commit":
            return revision
        for candidate in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            code, out = self.run_code(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{candidate}^{{commit}}",
                ok=(0, 1, 128),
            )  # fmt: skip
            if code == 0:
                return out.decode().strip().splitlines()[-1]
        return None

    # Objects

    def object_type(self, sha: str) -> str | None:
        """The type of the object with this full SHA, or None if there is none."""
        if len(sha) != 40 or not set(sha) <= set("0123456789abcdef"):
            return None
        if sha not in self._types:
            header = self.run("cat-file", "--batch-check", data=sha.encode() + b"\n").decode()
            if header.split()[-1] in ("missing", "ambiguous"):
                return None
            self._types[sha] = header.split()[1]
        return self._types[sha]

    def read(self, sha: str) -> bytes:
        """The content of one object."""
        return self.read_many([sha])[0]

    def read_many(self, shas: Iterable[str]) -> list[bytes]:
        """The contents of several objects, with one process for those that are packed."""
        wanted = list(shas)
        found = {sha: loose for sha in wanted if (loose := self._loose(sha)) is not None}
        found |= self._from_packs([sha for sha in wanted if sha not in found])
        return [found[sha] for sha in wanted]

    def _loose(self, sha: str) -> bytes | None:
        try:
            stored = (self.path / "objects" / sha[:2] / sha[2:]).read_bytes()
        except OSError:
            return None
        return zlib.decompress(stored).partition(b"\0")[2]

    def _from_packs(self, shas: list[str]) -> dict[str, bytes]:
        if not shas:
            return {}
        out = self.run("cat-file", "--batch", data="".join(f"{s}\n" for s in shas).encode())
        contents, at = {}, 0
        for sha in shas:
            end = out.index(b"\n", at)
            header = out[at:end].decode().split()
            if header[-1] == "missing":
                raise GitRefused(f"{sha} is missing")
            size = int(header[2])
            contents[sha] = out[end + 1 : end + 1 + size]
            at = end + size + 2
        return contents

    def write(self, kind: str, content: bytes) -> str:
        """Store a loose object and return its SHA."""
        whole = f"{kind} {len(content)}".encode() + b"\0" + content
        sha = sha1(whole, usedforsecurity=False).hexdigest()
        place = self.path / "objects" / sha[:2] / sha[2:]
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            unfinished = place.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(zlib.compress(whole, 1))
            unfinished.rename(place)
        self._types[sha] = kind
        return sha

    def tree(self, treeish: str, *, recursive: bool = False, path: str = "") -> list[TreeItem]:
        """The entries of a tree (all levels with `recursive`)."""
        if not recursive and (read := self._loose_tree(treeish, path)) is not None:
            return read
        flags = ["-r", "-t"] if recursive else []
        where = ["--", path] if path else []
        out = self.run("ls-tree", "-z", "-l", *flags, treeish, *where)
        entries = []
        for record in out.decode(errors="surrogateescape").split("\0")[:-1]:
            meta, name = record.split("\t", 1)
            mode, kind, sha, size = meta.split()
            entries.append(TreeItem(mode, kind, sha, name, None if size == "-" else int(size)))
        return entries

    def _loose_tree(self, treeish: str, path: str) -> list[TreeItem] | None:
        """Like `tree`, without a process; None where an object on the way is not a loose one."""
        kind = self._types.get(treeish)
        if kind not in ("commit", "tree"):
            return None
        sha = self.commit(treeish).tree if kind == "commit" else treeish
        above = ""
        *folders, last = path.split("/")
        for name in folders:
            if (raw := self._loose(sha)) is None:
                return None
            mode, sha = trees.parse(raw).get(name, ("", ""))
            if _KINDS.get(mode) != "tree":
                return []
            above += f"{name}/"
        if (raw := self._loose(sha)) is None:
            return None
        items = []
        for name, (mode, each) in trees.parse(raw).items():
            if last and name != last:
                continue
            kind, size = _KINDS.get(mode, "blob"), None
            if kind == "blob":
                if (content := self._loose(each)) is None:
                    return None
                size = len(content)
            items.append(TreeItem(mode.zfill(6), kind, each, above + name, size))
        return items

    def entry(self, treeish: str, path: str) -> TreeItem | None:
        """The entry at `path`, or None."""
        found = self.tree(treeish, path=path.strip("/"))
        return next((e for e in found if e.path == path.strip("/")), None)

    def write_tree(self, base: str | None, changes: Mapping[str, tuple[str, str] | None]) -> str:
        """Build a tree from `base` with entries (mode, sha) set or, where None, removed."""
        return trees.edit(self.read, self.write, base, changes)

    # Commits

    def write_commit(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author: Signature,
        committer: Signature | None = None,
        *,
        sign: bool = False,
    ) -> str:
        """Store a commit; `sign` adds a signature header, as GitHub does for its own commits."""
        lines = [f"tree {tree}", *(f"parent {p}" for p in parents)]
        lines += [f"author {author.line()}", f"committer {(committer or author).line()}"]
        if sign:
            lines += [
                "gpgsig -----BEGIN PGP SIGNATURE-----", " ", " ZGVtbyBHaXRIdWI=",
                " -----END PGP SIGNATURE-----",
            ]  # fmt: skip
        return self.write("commit", ("\n".join(lines) + "\n\n" + message).encode())

    def commit(self, sha: str) -> StoredCommit:
        """Read one commit."""
        return self.commits([sha])[0]

    def commits(self, shas: Iterable[str]) -> list[StoredCommit]:
        """Read several commits with one process."""
        wanted = list(shas)
        unread = [sha for sha in wanted if sha not in self._commits]
        if unread:
            for sha, raw in zip(unread, self.read_many(unread), strict=True):
                self._commits[sha] = parse_commit(sha, raw)
                self._types[sha] = "commit"
        return [self._commits[sha] for sha in wanted]

    def _loose_commit(self, sha: str) -> StoredCommit | None:
        if sha not in self._commits:
            raw = self._loose(sha) if _OBJECT.fullmatch(sha) else None
            if raw is None or not raw.startswith(b"tree "):
                return None
            self._commits[sha] = parse_commit(sha, raw)
            self._types[sha] = "commit"
        return self._commits[sha]

    def name_status(self, sha: str) -> dict[str, str]:
        """What a commit adds (A), deletes (D) and modifies (M), by path; nothing of a merge."""
        commit = self.commit(sha)
        if len(commit.parents) > 1:
            return {}
        before = self.commit(commit.parents[0]).tree if commit.parents else None
        found = trees.compare(self._loose, before, commit.tree)
        if found is None:
            out = self.run(
                "diff-tree", "--root", "-r", "--no-commit-id", "--name-status", "-z", sha
            )
            fields = out.decode(errors="surrogateescape").split("\0")
            pairs = zip(fields[:-1:2], fields[1::2], strict=False)
            found = {path: status[0] if status[0] in "AD" else "M" for status, path in pairs}
        return found

    def rev_list(self, *args: str) -> list[str]:
        """SHAs that `git rev-list` prints for these arguments, newest first."""
        found = self._history.new_ones(args)
        return self.text("rev-list", *args).splitlines() if found is None else found

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Tell whether `ancestor` is reachable from `descendant` (a commit reaches itself)."""
        if (known := self._history.is_ancestor(ancestor, descendant)) is not None:
            return known
        code, _ = self.run_code("merge-base", "--is-ancestor", ancestor, descendant, ok=(0, 1))
        return code == 0

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits (full SHAs), if any."""
        if (known := self._history.merge_base(one, other)) is not None:
            return known
        code, out = self.run_code("merge-base", one, other, ok=(0, 1))
        return out.decode().strip() if code == 0 else None

    def merge_trees(self, ours: str, theirs: str) -> str | None:
        """The tree of merging two commits, or None when they conflict."""
        code, out = self.run_code(
            "merge-tree", "--write-tree", "--allow-unrelated-histories", ours, theirs, ok=(0, 1)
        )
        return out.decode().split("\n", 1)[0].strip() if code == 0 else None

    def cherry_pick_tree(self, commit: str, onto: str) -> str | None:
        """The tree of applying `commit` on `onto`, or None when it conflicts.

        `git merge-tree` before 2.40 takes no merge base, so three loose commits provide one.
        """
        picked = self.commit(commit)
        base_tree = self.commit(picked.parents[0]).tree if picked.parents else EMPTY_TREE
        base = self.write_commit(base_tree, (), "base", picked.author)
        ours = self.write_commit(self.commit(onto).tree, (base,), "ours", picked.author)
        theirs = self.write_commit(picked.tree, (base,), "theirs", picked.author)
        return self.merge_trees(ours, theirs)

    # Differences

    def changes(self, old: str, new: str) -> list[Change]:
        """Changed files between two commits or trees, renames found, with patches."""
        if (old, new) not in self._changes:
            raw = self.run(
                "diff-tree", "-r", "-M", "-z", "--raw", "--no-abbrev", "--numstat", old, new
            )
            text = self.run(
                "-c", "core.quotePath=false", "diff-tree", "-r", "-M", "-p",
                "--src-prefix=a/", "--dst-prefix=b/", old, new,
            ).decode(errors="replace")  # fmt: skip
            self._changes[old, new] = diffs.read(raw, diffs.patches(text))
        return self._changes[old, new]


def _is_settled(args: Sequence[str]) -> bool:
    """Tell whether a command names nothing that moves: no branch, no tag, no abbreviation."""
    if args[0] not in _SETTLED:
        return False
    named = args[1 : args.index("--")] if "--" in args else args[1:]
    return all(
        _OBJECT.fullmatch(arg) or (arg.startswith("-") and arg.partition("=")[0] not in _MOVING)
        for arg in named
    )


def clean_environment() -> dict[str, str]:
    """An environment in which git reads no one's settings and asks nobody anything."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LANG")}
    return {
        **kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
