"""The matrix runs on the loop that `keepwarm serve` runs on."""

from tests.integration.conftest import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
