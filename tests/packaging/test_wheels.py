"""Two wheels: the server's has no demo, and what is missing is said with what to install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2]
GIT = shutil.which("git") or "git"
SOURCES = {"incident_playbooks": HERE, "incident_playbooks_demo": HERE / "packaging/demo"}


def listed(*which: str) -> list[str]:
    order = [GIT, "ls-files", "-z", *which]
    done = subprocess.run(order, cwd=HERE, capture_output=True, check=True)  # noqa: S603 - a fixed program; the arguments are a list
    return [name for name in done.stdout.decode().split("\0") if name]


def build(copy: Path, out: Path) -> dict[str, Path]:
    """Build both wheels as anybody would, from a copy of what is committed."""
    for name in listed("--cached", "--others", "--exclude-standard"):
        if name.startswith(("bot/", "demo/", "fakegithub/", "packaging/")) or "/" not in name:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / name, copy / name)
    built = {}
    for name, source in SOURCES.items():
        place = copy / source.relative_to(HERE)
        order = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out)]
        done = subprocess.run([*order, str(place)], capture_output=True, text=True)  # noqa: S603 - our own words
        if "setuptools" in done.stderr and "No matching distribution" in done.stderr:
            pytest.skip("setuptools could not be downloaded, so no wheel can be built")
        assert done.returncode == 0, done.stderr
        (built[name],) = out.glob(f"{name}-[0-9]*.whl")
    return built


def packages(wheel: Path) -> set[str]:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    return {name for name in names if not name.endswith(".dist-info")}


def test_the_image_is_made_of_the_bot_alone() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+)$", (HERE / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()[:-1]}
    locks = {"deploy/requirements.txt", "deploy/requirements-build.txt"}
    assert sources == {"pyproject.toml", "README.md", "LICENSE", "bot", *locks}
    ignored = set((HERE / ".dockerignore").read_text().split())
    assert {"demo", "fakegithub", "tests", ".git", "var"} <= ignored
    assert not sources & ignored


def environment(folder: Path, *wheels: Path) -> Path:
    """Make a virtual environment with these wheels, and what they need from this one."""
    order = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(order, check=True)  # noqa: S603 - our own words
    bare = {"base": str(folder), "platbase": str(folder)}
    inside = Path(sysconfig.get_path("purelib", "venv", vars=bare))
    for each in Path(sysconfig.get_path("purelib")).iterdir():
        if "incident_playbooks" not in each.name and not each.name.startswith("__"):
            (inside / each.name).symlink_to(each)
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(inside)
    return folder / "bin/python"


def playbooks(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    order = [str(python), "-c", "from bot.cli import main; main()", *arguments]
    return subprocess.run(  # noqa: S603 - our own words
        order,
        cwd=python.parent,
        env={name: each for name, each in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels, by the name of their project."""
    folder = tmp_path_factory.mktemp("built")
    return build(folder / "source", folder / "wheels")


def test_the_servers_wheel_has_all_of_the_bot_and_nothing_else(wheels: dict[str, Path]) -> None:
    server = wheels["incident_playbooks"]
    assert packages(server) == {"bot"}
    assert packages(wheels["incident_playbooks_demo"]) == {"demo", "fakegithub"}
    assert set(listed("bot")) <= set(zipfile.ZipFile(server).namelist())


@pytest.mark.thorough
def test_the_server_comes_without_the_demo_which_plays_once_it_is_installed(
    wheels: dict[str, Path], tmp_path: Path
) -> None:
    alone = environment(tmp_path / "alone", wheels["incident_playbooks"])
    said = playbooks(alone, "demo", "--play", "revert")
    assert said.returncode == 2
    assert said.stderr == (
        "Error: `playbooks demo` is in a package of its own: pip install incident-playbooks-demo\n"
    )
    assert "incident-playbooks-demo" in playbooks(alone, "--help").stdout

    both = environment(tmp_path / "both", *wheels.values())
    said = playbooks(both, "demo", "--play", "revert", "--exit")
    assert '"ok": true' in said.stdout, said.stderr
