"""How hypothesis draws: also for `make quick`, which loads no conftest."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine must not decide whether a property holds; what failed once can be drawn again.
settings.register_profile(
    "suite", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")
