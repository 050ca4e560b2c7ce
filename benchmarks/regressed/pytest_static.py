"""pytest: setup_method of a class with a static test gets None for its instance."""

import os
import sys
import tempfile
import types
from pathlib import Path

sys.path.insert(0, "src")
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
version = sys.modules["_pytest._version"] = types.ModuleType("made by setuptools-scm, elsewhere")
version.version, version.version_tuple = "0", (0,)
try:
    import pytest
except ImportError:
    sys.exit(125)

TEST = """
class TestIt:
    def setup_method(self):
        pass

    @staticmethod
    def test_it():
        pass
"""

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "test_it.py").write_text(TEST)
    os.chdir(folder)
    ended = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", folder, "test_it.py"])
sys.exit(0 if ended == 0 else 1)
