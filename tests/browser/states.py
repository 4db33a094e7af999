"""Made-up states as `/state` tells them."""

from __future__ import annotations

import time
from typing import Any

GIB = 2**30


def resident(model: str = "llama3.1:8b", gib: float = 4.7, **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "bytes": int(gib * GIB),
        "vram_bytes": int(gib * GIB),
        "busy": 0,
        "kept_until": time.time() + 3000,
        "keep_alive": 3600,
        "ttl_seconds": 3600.0,
        "uses_per_hour": 31.0,
        "load_seconds": 6.2,
        "loss_seconds": 1.1,
        "worth": 0.119,
        "pinned": False,
        "leaving": None,
        "reason": "kept 1h: asked for within that time 97%, reload 6.2s, 4.7GiB, price 5ms per GiB·h",
        **more,
    }


def model(name: str, gib: float = 9.1) -> dict[str, Any]:
    bytes_ = int(gib * GIB)
    return {"model": name, "bytes": bytes_, "load_seconds": 9.9, "uses_per_hour": 0.4, "last_used_at": time.time()}


def decision(kind: str = "loaded", name: str | None = "llama3.1:8b", reason: str = "Took 6.2s.") -> dict[str, Any]:
    return {"at": time.time(), "kind": kind, "model": name, "reason": reason}


def state(**changes: Any) -> dict[str, Any]:
    """Three models, one of them in use, one load that somebody waits for."""
    residents = [
        resident(),
        resident("qwen3:8b", 5.2, busy=2),
        resident("nomic-embed-text:latest", 0.3, pinned=True, worth=None),
    ]
    residents = changes.pop("residents", residents)
    used = sum(one["vram_bytes"] for one in residents)
    return {
        "version": "0.1.0",
        "at": time.time(),
        "budget_bytes": 24 * GIB,
        "budget_source": "set in memory.budget",
        "used_bytes": used,
        "headroom_bytes": 24 * GIB - used,
        "price": 0.005,
        "settle_seconds": 0.5,
        "upstream_known": True,
        "waiting": 1,
        "in_flight": 2,
        "operation": "loading: nobody leaves",
        "residents": residents,
        "models": [*(model(one["model"]) for one in residents), model("phi4:14b"), model("gemma3:27b", 17)],
        "waits": [{"model": "phi4:14b", "requests": 1, "since": time.time() - 3, "reason": "loading"}],
        "loading": {"model": "phi4:14b", "bytes": int(9.1 * GIB), "began_at": time.time() - 3, "expected_seconds": 9.9},
        "store": {"up": True, "pending_rows": 0, "dropped_rows": 0},
        "settings": {
            "file": "/etc/keepwarm/keepwarm.yaml",
            "error": None,
            "after_restart": [],
            "reloads_ok": 2,
            "reloads_failed": 0,
            "in_force": {"policy": "adaptive", "memory.budget": "24GiB", "memory.price": "5ms"},
        },
        "decisions": [
            decision("evicted", "deepseek-r1:14b", "To make room: expected loss 75ms, reload 751ms, idle 7.8s."),
            decision(),
            decision("upstream", None, "Ollama answers; its models are managed."),
        ],
        **changes,
    }
