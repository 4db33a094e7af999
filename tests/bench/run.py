"""What keepwarm costs: `make bench` measures it beside nginx and a bare relay, in interleaved rounds, and prints a table.

A benchmark, not a test: it says which goals hold and exits with 0 either way; a wrong answer does end it. Never measures
two things at once. docs/benchmarks.md says what the columns mean.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import click

from tests.bench import client
from tests.bench.contenders import CLIENT_CORE, PROXY_CORE, Contender, all_contenders

_HERE = Path(__file__).parent
_CONNECTIONS = 64
_ADDED_P50_SECONDS = 0.3e-3
_LATER_P99_SECONDS = 2e-3
_RATE_RATIO = 0.8
_REQUESTS = re.compile(r"^keepwarm_requests_total\{.*outcome=\"(\w+)\".*\} (\S+)$", re.MULTILINE)

Figures = dict[str, float]


class WrongFiguresError(Exception):
    """What was measured is not what should be; the text says what happened."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=5, show_default=True, help="How often everything is measured; medians count.")
@click.option("--seconds", default=4.0, show_default=True, help="Length of one measurement.")
@click.option("--quick", is_flag=True, help="1 round of 1 second: shows that everything works, not how fast.")
def main(rounds: int, seconds: float, *, quick: bool) -> None:
    """Measure added latency, requests per second, CPU, first chunks and throughput of each contender."""
    if quick:
        rounds, seconds = 1, 1.0
    measured: dict[str, list[Figures]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="keepwarm-bench-") as folder, all_contenders(Path(folder)) as contenders:
        for number in range(rounds):
            begin = number % len(contenders)  # nobody is always the first
            for contender in contenders[begin:] + contenders[:begin]:
                click.echo(f"\rround {number + 1} of {rounds}: {contender.name:<12}", err=True, nl=False)
                measured[contender.name].append(_measure(contender, seconds))
        click.echo("\r" + " " * 40 + "\r", err=True, nl=False)
        outcomes = _outcomes(contenders[-1])
    medians = {name: _medians(figures) for name, figures in measured.items()}
    click.echo(_table(medians))
    click.echo(_goals(medians))
    click.echo(_conditions(rounds, seconds, outcomes))


def _measure(contender: Contender, seconds: float) -> Figures:
    alone = _client("alone", contender, seconds / 2)
    used, began = contender.cpu_seconds(), time.monotonic()
    count = _wrk(contender, seconds)
    used, took = contender.cpu_seconds() - used, time.monotonic() - began
    streams = _client("streams", contender, seconds)
    return {
        "alone_p50": alone["p50"],
        "alone_p99": alone["p99"],
        "rate": count / seconds,
        "cpu_per_request": used / count,
        "cpu_share": used / took,
        "first_p50": streams["p50"],
        "first_p99": streams["p99"],
        **_client("big", contender, seconds),
    }


def _client(what: str, contender: Contender, seconds: float) -> Figures:
    command = ["taskset", "-c", str(CLIENT_CORE), sys.executable, _HERE / "client.py", what, contender.url, str(seconds)]
    figures: Figures = json.loads(_output(command, contender))
    return figures


def _wrk(contender: Contender, seconds: float) -> int:
    """Requests that were answered within so many seconds."""
    command = ["taskset", "-c", str(CLIENT_CORE), "wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds:g}s"]
    said = _output([*command, "-s", _HERE / "post.lua", f"{contender.url}/api/chat"], contender)
    found = re.search(r"(\d+) requests in", said)
    if not found or "Non-2xx" in said or "Socket errors" in said:
        raise WrongFiguresError(f"wrk on {contender.name}:\n{said}")
    return int(found[1])


def _output(command: list[str | Path], contender: Contender) -> str:
    env = {**os.environ, "BENCH_BODY": client.chat_body("quick")}
    ran = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    if ran.returncode:
        raise WrongFiguresError(f"{contender.name}: {ran.stderr[-2000:]}")
    return ran.stdout


def _outcomes(keepwarm: Contender) -> dict[str, int]:
    """What keepwarm says that it made of the requests: the figures count only if all of them were managed."""
    with urllib.request.urlopen(f"{keepwarm.admin_url}/metrics", timeout=10) as answer:
        found = _REQUESTS.findall(answer.read().decode())
    counts: dict[str, int] = defaultdict(int)
    for outcome, count in found:
        counts[outcome] += int(float(count))
    return counts


def _medians(rounds: list[Figures]) -> Figures:
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def _table(medians: dict[str, Figures]) -> str:
    lines = [
        "             one connection, ms        64 connections                   64 paced streams, ms      one big stream",
        "             p50    added  p99         requests/s  CPU us  to direct  to bare   first p50  p99    later p99  MB/s  to bare",
    ]
    direct, bare = medians["direct"], medians["bare relay"]
    for name, own in medians.items():
        lines.append(
            f"{name:<12} {own['alone_p50'] * 1e3:.3f}  {(own['alone_p50'] - direct['alone_p50']) * 1e3:.3f}"
            f"  {own['alone_p99'] * 1e3:<10.3f}  {own['rate']:>10,.0f}  {own['cpu_per_request'] * 1e6:>6.0f}"
            f"  {own['rate'] / direct['rate']:>9.2f}  {own['rate'] / bare['rate']:>7.2f}"
            f"   {own['first_p50'] * 1e3:>9.2f}  {own['first_p99'] * 1e3:<5.2f}"
            f"  {(own['first_p99'] - direct['first_p99']) * 1e3:>9.2f}"
            f"  {own['bytes_per_second'] / 1e6:>5,.0f}  {own['bytes_per_second'] / bare['bytes_per_second']:>7.2f}"
        )
    return "\n".join(lines)


def _goals(medians: dict[str, Figures]) -> str:
    direct, bare, own = medians["direct"], medians["bare relay"], medians["keepwarm"]
    added = own["alone_p50"] - direct["alone_p50"]
    later = own["first_p99"] - direct["first_p99"]
    ratio = own["rate"] / bare["rate"]
    lines = (
        (added <= _ADDED_P50_SECONDS, f"added p50 alone {added * 1e3:.3f} ms", f"<= {_ADDED_P50_SECONDS * 1e3:g} ms"),
        (later <= _LATER_P99_SECONDS, f"first chunk p99 {later * 1e3:.2f} ms later", f"<= {_LATER_P99_SECONDS * 1e3:g} ms"),
        (ratio >= _RATE_RATIO, f"requests/s {ratio:.2f} of the bare relay's", f">= {_RATE_RATIO}"),
    )
    return "\n" + "\n".join(f"{'holds ' if holds else 'MISSED'}  {figure} (goal: {goal})" for holds, figure, goal in lines)


def _conditions(rounds: int, seconds: float, outcomes: dict[str, int]) -> str:
    cores = "one core for both, so costs add up" if CLIENT_CORE == PROXY_CORE else "clients and stand-in on another core"
    counted = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items())
    return (
        f"\nmedians of {rounds} rounds of {seconds:g} s; contender on core {PROXY_CORE}, {cores}; "
        f"load average {os.getloadavg()[0]:.1f}\nkeepwarm counted its requests as: {counted}"
    )


if __name__ == "__main__":
    main()
