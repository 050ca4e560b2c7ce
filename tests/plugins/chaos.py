"""`--chaos=sample` (the default) kills the bot at a few seeded points, `--chaos=full` at all."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos",
        choices=("sample", "full"),
        default="sample",
        help="how many points of the kill matrix to try: a seeded sample, or all of them",
    )
    parser.addoption("--chaos-seed", type=int, default=20, help="which sample of kill points")


@pytest.fixture(scope="session")
def chaos_is_full(request: pytest.FixtureRequest) -> bool:
    """Whether every kill point is tried."""
    return bool(request.config.getoption("--chaos") == "full")


@pytest.fixture(scope="session")
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """Chooses the sample."""
    return int(request.config.getoption("--chaos-seed"))
