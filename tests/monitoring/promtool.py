"""Prometheus' own checker of rules, configurations and metrics."""

import subprocess
from pathlib import Path


def promtool(*arguments: str | Path, stdin: bytes = b"") -> str:
    """Run it; what it says, which must not be that something is wrong."""
    done = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, check=False, timeout=30)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
