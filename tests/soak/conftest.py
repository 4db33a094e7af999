"""The soak's own options, for a run of `tests/soak` alone; without them it takes three minutes."""

import pytest

from tests.integration.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak-seconds", type=float, default=180.0, help="how long the soak takes (default 180)")
    parser.addoption("--soak-seed", type=int, default=1, help="what happens in it, and when (default 1)")


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--soak-seconds"))


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--soak-seed"))
