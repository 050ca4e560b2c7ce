"""How long until the hotfix commit is ready? Ours beside what cherry-picking bots do.

    python benchmarks/revert.py REPO [--reverts 10] [--seed 1]

REPO is served over HTTP by `git http-backend`. Each side starts where a Trigger is admitted and
ends when the remote has a branch with the reverting commit:

- ours, cold: no mirror yet (cloned blobless), then as below;
- ours, warm: refresh the mirror, compute without a work tree, publish what GitHub's Git Data API
  is sent (new blobs, a tree on `base_tree`, a commit, a ref);
- the others: clone, check out, `git revert`, push.

The publishing stands in for GitHub's side of that API on the same bare repository, and fails
unless the tree it builds from the changes alone has the computed id. Only commits whose revert
applies are timed. No network latency is added on either side.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.git.mirror import Mirror
from bot.git.process import Git, require_git
from bot.git.revert import Clean, compute_revert
from bot.git.trees import RawChange, read_blob, with_entries

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench",
}
NEAREST, FARTHEST = 1, 200


def git(*arguments: str) -> str:
    """Run git, which must work, and return what it printed."""
    argv = ["git", *arguments]
    said = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=True)  # noqa: S603 - an argv list
    return said.stdout.decode("utf-8", "replace").strip()


async def backend(request: web.Request) -> web.StreamResponse:
    """Answer one smart HTTP request with `git http-backend`, streaming its answer."""
    process = await asyncio.create_subprocess_exec(
        *("git", "http-backend"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRONMENT
        | {
            "GIT_PROJECT_ROOT": str(request.app[ROOT]),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "bench",
        },
    )
    asked, told = process.stdin, process.stdout
    if asked is None or told is None:
        raise RuntimeError("git http-backend has no pipes")
    asked.write(await request.read())
    asked.close()
    head = (await told.readuntil(b"\r\n\r\n")).decode().strip()
    headers = dict(line.split(": ", 1) for line in head.split("\r\n"))
    response = web.StreamResponse(status=int(headers.pop("Status", "200")[:3]), headers=headers)
    await response.prepare(request)
    while chunk := await told.read(1 << 16):
        await response.write(chunk)
    await process.wait()
    return response


ROOT = web.AppKey("root", Path)


async def publish(remote: Git, mirror: Git, clean: Clean, branch: str) -> None:
    """Do what the Git Data API does with a computed revert."""
    for sha in clean.new_blobs:
        written = await remote.run(
            "hash-object", "-w", "--stdin", stdin=await read_blob(mirror, sha)
        )
        if written.text != sha:
            raise RuntimeError(f"the blob {sha} came out as {written.text}")
    entries = [
        RawChange(
            path=change.path.encode(),
            old_mode=change.mode,
            new_mode=change.mode,
            old=change.previous,
            new=change.sha,
        )
        for change in clean.changes
    ]
    tree = await with_entries(remote, clean.base_tree, entries)
    if tree != clean.tree:
        raise RuntimeError(f"the published tree {tree} is not the computed {clean.tree}")
    commit = await remote.run("commit-tree", "-p", clean.onto, "-m", "revert", tree)
    await remote.run("update-ref", f"refs/heads/{branch}", commit.text)


async def ours(mirror: Mirror, remote: Git, commit: str, branch: str) -> float:
    """Revert `commit` on the default branch our way; return the seconds it took."""
    started = time.perf_counter()
    await mirror.refresh()
    onto = await mirror.branch_head("main")
    clean = await mirror.read(lambda git: compute_revert(git, [commit], onto))
    if not isinstance(clean, Clean):
        raise RuntimeError(f"{commit} no longer reverts cleanly")
    await mirror.read(lambda git: publish(remote, git, clean, branch))
    return time.perf_counter() - started


def theirs(url: str, scratch: Path, commit: str, branch: str) -> float:
    """Clone, check out, revert and push; return the seconds it took."""
    started = time.perf_counter()
    clone = scratch / branch
    git("clone", "--quiet", "--branch", "main", url, str(clone))
    git("-C", str(clone), "checkout", "--quiet", "-b", branch)
    merge = len(git("-C", str(clone), "rev-list", "--parents", "-1", commit).split()) > 2
    git("-C", str(clone), "revert", "--no-edit", *(("-m", "1") if merge else ()), commit)
    git("-C", str(clone), "push", "--quiet", "origin", branch)
    seconds = time.perf_counter() - started
    shutil.rmtree(clone)
    return seconds


async def clean_reverts(remote: Git, seed: int, count: int) -> list[str]:
    """Draw commits near the head of the first-parent line whose revert applies."""
    said = await remote.run("rev-list", "--first-parent", f"--max-count={FARTHEST + 1}", "main")
    line = said.text.split()
    places = random.Random(seed).sample(range(NEAREST, len(line)), len(line) - NEAREST)  # noqa: S311 - a repeatable draw
    drawn: list[str] = []
    for place in places:
        if isinstance(await compute_revert(remote, [line[place]], line[0]), Clean):
            drawn.append(line[place])
        if len(drawn) == count:
            break
    return drawn


def serve_copy(repo: Path, root: Path) -> Path:
    """Make the bare remote: REPO's HEAD as `main`, on its own copy of the objects."""
    bare = root / "repo.git"
    git("clone", "--quiet", "--bare", "--shared", str(repo), str(bare))
    git("-C", str(bare), "update-ref", "refs/heads/main", git("-C", str(repo), "rev-parse", "HEAD"))
    git("-C", str(bare), "symbolic-ref", "HEAD", "refs/heads/main")
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", "http.receivepack"):
        git("-C", str(bare), "config", key, "true")
    return bare


def rows(timings: dict[str, list[float]]) -> Iterator[str]:
    """Yield the table's lines; ratios are of medians, against the others."""
    slow = statistics.median(timings["clone + revert + push"])
    yield f"{'':<24}{'runs':>6}{'median s':>10}{'min':>8}{'max':>8}{'faster':>9}"
    for name, seconds in timings.items():
        middle = statistics.median(seconds)
        yield (
            f"{name:<24}{len(seconds):>6}{middle:>10.2f}{min(seconds):>8.2f}"
            f"{max(seconds):>8.2f}{slow / middle:>8.1f}x"
        )


async def measure(repo: Path, reverts: int, seed: int) -> dict[str, list[float]]:
    """Serve REPO and time both sides on the same commits."""
    timings: dict[str, list[float]] = {"ours, warm": [], "ours, cold": []}
    timings["clone + revert + push"] = []
    with tempfile.TemporaryDirectory(prefix="revert-bench-") as name:
        root = Path(name)
        remote = Git(serve_copy(repo, root))
        app = web.Application(client_max_size=1 << 30)
        app[ROOT] = root
        app.router.add_route("*", "/{path:.*}", backend)
        async with TestServer(app) as server:
            url = str(server.make_url("/repo.git"))
            for number, commit in enumerate(await clean_reverts(remote, seed, reverts)):
                if number < max(1, reverts // 5):
                    cold = Mirror(root / f"cold-{number}", 1, url)
                    timings["ours, cold"].append(await ours(cold, remote, commit, f"c{number}"))
                    await cold.remove()
                    spent = await asyncio.to_thread(theirs, url, root, commit, f"t{number}")
                    timings["clone + revert + push"].append(spent)
                if number == 0:
                    warm = Mirror(root / "warm", 1, url)
                    await warm.refresh()
                timings["ours, warm"].append(await ours(warm, remote, commit, f"w{number}"))
    return timings


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repo", type=Path, nargs="?", default=Path())
    parser.add_argument("--reverts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    commits = git("-C", str(options.repo), "rev-list", "--count", "HEAD")
    version = ".".join(map(str, require_git()))
    print(f"{int(commits):,} commits; git {version}; {os.cpu_count()} cores; {platform.system()}")
    timings = asyncio.run(measure(options.repo.resolve(), options.reverts, options.seed))
    print("\n".join(rows(timings)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
