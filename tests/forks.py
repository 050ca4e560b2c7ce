"""Where tests fork lives of the bot from: one server process that has imported everything already.

There is one such server per test process, whoever asks first, and what it imports is said once:
said in two places, the second would silently replace the first, and every life of the bot import
for more than a second what its server does not know.
"""

from __future__ import annotations

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.chaos.life", "tests.engine.lives", "bot.app"])
