"""Sends mutated requests to the proxy for as long as one likes, and stops at the first that the upstream gets wrong.

    make fuzz, or: python tests/fuzz/heads.py --seconds 600

The seed that it prints repeats a finding: `--seed N --seconds 0` tries that one only.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from proxy.app import running_app
from proxy.settings import SettingsFile
from tests.fuzz.mutations import check, mutated
from tests.integration.conftest import settings_file
from tests.integration.recorder import recorder


async def fuzz(first: int, seconds: float) -> None:
    """Try seeds from the first on."""
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        async with recorder() as upstream:
            settings = settings_file(Path(folder), upstream.url, log={"level": "warning"})
            async with running_app(SettingsFile(settings, {})) as app:
                seed = first
                while True:
                    chance = random.Random(seed)
                    try:
                        await check(app.client_url, upstream, mutated(chance), chance)
                    except AssertionError:
                        say(f"a finding: --seed {seed} --seconds 0")
                        raise
                    seed += 1
                    if time.monotonic() >= until:
                        break
    say(f"{seed - first} requests were mutated, from seed {first} on: nothing found")


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description="Fuzz how the proxy reads clients' requests.")
    parser.add_argument("--seconds", type=float, default=300, help="how long")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; else by chance")
    asked = parser.parse_args()
    first = random.randrange(2**32) if asked.seed is None else asked.seed
    uvloop.run(fuzz(first, asked.seconds))


if __name__ == "__main__":
    main()
