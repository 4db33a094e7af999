"""Fuzzes ModelBody with atheris: whatever the bytes, it reads them as Go does and changes none but keep_alive's.

    make fuzz, or: python tests/fuzz/bodies.py --seconds 600

A finding stops it and is kept in build/fuzz; `python tests/fuzz/bodies.py --again FILE` repeats it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import atheris

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["proxy.upstream.body", "proxy.domain.units"]):
    from proxy.domain.model import Endpoint
    from proxy.upstream import body  # noqa: F401 - instrumented because it is imported here first
from tests.property.go_reader import judge  # noqa: E402 - it imports the former

ENDPOINTS = list(Endpoint)
KEEP_ALIVES = [-1, 0, 7, 300, 10**9]
FINDINGS = ROOT / "build" / "fuzz"
SLOW_SECONDS, MOST_BYTES, MOST_MEMORY_MIB = 10, 8192, 2048


def judge_one(content: bytes) -> None:
    """Choose endpoint and keep_alive by the length, so that a finding needs nothing but its bytes."""
    judge(ENDPOINTS[len(content) % len(ENDPOINTS)], content, KEEP_ALIVES[len(content) % len(KEEP_ALIVES)])


def main() -> None:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description="Fuzz how the bodies of model requests are read and written.")
    parser.add_argument("--seconds", type=int, default=300, help="how long; 0: until there is a finding")
    parser.add_argument("--again", type=Path, help="a finding to repeat")
    asked = parser.parse_args()
    if asked.again:
        judge_one(asked.again.read_bytes())
        return
    found = FINDINGS / "bodies"
    found.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": asked.seconds,
        "timeout": SLOW_SECONDS,
        "max_len": MOST_BYTES,
        "rss_limit_mb": MOST_MEMORY_MIB,
        "dict": HERE / "bodies.dict",
        "artifact_prefix": f"{FINDINGS}/",
        "print_final_stats": 1,
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(found), str(HERE / "bodies")], judge_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
