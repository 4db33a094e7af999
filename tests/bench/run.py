"""What keepwarm costs: `make bench` measures it beside nginx and a bare relay in interleaved rounds, in a table.

A benchmark, not a test: it says which goals hold and exits with 0 either way; a wrong answer does end it. Never
measures two things at once. docs/benchmarks.md says what the columns mean.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections import defaultdict
from pathlib import Path

import click

from tests.bench import client, report
from tests.bench.contenders import CLIENT_CORE, PROXY_CORE, Contender, all_contenders
from tests.bench.report import Figures

_HERE = Path(__file__).parent
_CONNECTIONS = 64
_REQUESTS = re.compile(r"^keepwarm_requests_total\{.*outcome=\"(\w+)\".*\} (\S+)$", re.MULTILINE)

Command = list[str | Path]


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
    click.echo(f"{report.table(medians)}\n\n{report.goals(medians)}\n\n{_conditions(rounds, seconds, outcomes)}")
    for name, figures in measured.items():
        if late := sum(each["late"] for each in figures):
            click.echo(
                f"{name}: {late:.0f} of wrk's requests took more than 2 s: was the machine busy with other things?"
            )


def _measure(contender: Contender, seconds: float) -> Figures:
    streams = _client("streams", contender, seconds)  # first: nothing of what follows is still being written down
    with contender.on_core(CLIENT_CORE):
        alone = _client("alone", contender, seconds / 2)
    apart = _client("alone", contender, seconds / 2)
    used = contender.cpu_seconds()
    count, took, late = _wrk(contender, seconds)
    used = contender.cpu_seconds() - used
    return {
        "alone_p50": alone["p50"],
        "alone_p99": alone["p99"],
        "apart_p50": apart["p50"],
        "rate": count / took,
        "late": late,
        "cpu_per_request": used / count,
        "first_p50": streams["p50"],
        "first_p99": streams["p99"],
        **_client("big", contender, seconds),
    }


def _client(what: str, contender: Contender, seconds: float) -> Figures:
    command: Command = [sys.executable, _HERE / "client.py", what, contender.url, str(seconds)]
    figures: Figures = json.loads(_output(command, contender))
    return figures


def _wrk(contender: Contender, seconds: float) -> tuple[int, float, int]:
    """Requests that were answered, in how many seconds, and how many took more than 2 s."""
    command: Command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{seconds:g}s", "-s", _HERE / "post.lua"]
    said = _output([*command, f"{contender.url}/api/chat"], contender)
    found = re.search(r"(\d+) requests in ([\d.]+)s", said)
    errors = re.search(r"Socket errors: connect 0, read 0, write 0, timeout (\d+)", said)
    if not found or "Non-2xx" in said or ("Socket errors" in said and not errors):
        raise _wrong(contender, said)
    return int(found[1]), float(found[2]), int(errors[1]) if errors else 0


def _output(command: Command, contender: Contender) -> str:
    env = {**os.environ, "BENCH_BODY": client.chat_body("quick")}
    pinned: Command = ["taskset", "-c", str(CLIENT_CORE), *command]
    ran = subprocess.run(pinned, check=False, capture_output=True, text=True, env=env)
    if ran.returncode:
        raise _wrong(contender, ran.stderr)
    return ran.stdout


def _wrong(contender: Contender, said: str) -> WrongFiguresError:
    log = contender.log.read_text(errors="replace")
    return WrongFiguresError(f"{contender.name}: {said[-2000:]}\nits log ends with:\n{log[-4000:]}")


def _outcomes(keepwarm: Contender) -> dict[str, int]:
    """What keepwarm says that it made of the requests: the figures count only if all of them were managed."""
    with urllib.request.urlopen(f"{keepwarm.admin_url}/metrics", timeout=10) as answer:  # noqa: S310 - our own address
        found = _REQUESTS.findall(answer.read().decode())
    counts: dict[str, int] = defaultdict(int)
    for outcome, count in found:
        counts[outcome] += int(float(count))
    return counts


def _medians(rounds: list[Figures]) -> Figures:
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def _conditions(rounds: int, seconds: float, outcomes: dict[str, int]) -> str:
    cores = f"contenders on core {PROXY_CORE}, clients and stand-in on core {CLIENT_CORE}"
    counted = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items())
    return (
        f"Medians of {rounds} rounds of {seconds:g} s; {cores}; load average {os.getloadavg()[0]:.1f}.\n"
        f"keepwarm counted its requests as: {counted}."
    )


if __name__ == "__main__":
    main()
