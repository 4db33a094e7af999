"""What keepwarm saves: `make gain` sends the same requests to Ollama directly and through keepwarm, and compares.

Each way has a fresh real Ollama 0.32.15 of its own with the same pretended GPU of 24 GiB, the same eight models and
Ollama's default settings, and they run side by side: a pretended load is a sleep. Never touches another Ollama or
keepwarm. docs/benchmarks.md says what is measured.
"""

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import click

from tests.bench import ollama_log, workload
from tests.bench.replay import Sent, replay
from tests.e2e.keepwarm_process import Keepwarm, KeepwarmProcessError
from tests.e2e.ollama_build.install import install_ollama
from tests.e2e.ollama_build.model_template import STANDARD_MODELS
from tests.e2e.real_ollama import RealOllama, RealOllamaOptions

_MODELS = tuple(dataclasses.replace(model, eos=0) for model in STANDARD_MODELS if model.kind == "llm")
_DIRECT = "direct"
_SHORT_ANSWERS = (20, 60, 200)  # tokens, at about 2,000 a second
_LONG_ANSWERS = (100, 600, 2500)  # so that answers overlap
_HEAD = "seed  way        loads  spills  evicted by Ollama  expired  errors  waited: sum s   mean s   p95 s  of direct"
_PROGRESS_SECONDS = 1.0 if sys.stderr.isatty() else 30.0


class Way:
    """One way to send the requests of one seed: to an Ollama of its own, directly or through keepwarm."""

    def __init__(
        self, name: str, seed: int, requests: Sequence[Sequence[workload.Request]], folder: Path, load_mib_per_s: int
    ) -> None:
        self.name, self.seed = name, seed
        self._options = RealOllamaOptions(load_mib_per_s=load_mib_per_s)
        self.sent: list[Sent] = []
        self.problems: list[str] = []
        self._requests = requests
        self._folder = folder / f"seed{seed}-{name}"
        self._url = ""

    async def prepare(self, stack: AsyncExitStack, build: Path) -> None:
        """Start what it needs; `stack` stops it."""
        self._folder.mkdir()
        self._ollama = RealOllama(build, self._folder / "ollama", self._options)
        stack.push_async_callback(self._ollama.stop)
        await self._ollama.start()
        await self._ollama.add(*_MODELS)
        self._url = self._ollama.url
        if self.name != _DIRECT:
            keepwarm = Keepwarm(self._url, self._folder, {"policy": self.name, "log": {"level": "info"}})
            stack.callback(keepwarm.kill)
            await keepwarm.start()
            stack.push_async_callback(self._stop, keepwarm)
            self._url = keepwarm.url

    async def _stop(self, keepwarm: Keepwarm) -> None:
        try:
            await keepwarm.stop()
        except KeepwarmProcessError as error:  # what was measured is worth reading all the same
            self.problems.append(str(error))

    async def run(self) -> None:
        """Send everything."""
        await replay(self._url, self._requests, self.sent.append)
        self.residency = ollama_log.read(self._ollama.log.read_text(errors="replace"))

    @property
    def waited(self) -> float:
        """Seconds waited by all requests together."""
        return sum(sent.waited for sent in self.sent)

    def keep(self, folder: Path) -> None:
        """Copy its logs and its requests to `folder`."""
        for log in (*self._folder.glob("*.log"), self._ollama.log):
            shutil.copyfile(log, folder / f"{self._folder.name}-{log.name}")
        lines = (json.dumps(dataclasses.asdict(sent)) for sent in self.sent)
        (folder / f"{self._folder.name}-requests.jsonl").write_text("\n".join(lines) + "\n")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", default=300, show_default=True, help="Requests per seed.")
@click.option("--seed", "seeds", multiple=True, default=(1, 2), show_default=True, help="May be given several times.")
@click.option(
    "--users",
    "crowds",
    multiple=True,
    type=click.IntRange(min=1),
    default=(1, 3),
    show_default=True,
    help="Several users overlap; their answers are longer. May be repeated.",
)
@click.option("--pause-factor", default=1.0, show_default=True, help="Makes all pauses so many times as long.")
@click.option("--load-speed", default=4096, show_default=True, help="What a load reads, in MiB per second.")
@click.option("--policy", "policies", multiple=True, default=("adaptive",), show_default=True, help="May be repeated.")
@click.option("--quick", is_flag=True, help="40 requests of one seed: shows that everything works.")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Folder for logs and single requests.")
def main(
    requests: int,
    seeds: Sequence[int],
    crowds: Sequence[int],
    pause_factor: float,
    load_speed: int,
    policies: Sequence[str],
    *,
    quick: bool,
    keep: Path | None,
) -> None:
    """Send the same requests directly and through keepwarm, and compare."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # as by Ctrl-C: what was started is stopped
    if quick:
        requests, seeds, crowds = 40, seeds[:1], crowds[:1]
    names = (_DIRECT, *policies)
    measured: list[Way] = []
    for users in crowds:
        plan = workload.Plan(requests, users, pause_factor, _SHORT_ANSWERS if users == 1 else _LONG_ANSWERS)
        # Short answers leave the CPU idle, so all seeds run at once; generating at length would not.
        batches = [seeds] if users == 1 else [[seed] for seed in seeds]
        folder = keep and keep / f"users{users}"
        ways = [way for batch in batches for way in asyncio.run(_measure(plan, batch, names, folder, load_speed))]
        click.echo("\n".join(_table(ways, plan)))
        _echo_problems(ways)
        measured += ways
    if len(crowds) > 1:
        click.echo("\n".join(["\nAll of it together", _HEAD, *_sums(measured)]))


def _echo_problems(ways: Sequence[Way]) -> None:
    for way in ways:
        failed = [f"{sent.model} at {sent.at:.0f} s: {sent.error}" for sent in way.sent if sent.error]
        for problem in failed + way.problems:
            click.echo(f"error: seed {way.seed}, {way.name}: {problem}")


async def _measure(
    plan: workload.Plan, seeds: Sequence[int], names: Sequence[str], keep: Path | None, load_speed: int
) -> list[Way]:
    planned = {seed: plan.of_seed([model.name for model in _MODELS], seed) for seed in seeds}
    build = await asyncio.to_thread(install_ollama)
    with tempfile.TemporaryDirectory(prefix="keepwarm-gain-", ignore_cleanup_errors=True) as folder:
        ways = [Way(name, seed, planned[seed], Path(folder), load_speed) for seed in seeds for name in names]
        async with AsyncExitStack() as stack:
            for way in ways:
                await way.prepare(stack, build)
            began, busy_before = time.monotonic(), _busy_seconds()
            progress = asyncio.create_task(_show_progress(ways, plan.requests))
            await asyncio.gather(*(way.run() for way in ways))
            progress.cancel()
            took = time.monotonic() - began
            share = (_busy_seconds() - busy_before) / took / (os.cpu_count() or 1)
            click.echo(f"\nseeds {', '.join(map(str, seeds))}: {took:.0f} s, the whole machine's CPU {share:.0%} busy")
        if keep is not None:
            await asyncio.to_thread(_keep, ways, keep)
    return ways


def _keep(ways: Sequence[Way], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for way in ways:
        way.keep(folder)


async def _show_progress(ways: Sequence[Way], requests: int) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        counts = ", ".join(f"{way.name} {way.seed}: {len(way.sent)}" for way in ways)
        click.echo(
            f"\r{time.monotonic() - began:4.0f} s, of {requests} requests {counts} ",
            err=True,
            nl=not sys.stderr.isatty(),
        )


def _busy_seconds() -> float:
    """CPU time of the whole machine since it started, on all cores, neither idle nor waiting for a disk."""
    fields = [int(text) for text in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _table(ways: Sequence[Way], plan: workload.Plan) -> list[str]:
    lines = [f"\n{plan.requests} requests per seed, users: {plan.users}, pauses x {plan.pause_factor:g}", _HEAD]
    direct = {way.seed: way for way in ways if way.name == _DIRECT}
    lines += [_line(str(way.seed), [way], [direct[way.seed]]) for way in ways]
    return lines + (_sums(ways) if len(direct) > 1 else [])


def _sums(ways: Sequence[Way]) -> list[str]:
    """One line for each way to send them."""
    direct = [way for way in ways if way.name == _DIRECT]
    names = dict.fromkeys(way.name for way in ways)
    return [_line("all", [way for way in ways if way.name == name], direct) for name in names]


def _line(seed: str, ways: Sequence[Way], direct: Sequence[Way]) -> str:
    waits = [sent.waited for way in ways for sent in way.sent]
    total = sum(waits)
    found = [way.residency for way in ways]
    return (
        f"{seed:<4}  {ways[0].name:<9}  {sum(each.loads for each in found):>5}  {sum(each.spills for each in found):>6}"
        f"  {sum(each.evictions for each in found):>17}  {sum(each.expiries for each in found):>7}"
        f"  {sum(bool(sent.error) for way in ways for sent in way.sent):>6}  {total:>13.1f}  {total / len(waits):>7.2f}"
        f"  {statistics.quantiles(waits, n=20)[18]:>6.2f}  {total / sum(way.waited for way in direct):>9.2f}"
    )


if __name__ == "__main__":
    main()
