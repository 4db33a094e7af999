"""For each alert: courses of events in which it must fire, and ones in which it must not; values per minute."""

from dataclasses import dataclass, field

AT = '{job="keepwarm",instance="box:11436"'
MODEL = 'model="llama3.1:8b"'


@dataclass(frozen=True)
class Case:
    """One course of events.

    Attributes:
        alert: whose rule is tried.
        because: what the case is.
        series: values per minute in promtool's notation, by metric and labels beside job and instance.
        at: when to look.
        fires: the summary that people read; empty: it must not fire.
        model: the model that the alert is about, if it is about one.
    """

    alert: str
    because: str
    series: dict[str, str] = field(default_factory=dict)
    at: str = "30m"
    fires: str = ""
    model: str = ""

    def __str__(self) -> str:
        return f"{self.alert}, {self.because}"


def _requests(cold: str, warm: str) -> dict[str, str]:
    return {
        f'keepwarm_requests_total,{MODEL},outcome="cold"': cold,
        f'keepwarm_requests_total,{MODEL},outcome="warm"': warm,
    }


def _hang(waits: str, loads: str, warm: str) -> dict[str, str]:
    return {
        "keepwarm_longest_wait_seconds": waits,
        f'keepwarm_loads_total,{MODEL},cause="cold"': loads,
        f'keepwarm_requests_total,{MODEL},outcome="warm"': warm,
    }


def _memory(headroom: str, waiting: str) -> dict[str, str]:
    return {
        "keepwarm_memory_budget_bytes": "100+0x60",
        "keepwarm_memory_headroom_bytes": headroom,
        "keepwarm_requests_waiting": waiting,
    }


def _cap(headroom: str, residents: str, evictions: str) -> dict[str, str]:
    return {
        "keepwarm_memory_budget_bytes": "100+0x90",
        "keepwarm_memory_headroom_bytes": headroom,
        "keepwarm_residents": residents,
        "keepwarm_residents_limit": "3+0x90",
        f'keepwarm_evictions_total,{MODEL},cause="eviction"': evictions,
    }


def _overhead(fast: str, slow: str) -> dict[str, str]:
    """So many requests per minute below 1 ms, and so many between 50 and 100 ms."""
    both = f"0+{int(fast) + int(slow)}x60"
    return {
        'keepwarm_overhead_seconds_bucket,le="0.001"': f"0+{fast}x60",
        'keepwarm_overhead_seconds_bucket,le="0.05"': f"0+{fast}x60",
        'keepwarm_overhead_seconds_bucket,le="0.1"': both,
        'keepwarm_overhead_seconds_bucket,le="+Inf"': both,
    }


CASES = (
    Case("KeepwarmGone", "it was never there", fires="No keepwarm is seen by Prometheus."),
    Case(
        "KeepwarmGone",
        "it went away",
        {"keepwarm_build_info": "1x5 stale"},
        at="10m",
        fires="No keepwarm is seen by Prometheus.",
    ),
    Case("KeepwarmGone", "it is there", {"keepwarm_build_info": "1x60"}),
    Case("KeepwarmGone", "one scrape failed", {"keepwarm_build_info": "1x5 stale 1x60"}),
    Case(
        "KeepwarmUpstreamDown",
        "Ollama stopped",
        {"keepwarm_upstream_up": "1x5 0x30"},
        at="10m",
        fires="Ollama does not answer box:11436.",
    ),
    Case("KeepwarmUpstreamDown", "Ollama was restarted", {"keepwarm_upstream_up": "1x5 0 1x30"}, at="7m"),
    Case("KeepwarmUpstreamDown", "Ollama answers", {"keepwarm_upstream_up": "1x60"}),
    Case(
        "KeepwarmColdLoadsHang",
        "ollama#17408: nothing is loaded, someone waits ever longer, warm requests pass",
        _hang("0x20 0+60x40", "0+1x20 20x40", "0+9x60"),
        fires="Cold requests at box:11436 have waited for 9m 0s, warm ones pass.",
    ),
    Case("KeepwarmColdLoadsHang", "many wait long, but loads go on", _hang("300x60", "0+1x60", "0+9x60")),
    Case("KeepwarmColdLoadsHang", "nobody waits", _hang("0x60", "20x60", "0+9x60")),
    Case("KeepwarmColdLoadsHang", "a load of a minute", _hang("0x28 20 40 60", "20x60", "0+9x60")),
    Case("KeepwarmColdLoadsHang", "Ollama answers nobody: that is another alert", _hang("300x60", "20x60", "9x60")),
    Case(
        "KeepwarmColdStartRatioHigh",
        "every other request is cold",
        _requests("0+2x60", "0+2x60"),
        at="60m",
        fires="50% of requests at box:11436 wait for a model to be loaded.",
    ),
    Case("KeepwarmColdStartRatioHigh", "one in ten is cold", _requests("0+1x60", "0+9x60"), at="60m"),
    Case(
        "KeepwarmColdStartRatioHigh",
        "a quiet hour: five requests, all cold",
        _requests("0x40 0+1x5 5x20", "0x60"),
        at="60m",
    ),
    Case("KeepwarmColdStartRatioHigh", "nobody asks for anything", _requests("7x60", "7x60"), at="60m"),
    Case(
        "KeepwarmColdStartRatioHigh",
        "the morning's first ten minutes",
        _requests("0x30 0+9x10 90x20", "0x30 0+9x50"),
        at="45m",
    ),
    Case(
        "KeepwarmThrash",
        "evicted and asked for again every five minutes",
        {f"keepwarm_regret_total,{MODEL}": "0 0 0 0 1x4 2x4 3x4 4x4 5x4 6x4 7x4 8x4 9x4"},
        at="48m",
        fires="llama3.1:8b was evicted and soon loaded again 9 times in the last hour.",
        model="llama3.1:8b",
    ),
    Case("KeepwarmThrash", "twice in an hour", {f"keepwarm_regret_total,{MODEL}": "0x10 1x20 2x60"}, at="60m"),
    Case(
        "KeepwarmThrash",
        "it was so in the morning",
        {f"keepwarm_regret_total,{MODEL}": "0+1x20 20x200"},
        at="120m",
    ),
    Case(
        "KeepwarmSpill",
        "a quarter of a model is not on the GPU",
        {
            f"keepwarm_resident_bytes,{MODEL}": "8589934592x60",
            f"keepwarm_resident_vram_bytes,{MODEL}": "6442450944x60",
        },
        fires="2GiB of llama3.1:8b are in main memory: it answers slowly.",
        model="llama3.1:8b",
    ),
    Case(
        "KeepwarmSpill",
        "all of it is on the GPU",
        {f"keepwarm_resident_bytes,{MODEL}": "8589934592x60", f"keepwarm_resident_vram_bytes,{MODEL}": "8589934592x60"},
    ),
    Case(
        "KeepwarmSpill",
        "it was mended at once",
        {
            f"keepwarm_resident_bytes,{MODEL}": "8589934592x60",
            f"keepwarm_resident_vram_bytes,{MODEL}": "6442450944x2 8589934592x57",
        },
        at="5m",
    ),
    Case(
        "KeepwarmHeadroomExhausted",
        "requests wait and nothing is free",
        _memory("2x60", "3x60"),
        fires="GPU memory behind box:11436 is exhausted: 2% of the budget is free.",
    ),
    Case(
        "KeepwarmHeadroomExhausted",
        "someone else fills the GPU",
        _memory("-10x60", "0x60"),
        fires="GPU memory behind box:11436 is exhausted: -10% of the budget is free.",
    ),
    Case("KeepwarmHeadroomExhausted", "full of models that are used, nobody waits", _memory("2x60", "0x60")),
    Case("KeepwarmHeadroomExhausted", "requests wait for a load, much is free", _memory("40x60", "3x60")),
    Case("KeepwarmHeadroomExhausted", "the budget is not known", {"keepwarm_requests_waiting": "3x60"}),
    Case(
        "KeepwarmModelCapBinds",
        "three small models alternate with a fourth",
        _cap("70x90", "3x90", "0+1x90"),
        at="60m",
        fires="Models behind box:11436 are evicted although 70% of the budget is free.",
    ),
    Case("KeepwarmModelCapBinds", "memory is what is short", _cap("10x90", "3x90", "0+1x90"), at="60m"),
    Case("KeepwarmModelCapBinds", "three models, nobody else is asked for", _cap("70x90", "3x90", "0x90"), at="60m"),
    Case("KeepwarmModelCapBinds", "two of three", _cap("70x90", "2x90", "0+1x90"), at="60m"),
    Case(
        "KeepwarmManagementFails",
        "a model that cannot be loaded is asked for again and again",
        {f"keepwarm_management_failures_total,{MODEL}": "0x20 0+1x40"},
        fires="Loads or unloads of llama3.1:8b at box:11436 fail.",
        model="llama3.1:8b",
    ),
    Case("KeepwarmManagementFails", "it failed once", {f"keepwarm_management_failures_total,{MODEL}": "0x20 1x40"}),
    Case(
        "KeepwarmSettingsRefused",
        "a mistake was saved an hour ago",
        {"keepwarm_config_last_reload_successful": "1x5 0x60"},
        at="60m",
        fires="box:11436 cannot use its settings file.",
    ),
    Case("KeepwarmSettingsRefused", "it was mended", {"keepwarm_config_last_reload_successful": "1x5 0x5 1x60"}),
    Case(
        "KeepwarmOverheadHigh",
        "one request in twenty takes 50 to 100 ms",
        _overhead("95", "5"),
        fires="box:11436 itself adds 90ms to one request in a hundred.",
    ),
    Case("KeepwarmOverheadHigh", "one in a thousand does", _overhead("999", "1")),
    Case("KeepwarmOverheadHigh", "nobody asks for anything", _overhead("0", "0")),
    Case(
        "KeepwarmStoreFailing",
        "the disk is full",
        {"keepwarm_store_up": "1x5 0x60"},
        at="10m",
        fires="box:11436 cannot write its usage history.",
    ),
    Case("KeepwarmStoreFailing", "one write failed", {"keepwarm_store_up": "1x5 0 1x60"}),
)
