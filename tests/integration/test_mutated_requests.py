"""Whatever a client sends: the upstream receives what it says for certain, nothing else, and only what is answered."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.mutations import check, mutated
from tests.integration.recorder import recorder

if TYPE_CHECKING:
    from tests.integration.conftest import StartProxy


@pytest.mark.parametrize("first", range(0, 600, 100))
async def test_a_mutated_request_smuggles_nothing(start_proxy: StartProxy, first: int) -> None:
    """Always the same 600; `make fuzz` tries others for as long as one likes."""
    async with recorder() as upstream:
        proxy = await start_proxy(upstream.url)
        for seed in range(first, first + 100):
            chance = random.Random(seed)
            await check(proxy.client_url, upstream, mutated(chance), chance)
