"""pytest: the CPU seconds of five sessions with one test each."""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
import types
from pathlib import Path

sys.path.insert(0, "src")
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
version = sys.modules["_pytest._version"] = types.ModuleType("made by setuptools-scm, elsewhere")
version.version, version.version_tuple = "8", (8,)
try:
    import pytest
except ImportError:
    sys.exit(125)

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "test_it.py").write_text("def test_it():\n    pass\n")
    os.chdir(folder)
    started = time.process_time()
    for _ in range(5):
        with contextlib.redirect_stdout(io.StringIO()):
            ended = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", folder, "test_it.py"])
        if ended != 0:
            sys.exit(125)
    seconds = time.process_time() - started
Path(os.environ["PLAYBOOKS_RESULT"]).write_text(json.dumps({"metrics": {"seconds": seconds}}))
