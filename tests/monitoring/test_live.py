"""A real Prometheus scrapes a live keepwarm through a day; every expression of ours is put to it."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from proxy.sim.server import SimulatedOllama
from tests.e2e.keepwarm_process import running_keepwarm
from tests.monitoring import day
from tests.monitoring.day import Day
from tests.monitoring.expressions import DEPENDS_ON_THE_MACHINE, Expression, as_grafana_asks, everything, of_alerts
from tests.monitoring.prometheus import running_prometheus
from tests.monitoring.promtool import promtool

pytestmark = [pytest.mark.monitoring, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

EXPRESSIONS = everything()
# Two minutes of waiting are too long for a test: its parts must be there, and test_rules.py tries the rule itself.
TAKES_TOO_LONG = {"KeepwarmColdLoadsHang"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lived(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Day]:
    ollama = SimulatedOllama(day.FAST)
    await ollama.start()
    async with (
        running_keepwarm(ollama.url, day.SETTINGS) as keepwarm,
        running_prometheus(keepwarm.admin, tmp_path_factory.mktemp("prometheus")) as prometheus,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client,
    ):
        whole = Day(ollama, keepwarm, prometheus, client)
        try:
            await whole.happen()
            yield whole
        finally:
            await whole.close()


async def course(lived: Day, expr: str) -> list[dict[str, Any]]:
    return await lived.prometheus.course(expr, lived.began, lived.ended)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
async def test_an_expression_gives_something_on_a_day_that_has_everything(lived: Day, expression: Expression) -> None:
    expr = as_grafana_asks(expression.text)
    if expression.place in TAKES_TOO_LONG:
        expr = re.sub(r"(==|>=|<=|>|<) ([\d.]+)", r"\1 bool \2", expr)  # the values, whether they pass the limit or not
    assert await course(lived, expr)


@pytest.mark.parametrize("expression", [each for each in EXPRESSIONS if each.place.startswith("model: ")], ids=str)
async def test_the_page_of_a_model_gives_something_for_a_single_model(lived: Day, expression: Expression) -> None:
    assert await course(lived, as_grafana_asks(expression.text, re.escape(day.CHAT).replace("\\", "\\\\")))


@pytest.mark.parametrize(
    "expression", [each for each in of_alerts() if each.place not in DEPENDS_ON_THE_MACHINE], ids=str
)
async def test_no_alert_is_near_while_people_just_work(lived: Day, expression: Expression) -> None:
    assert await lived.prometheus.course(expression.text, *lived.calm) == []


@pytest.mark.parametrize(
    "happened",
    [
        *(
            f'keepwarm_requests_total{{outcome="{outcome}"}}'
            for outcome in ("warm", "cold", "client_error", "client_gone")
        ),
        'keepwarm_requests_total{outcome="upstream_error"}',
        *(f'keepwarm_loads_total{{cause="{cause}"}}' for cause in ("cold", "reload")),
        *(f'keepwarm_evictions_total{{cause="{cause}"}}' for cause in ("eviction", "upstream")),
        *(f"keepwarm_{what}_total" for what in ("expiries", "explicit_unloads", "regret", "management_failures")),
        *(f"keepwarm_{what}_total" for what in ("spilled_bytes", "prompt_evaluation_seconds", "generation_seconds")),
        *(f'keepwarm_tokens_total{{direction="{direction}"}}' for direction in ("in", "out")),
        'keepwarm_refused_requests_total{status="403"}',
        "keepwarm_requests_waiting",
        "keepwarm_requests_in_flight",
        "keepwarm_resident_busy_requests",
        "keepwarm_resident_worth_seconds",
        "keepwarm_gap_seconds_count",
        "process_cpu_seconds_total",
    ],
)
async def test_the_day_had_it(lived: Day, happened: str) -> None:
    """Counters begin at 0, so that an expression gives something on a day without events, too."""
    assert await course(lived, f"{happened} > 0")


async def test_ten_thousand_unknown_names_share_one_label(lived: Day) -> None:
    (counted,) = await course(lived, 'sum(keepwarm_requests_total{model="other",outcome="client_error"})')
    assert float(counted["values"][-1][1]) == day.UNKNOWN_NAMES
    models = {series["metric"]["model"] for series in await course(lived, "count by (model) (keepwarm_requests_total)")}
    known = {model.name if ":" in model.name else f"{model.name}:latest" for model in day.MODELS}
    assert models <= known | {"other"}


async def test_a_slow_bar_leads_to_the_request_in_the_log(lived: Day) -> None:
    exemplars = await lived.prometheus.exemplars("keepwarm_ttft_seconds_bucket", lived.began, lived.ended)
    numbers = {exemplar["labels"]["request_id"] for exemplar in exemplars}
    assert numbers
    log = lived.keepwarm.log()
    assert all(f"request {number} forwarded" in log for number in numbers)


async def test_prometheus_warns_of_nothing(lived: Day) -> None:
    assert lived.prometheus.complaints() == []


async def test_promtool_finds_nothing_to_complain_about(lived: Day) -> None:
    assert b"keepwarm_requests_total" in lived.shown
    assert await asyncio.to_thread(promtool, "check", "metrics", stdin=lived.shown) == ""
