"""Real repositories made commit by commit, for tests that need a particular history."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "LC_ALL": "C",
    "HOME": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_ALLOW_PROTOCOL": "file:http",
}

Content = str | bytes | None


@dataclass
class History:
    """A clone with a work tree; `path / ".git"` is its git directory."""

    path: Path
    clock: int = field(default=1_700_000_000)

    @classmethod
    def start(cls, path: Path) -> History:
        path.mkdir(parents=True)
        history = cls(path)
        history.git("init", "--quiet", "--initial-branch=main")
        return history

    @property
    def git_dir(self) -> Path:
        return self.path / ".git"

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str, stdin: bytes | None = None, ok: tuple[int, ...] = (0,)) -> str:
        environment = dict(ENVIRONMENT)
        for who in ("AUTHOR", "COMMITTER"):
            environment[f"GIT_{who}_DATE"] = f"{self.clock} +0000"
        argv = ["git", "-C", str(self.path), *arguments]
        said = subprocess.run(  # noqa: S603 - an argv list, no shell
            argv,
            env=environment,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert said.returncode in ok, said.stderr.decode()
        return said.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files: Mapping[str, Content]) -> None:
        for name, content in files.items():
            target = self.path / name
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, Content] | None = None, message: str = "work") -> str:
        """Write (or with None delete) files and commit everything; a minute passes."""
        self.clock += 60
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head

    def branch(self, name: str, at: str = "HEAD") -> None:
        self.git("checkout", "--quiet", "-B", name, at)

    def checkout(self, name: str) -> None:
        self.git("checkout", "--quiet", name)

    def merge(self, *names: str, message: str = "merge") -> str:
        self.clock += 60
        self.git("merge", "--quiet", "--no-ff", "--message", message, *names)
        return self.head

    def tree(self, revision: str = "HEAD") -> str:
        return self.git("rev-parse", f"{revision}^{{tree}}")

    def files(self, tree: str) -> dict[str, str]:
        """Every path of a tree with its content (a submodule with its commit)."""
        found = {}
        for line in self.git("ls-tree", "-r", "-z", tree).split("\0"):
            if line:
                meta, path = line.split("\t", 1)
                _mode, kind, sha = meta.split()
                found[path] = sha if kind == "commit" else self.git("cat-file", "blob", sha)
        return found

    def really_revert(self, *commits: str, onto: str) -> tuple[str, tuple[str, ...]]:
        """What git's own revert gives: a tree, or the paths in conflict."""
        self.git("checkout", "--quiet", "--force", "--detach", onto)
        for commit in commits:
            parents = self.git("rev-list", "--parents", "-1", commit).split()[1:]
            mainline = ("-m", "1") if len(parents) > 1 else ()
            self.git("revert", "--no-commit", *mainline, commit, ok=(0, 1))
            entries = self.git("ls-files", "--unmerged", "-z").split("\0")
            unmerged = tuple(sorted({entry.partition("\t")[2] for entry in entries if entry}))
            if unmerged:
                self.git("reset", "--quiet", "--hard")
                self.git("clean", "--quiet", "-ffdx")
                return "", unmerged
        tree = self.git("write-tree")
        self.git("reset", "--quiet", "--hard")
        self.git("clean", "--quiet", "-ffdx")
        return tree, ()
