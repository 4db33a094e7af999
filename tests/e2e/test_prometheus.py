"""Prometheus, keepwarm and Ollama, all real: what dashboards and rules ask for is there after some work."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.e2e.keepwarm_process import running_keepwarm
from tests.e2e.proxy_fixtures import FAST, GENERATES, ask, post
from tests.monitoring.expressions import (
    DEPENDS_ON_THE_MACHINE,
    as_grafana_asks,
    of_alerts,
    of_marks,
    of_panels,
    of_rules,
    of_variables,
)
from tests.monitoring.prometheus import running_prometheus

if TYPE_CHECKING:
    from tests.e2e.conftest import StartOllama

pytestmark = pytest.mark.e2e


async def tags(url: str, status: int = 200, **headers: str) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/tags", headers=headers) as answer:
        assert answer.status == status


async def test_every_question_has_an_answer_and_no_alert_is_false(start_ollama: "StartOllama", tmp_path: Path) -> None:
    ollama = await start_ollama(FAST)
    async with (
        running_keepwarm(ollama.url, {"residency": {"poll": "200ms"}}) as keepwarm,
        running_prometheus(keepwarm.admin, tmp_path) as prometheus,
    ):
        began = await prometheus.until("keepwarm_upstream_up == 1")
        for path in GENERATES:
            for _ in range(5):
                await ask(keepwarm.url, "llama3.1:8b", path)
        await ask(keepwarm.url, "nomic-embed-text", "/api/embed", keep_alive="10m")
        await prometheus.until('keepwarm_requests_total{endpoint="/api/embed",outcome="cold"} > 0')
        await tags(keepwarm.url)
        await prometheus.until('keepwarm_passthrough_requests_total{outcome="answered"} > 0')
        await tags(keepwarm.url)
        worked = time.time()
        await post(keepwarm.url, "/api/generate", {"model": "nobody", "prompt": "Hello"})
        await tags(keepwarm.url, status=403, Host="a-name-that-points-here.example")
        ollama.set_used_mib(8_000)  # another program comes
        await ask(keepwarm.url, "gemma3:27b")
        await prometheus.until("keepwarm:spilled_bytes > 0")
        ended = time.time() + 2
        asked = (*of_panels(), *of_marks(), *of_variables(), *of_rules())
        silent = [each.place for each in asked if not await prometheus.course(as_grafana_asks(each.text), began, ended)]
        assert not silent, "\n".join(silent)
        for alert in of_alerts():
            if alert.place not in DEPENDS_ON_THE_MACHINE:
                assert await prometheus.course(alert.text, began, worked) == [], alert.place
        assert prometheus.complaints() == []
