"""A bisect in every kind of clone, with every kind of command: the culprit, and nothing touched.

Each clone has eight commits, the fourth of them guilty; each command fails from there on, and does
something beside that which developers' commands do.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.local.kit import Person, history
from tests.trials.kit import Repository, needs_bubblewrap

COUNT, CULPRIT = 7, 3
WORKS = "grep -q good state"
LFS_POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)

Here = Callable[[Repository, list[str], Path], Path]


def _git(folder: Path, *arguments: str | Path) -> None:
    command = ["git", *map(str, arguments)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - our own words


def _detached(clone: Repository, commits: list[str], _: Path) -> Path:
    clone.git("checkout", "-q", "--detach", commits[-1])
    return clone.folder


def _worktree(clone: Repository, commits: list[str], tmp: Path) -> Path:
    clone.git("worktree", "add", "-q", "--detach", str(tmp / "a tree"), commits[-1])
    return tmp / "a tree"


def _worktree_named_from_there(clone: Repository, commits: list[str], tmp: Path) -> Path:
    """As `worktree.useRelativePaths` makes them since git 2.48."""
    folder = _worktree(clone, commits, tmp)
    (clone.folder / ".git/worktrees/a-tree/gitdir").write_text("../../../../a tree/.git\n")
    (folder / ".git").write_text("gitdir: ../clone/.git/worktrees/a-tree\n")
    return folder


def _branch_elsewhere(clone: Repository, commits: list[str], tmp: Path) -> Path:
    """The branch that is searched is checked out in another work tree."""
    clone.git("checkout", "-q", "--detach", commits[0])
    clone.git("worktree", "add", "-q", str(tmp / "other"), "main")
    _git(clone.folder, "checkout", "-q", "--detach", commits[-1])
    return clone.folder


def _through_a_link(clone: Repository, _: list[str], tmp: Path) -> Path:
    """Through a link, as where a home lies on another disk."""
    (tmp / "link").symlink_to(clone.folder, target_is_directory=True)
    return tmp / "link"


def _named_oddly(clone: Repository, _: list[str], tmp: Path) -> Path:
    folder = tmp / "it's a 'clone' with ünïcode, $HOME and `ticks`\non \"two\" lines\\\u2028"
    _git(tmp, "clone", "-q", clone.folder, folder)
    return folder


def _separate_git(clone: Repository, _: list[str], tmp: Path) -> Path:
    _git(tmp, "clone", "-q", f"--separate-git-dir={tmp / 'elsewhere.git'}", clone.folder, tmp / "c")
    return tmp / "c"


def _borrowed(clone: Repository, _: list[str], tmp: Path) -> Path:
    """A clone whose objects lie in another one."""
    _git(tmp, "clone", "-q", "--shared", clone.folder, tmp / "borrows")
    return tmp / "borrows"


def _sparse(clone: Repository, _: list[str], tmp: Path) -> Path:
    _git(tmp, "clone", "-q", "--sparse", clone.folder, tmp / "sparse")
    return tmp / "sparse"


def _partial(clone: Repository, _: list[str], tmp: Path) -> Path:
    """A clone without the blobs of old commits: git fetches them as they are needed."""
    clone.git("config", "uploadpack.allowfilter", "true")
    _git(tmp, "clone", "-q", "--filter=blob:none", f"file://{clone.folder}", tmp / "partial")
    return tmp / "partial"


def _treeless(clone: Repository, _: list[str], tmp: Path) -> Path:
    """A clone of commits alone, as for a build that looks at the history only."""
    for setting in ("allowFilter", "allowAnySHA1InWant"):
        clone.git("config", f"uploadpack.{setting}", "true")
    _git(tmp, "clone", "-q", "--filter=tree:0", f"file://{clone.folder}", tmp / "treeless")
    return tmp / "treeless"


def _deep_enough(clone: Repository, _: list[str], tmp: Path) -> Path:
    """A shallow clone that holds the whole range."""
    _git(tmp, "clone", "-q", f"--depth={COUNT}", f"file://{clone.folder}", tmp / "shallow")
    return tmp / "shallow"


def _in_a_merge(clone: Repository, commits: list[str], _: Path) -> Path:
    """The person's checkout is in the middle of a merge with conflicts."""
    clone.git("checkout", "-q", "-b", "side", commits[0])
    clone.commit({"state": "otherwise"})
    clone.git("checkout", "-q", "main")
    command = ["git", "-c", "user.name=T", "-c", "user.email=t@e.org", "merge", "-q", "side"]
    subprocess.run(command, cwd=clone.folder, check=False, capture_output=True)  # noqa: S603 - our own
    return clone.folder


def _in_a_bisect(clone: Repository, commits: list[str], _: Path) -> Path:
    """The person had begun by hand."""
    clone.git("bisect", "start", "main", commits[0])
    return clone.folder


def _hooks(clone: Repository, _commits: list[str], __: Path) -> Path:
    """Hooks and filters that must not run for each trial."""
    hook = clone.folder / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\necho ran >> ../hooked; exit 1\n")
    hook.chmod(0o755)
    clone.git("config", "core.fsmonitor", "false")
    return clone.folder


CLONES: dict[str, Here] = {
    "a detached HEAD": _detached,
    "a work tree beside": _worktree,
    "a work tree beside, named from where it is": _worktree_named_from_there,
    "a branch that is checked out elsewhere": _branch_elsewhere,
    "a link to it": _through_a_link,
    "an odd name": _named_oddly,
    "its git directory elsewhere": _separate_git,
    "objects of another clone": _borrowed,
    "a sparse checkout": _sparse,
    "without blobs": _partial,
    "without trees": _treeless,
    "shallow, and deep enough": _deep_enough,
    "in the middle of a merge": _in_a_merge,
    "in the middle of a bisect": _in_a_bisect,
    "with hooks that fail": _hooks,
}


def _state(folder: Path) -> tuple[str, ...]:
    """What a bisect must leave as it is."""

    def said(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own words
            ["git", *arguments],  # noqa: S607
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout

    return (
        said("rev-parse", "HEAD"), said("symbolic-ref", "-q", "HEAD"), said("for-each-ref"),
        said("status", "--porcelain"), said("worktree", "list"), said("stash", "list"),
    )  # fmt: skip


@pytest.mark.sampled("a work tree beside", "an odd name", "shallow, and deep enough")
@pytest.mark.parametrize("kind", CLONES)
def test_in_any_clone_the_culprit_is_named_and_nothing_is_touched(
    person: Person, clone: Repository, tmp_path: Path, kind: str
) -> None:
    commits = history(clone, COUNT, broken_from=CULPRIT)
    folder = CLONES[kind](clone, commits, tmp_path)
    before = _state(folder)
    said = person.bisect(
        folder, "--good", commits[0], "--bad", commits[-1], "--json", "--", "sh", "-c", WORKS
    )
    assert said.verdict["culprit"] == commits[CULPRIT], said.err
    assert _state(folder) == before
    assert not (folder.parent / "hooked").exists()
    assert not person.left_behind()


def _symlinks(clone: Repository) -> None:
    (clone.folder / "linked").symlink_to("state")
    (clone.folder / "dangling").symlink_to("/nowhere/at/all")
    (clone.folder / "folder").mkdir()
    (clone.folder / "folder/inside").symlink_to("../state")


def _odd_names(clone: Repository) -> None:
    for name in ("a file", "ünïcode", '"quoted"', "-dash", "new\nline", "tab\there", "*"):
        (clone.folder / name).write_text("x")


def _attributes(clone: Repository) -> None:
    (clone.folder / ".gitattributes").write_text(
        "*.bin filter=lfs diff=lfs merge=lfs -text\nkept.txt export-ignore\n*.txt eol=crlf\n"
    )
    (clone.folder / "large.bin").write_text(LFS_POINTER)
    (clone.folder / "kept.txt").write_text("one\n")


def _executable(clone: Repository) -> None:
    script = clone.folder / "check.sh"
    script.write_text("#!/bin/sh\ngrep -q good state\n")
    script.chmod(0o755)


TREES: dict[str, tuple[Callable[[Repository], None], str]] = {
    "links": (_symlinks, "grep -q good linked && grep -q good folder/inside"),
    "odd names of files": (
        _odd_names, 'test -f "a file" -a -f "ünïcode" -a -f ./-dash || exit 125; grep -q good state'
    ),
    "a pointer of LFS, and attributes": (
        _attributes, "grep -q git-lfs large.bin && test -f kept.txt || exit 125; " + WORKS
    ),
    "a program": (_executable, "test -x check.sh || exit 125; ./check.sh"),
}  # fmt: skip


@pytest.mark.sampled("a pointer of LFS, and attributes")
@pytest.mark.parametrize("kind", TREES)
def test_any_tree_is_laid_out_as_git_does_it(person: Person, clone: Repository, kind: str) -> None:
    put, script = TREES[kind]
    put(clone)
    commits = history(clone, COUNT, broken_from=CULPRIT)
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", script)
    assert said.verdict["culprit"] == commits[CULPRIT], said.err


def _with_util_linux(script: str) -> str:
    return f"command -v script > /dev/null || exit 125; {script}"


COMMANDS: dict[str, str] = {
    "leaves a daemon": f"(setsid sleep 300 > /dev/null 2>&1 &); {WORKS}",
    "leaves a daemon that holds its output": f"sleep 300 & {WORKS}",
    "forks twice and ends": f"(sh -c 'sleep 300 & exec sleep 300' &) ; {WORKS}",
    "reads its input": f"test -z \"$(cat)\" || exit 125; {WORKS}",
    "asks whether it has a terminal": f"test -t 1 && exit 125; {WORKS}",
    "makes a terminal of its own": _with_util_linux(
        f"script -qec '{WORKS}' /dev/null"
    ),
    "changes the work tree": f"rm -rf number; echo x > new; {WORKS}; r=$?; rm state; exit $r",
    "makes files nobody can delete": f"mkdir -p d/e; touch d/e/f; chmod -R a-w d; {WORKS}",
    "cleans up with git": f"git status > /dev/null || exit 125; git stash -q -u; {WORKS}",
    "looks at git's log": (
        f'test "$(git rev-parse --is-inside-work-tree)" = true || exit 125; '
        f"git log -1 --format=%H > /dev/null || exit 125; {WORKS}"
    ),
    "commits": (
        "git -c user.name=x -c user.email=x@example.org commit -q --allow-empty -m x || exit 125; "
        + WORKS
    ),
    "describes its version": f"git describe --always --dirty > /dev/null || exit 125; {WORKS}",
    "ignores being ended": f"trap '' TERM INT HUP; {WORKS}",
    "kills its own group": f"{WORKS} && exit 0; kill -9 0",
    "writes to shared memory": (
        f"f=/dev/shm/playbooks-x-$$; echo x > $f && rm $f || exit 125; {WORKS}"
    ),
    "writes binary": f"head -c 4096 /dev/urandom; {WORKS}",
    "listens": (
        "python3 -c 'import socket; s = socket.socket(); s.bind((\"127.0.0.1\", 0)); "
        f"c = socket.create_connection((s.listen(), s.getsockname())[1])' || exit 125; {WORKS}"
    ),
    "makes temporary files": f't=$(mktemp) && echo x > "$t" && test -s "$t" || exit 125; {WORKS}',
    "needs a variable": f'test "$MINE" = "set by me" || exit 125; {WORKS}',
}  # fmt: skip
ENDS_BY_A_SIGNAL = {"kills its own group"}


def _filter_fails(clone: Repository) -> str:
    """As where the large object of a file is gone."""
    for name, program in (("required", "true"), ("clean", "cat"), ("smudge", "false")):
        clone.git("config", f"filter.gone.{name}", program)
    commit = clone.commit({"large": "x", ".gitattributes": "large filter=gone\n"})
    (clone.folder / ".gitattributes").unlink()
    return commit


def _object_is_gone(clone: Repository) -> str:
    commit = clone.commit({"large": "nobody has it"})
    blob = clone.git("rev-parse", f"{commit}:large")
    (clone.folder / ".git/objects" / blob[:2] / blob[2:]).unlink()
    (clone.folder / "large").unlink()
    return commit


@pytest.mark.thorough
@pytest.mark.parametrize("broken", [_filter_fails, _object_is_gone])
def test_a_commit_whose_files_git_cannot_write_does_not_end_the_search(
    person: Person, clone: Repository, broken: Callable[[Repository], str]
) -> None:
    commits = [*history(clone, 2, broken_from=9), broken(clone)]
    commits += [clone.commit({"number": f"{n}", "state": "bad"}) for n in (3, 4)]
    person.environment["XDG_STATE_HOME"] = "not-absolute"
    said = person.bisect(clone.folder, "--good", commits[0], "--json", "--", "sh", "-c", WORKS)
    named = {each["sha"] for each in said.verdict["candidates"]}
    assert (said.code, named) == (3, {*commits[2:4]})
    assert "its files could not be written" in said.err
    assert not (clone.folder / "not-absolute").exists()


@needs_bubblewrap
@pytest.mark.sampled("leaves a daemon that holds its output", "commits")
@pytest.mark.parametrize("kind", COMMANDS)
def test_whatever_a_command_does_the_culprit_is_named(
    person: Person, clone: Repository, kind: str
) -> None:
    commits = history(clone, COUNT, broken_from=CULPRIT)
    before = _state(clone.folder)
    said = person.bisect(
        clone.folder, "--good", commits[0], "--time-limit", "20", "--json", "--",
        "env", "MINE=set by me", "sh", "-c", COMMANDS[kind],
    )  # fmt: skip
    if kind in ENDS_BY_A_SIGNAL:
        assert said.code != 0
        assert "killed" in said.err
    else:
        assert said.verdict["culprit"] == commits[CULPRIT], said.err
    assert _state(clone.folder) == before
    assert not person.left_behind()


def test_without_a_sandbox_a_daemon_that_holds_the_output_keeps_nobody_waiting(
    person: Person, clone: Repository, tmp_path: Path
) -> None:
    commits = history(clone, COUNT, broken_from=CULPRIT)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "sh", "grep", "nice", "cp", "rm", "chmod", "mkdir", "test", "cat", "sleep"):
        (tools / name).symlink_to(shutil.which(name) or name)
    person.environment["PATH"] = str(tools)
    # It deletes the folder it runs in, too.
    script = f'sleep 300 & {WORKS}; r=$?; rm -rf "$PWD"; exit $r'
    said = person.bisect(
        clone.folder, "--good", commits[0], "--time-limit", "20", "--json", "--", "sh", "-c", script
    )
    assert said.verdict["culprit"] == commits[CULPRIT], said.err
    assert not person.left_behind()
