"""pytest: a skip inside pytest.warns is swallowed."""

import sys
import types

sys.path.insert(0, "src")
version = sys.modules["_pytest._version"] = types.ModuleType("made by setuptools-scm, elsewhere")
version.version, version.version_tuple = "0", (0,)
try:
    import pytest
except ImportError:
    sys.exit(125)

try:
    with pytest.warns(UserWarning):  # noqa: PT030 - as it was reported
        pytest.skip("not here")
except pytest.skip.Exception:
    sys.exit(0)
except BaseException:
    sys.exit(1)
sys.exit(1)
