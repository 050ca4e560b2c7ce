"""One job's folder and the processes that run in it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from fakegithub.actions import workflows
from fakegithub.git.bare import BareRepository, GitRefused, clean_environment

_MOST_OUTPUT = 100_000
_OUTER = ("inputs.", "steps.")
"""What an action does not see of the workflow that uses it."""
_SHELL = shutil.which("bash") or "/bin/sh"


class Workspace:
    """Where a job runs: `work` has the files, `home` is its home, `temp` its scratch."""

    def __init__(
        self,
        folder: Path,
        git: BareRepository,
        tree: str,
        environment: Mapping[str, str],
        sha: str,
    ) -> None:
        """Make empty folders; `tree` is what a checkout without `ref` brings."""
        self._folder, self._git, self._tree, self._sha = folder, git, tree, sha
        self._given = dict(environment)
        self.work, self.home, self.temp = (folder / name for name in ("work", "home", "temp"))
        for each in (self.work, self.home, self.temp):
            each.mkdir(parents=True)
        self._output = self.temp / "output"
        self._exported = self.temp / "environment"
        for file in (self._output, self._exported):
            file.touch()

    def remove(self) -> None:
        """Delete everything the job left."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def check_out(self, ref: str) -> None:
        """Put the files of `ref` (a SHA, branch or tag; "" is the event's tree) into `work`.

        There is no `.git`: what a job runs can reach no repository of the server.

        Raises:
            GitError: when there is no such commit.
        """
        treeish = self._tree
        if ref and ref != self._sha:
            found = self._git.commit_sha(ref.removeprefix("refs/heads/"))
            if found is None:
                raise GitRefused(f"{ref} is no commit here")
            treeish = found
        shutil.rmtree(self.work)
        self.work.mkdir()
        index = self.temp / "index"
        environment = {**clean_environment(), "GIT_INDEX_FILE": str(index)}
        where = [f"--git-dir={self._git.path}", f"--work-tree={self.work}"]
        for arguments in (["read-tree", treeish], ["checkout-index", "--all", "--force"]):
            done = subprocess.run(  # noqa: S603 - a list argv, never a shell
                ["git", *where, *arguments],  # noqa: S607 - git is found on PATH
                cwd=self.work, env=environment, capture_output=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise GitRefused(done.stderr.decode(errors="replace").strip())
        index.unlink()

    async def do(self, step: workflows.WorkflowStep, context: Mapping[str, str]) -> tuple[int, str]:
        """Carry out one step; returns its exit code and what it printed."""
        if step.action is not None:
            return await self._act(step, context)
        if step.checkout is not None:
            try:
                self.check_out(workflows.fill(step.checkout, context))
            except GitRefused as error:
                return 1, f"{error}\n"
            return 0, ""
        script = self.temp / "step.sh"
        script.write_text(workflows.fill(step.run or "", context), encoding="utf-8")
        own = {name: workflows.fill(text, context) for name, text in step.env.items()}
        folder = (self.work / step.folder).resolve()
        if not folder.is_relative_to(self.work.resolve()) or not folder.is_dir():
            return 1, f"{step.folder} is no folder of the repository\n"
        return await self._run(script, folder, self._environment() | own)

    async def _act(
        self, step: workflows.WorkflowStep, context: Mapping[str, str]
    ) -> tuple[int, str]:
        """Carry out a composite action of the repository, and leave its outputs as the step's."""
        folder = (self.work / str(step.action)).resolve()
        files = [folder / name for name in ("action.yml", "action.yaml")]
        found = next((file for file in files if file.is_file()), None)
        if found is None or not folder.is_relative_to(self.work.resolve()):
            return 1, f"Can't find 'action.yml' under '{step.action}'. Was it checked out?\n"
        try:
            action = workflows.read_action(str(step.action), found.read_text(encoding="utf-8"))
        except workflows.WorkflowError as error:
            return 1, f"{error}\n"
        given = {name: workflows.fill(text, context) for name, text in step.given.items()}
        if unknown := sorted(set(given) - set(action.inputs)):
            return 1, f"Unexpected input(s) {', '.join(unknown)}\n"
        inside = {name: text for name, text in context.items() if not name.startswith(_OUTER)}
        inside |= {**action.given(given), "github.action_path": str(folder)}
        own = {name: workflows.fill(text, context) for name, text in step.env.items()}
        said = ""
        for each in action.steps:
            place = replace(each, env={**own, "GITHUB_ACTION_PATH": str(folder), **each.env})
            code, output = await self.do(place, inside)
            said += output
            if code:
                return code, said
            inside |= self.outputs(each)
        with self._output.open("a", encoding="utf-8") as file:
            for name, value in action.outputs.items():
                file.write(
                    f"{name}<<_end_of_output\n{workflows.fill(value, inside)}\n_end_of_output\n"
                )
        return 0, said

    def outputs(self, step: workflows.WorkflowStep) -> dict[str, str]:
        """What a step that just ended wrote into $GITHUB_OUTPUT, for those that come after it."""
        lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        self._output.write_text("")
        found: dict[str, str] = {}
        while lines:
            name, _, value = lines.pop(0).partition("=")
            if "<<" in name:
                name, _, end = name.partition("<<")
                last = lines.index(end) if end in lines else len(lines)
                value, lines = "\n".join(lines[:last]), lines[last + 1 :]
            if name and step.id:
                found[f"steps.{step.id}.outputs.{name}"] = value
        return found

    async def _run(
        self, script: Path, folder: Path, environment: Mapping[str, str]
    ) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            _SHELL, "-e", str(script), cwd=folder, env=dict(environment), start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output = await _read_tail(process)
            code = await process.wait()
        finally:
            # Also what the step left running behind itself.
            _kill_group(process.pid)
            if process.returncode is None:
                await process.wait()
        return code, output

    def _environment(self) -> dict[str, str]:
        # The interpreter that runs the demo comes first, so that `python` exists everywhere.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {
            "PATH": path, "HOME": str(self.home), "TMPDIR": str(self.temp), "LANG": "C.UTF-8",
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.work),
            "GITHUB_OUTPUT": str(self._output), "GITHUB_ENV": str(self._exported),
            "GITHUB_STEP_SUMMARY": str(self.temp / "summary"), "RUNNER_TEMP": str(self.temp),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self._given, **self._read_exported(),
        }  # fmt: skip

    def _read_exported(self) -> dict[str, str]:
        """What earlier steps wrote into $GITHUB_ENV, one `NAME=value` a line."""
        lines = self._exported.read_text(encoding="utf-8", errors="replace").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


async def _read_tail(process: asyncio.subprocess.Process) -> str:
    """Everything the process prints, of which the last part is kept."""
    kept = b""
    stream = process.stdout
    while stream is not None and (chunk := await stream.read(65_536)):
        kept = (kept + chunk)[-_MOST_OUTPUT:]
    text = kept.decode(errors="replace")
    return text if not text or text.endswith("\n") else text + "\n"


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError:  # nothing but zombies is left
        return
