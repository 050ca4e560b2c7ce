"""Run a program, and disturb what it says at random.

python disturbed.py PROGRAM RATE                        it fails at random
python disturbed.py PROGRAM RATE NAME lower|higher      its number is up to twice as bad
python disturbed.py PROGRAM RATE NAME higher LIMIT      and a number beyond LIMIT is a failure
"""

import json
import os
import random
import runpy
import sys
import tempfile
from pathlib import Path

program, rate, *number = sys.argv[1:]
chance = random.SystemRandom()
disturbed = chance.random() < float(rate)
if not number:
    if disturbed:
        sys.exit("failed at random")
    runpy.run_path(program, run_name="__main__")
    sys.exit()

name, worse, *limit = number
with tempfile.TemporaryDirectory() as folder:
    result = Path(os.environ.setdefault("PLAYBOOKS_RESULT", f"{folder}/result.json"))
    runpy.run_path(program, run_name="__main__")
    value = json.loads(result.read_text())["metrics"][name]
    factor = 1 + chance.random() if disturbed else 1
    value = value * factor if worse == "higher" else value / factor
    result.write_text(json.dumps({"metrics": {name: value}}))
if limit:
    beyond = value - float(limit[0])
    sys.exit((beyond if worse == "higher" else -beyond) > 0)
