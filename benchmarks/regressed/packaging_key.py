"""packaging: a subclass of _BaseVersion cannot set its own _key."""

import sys

sys.path.insert(0, "src")
from packaging.version import _BaseVersion


class Legacy(_BaseVersion):
    """A version of before PEP 440."""

    def __init__(self, version):
        """Sort it below all others."""
        self._key = (-1, version)


try:
    sys.exit(0 if Legacy("a") < Legacy("b") else 1)
except AttributeError:
    sys.exit(1)
