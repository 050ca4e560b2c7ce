"""How hypothesis draws: also for `make quick`, which loads no conftest."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine must not decide whether a property holds; what failed once can be drawn again.
_SUITE = settings(
    deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], max_examples=30
)
settings.register_profile("suite", _SUITE)
settings.register_profile("thorough", _SUITE, max_examples=100)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Draw three times as much for `make thorough`."""
    if config.getoption("thorough", default=False):
        settings.load_profile("thorough")
