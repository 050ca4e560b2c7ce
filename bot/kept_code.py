"""The code of this release, for what is loaded later.

A server loads a playbook with its first Run. By then an update may have replaced the files of the
release that is running: what came from them would not fit what is loaded, and what a Run has on
record.
"""

from __future__ import annotations

import marshal
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
PACKAGE = __name__.partition(".")[0]
ELSEWHERE = ("local", "records/migrations")
"""What only the command line loads, and what alembic does, by itself."""


@dataclass(frozen=True)
class _Kept:
    """One module: where it was, and its code, packed."""

    path: Path
    code: bytes

    @property
    def is_package(self) -> bool:
        """Whether others lie below it."""
        return self.path.name == "__init__.py"


class KeptCode(MetaPathFinder, Loader):
    """Loads what was kept; everything else is found as always."""

    def __init__(self, kept: dict[str, _Kept]) -> None:
        """Load from these, by their full names."""
        self._kept = kept

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Say how a module is loaded; None: it was not kept."""
        del path, target
        found = self._kept.get(fullname)
        if found is None:
            return None
        below = [str(found.path.parent)] if found.is_package else None
        return spec_from_file_location(
            fullname, found.path, loader=self, submodule_search_locations=below
        )

    def exec_module(self, module: ModuleType) -> None:
        """Run its code in it."""
        code = marshal.loads(zlib.decompress(self._kept[module.__name__].code))  # noqa: S302 - ours
        exec(code, module.__dict__)  # noqa: S102 - that is what importing is


def keep_code() -> KeptCode:
    """Keep the code of all of ours that is not loaded yet; call it when all else is."""
    kept = {}
    for path in sorted(HERE.rglob("*.py")):
        inside = path.relative_to(HERE)
        if str(inside).startswith(ELSEWHERE):
            continue
        parts = inside.parent.parts if path.name == "__init__.py" else inside.with_suffix("").parts
        name = ".".join((PACKAGE, *parts))
        if name not in sys.modules and name != f"{PACKAGE}.__main__":
            code = SourceFileLoader(name, str(path)).get_code(name)
            kept[name] = _Kept(path, zlib.compress(marshal.dumps(code), 1))
    found = KeptCode(kept)
    sys.meta_path.insert(0, found)
    return found
