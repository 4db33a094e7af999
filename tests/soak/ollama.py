"""The simulated Ollama of the soak in a process of its own: says its port, waits for the beginning, then misbehaves.

Run as `python -m tests.soak.ollama SEED`; a line on stdin is the time (of the steady clock) at which the soak begins.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from proxy.sim.faults import Faults
from proxy.sim.server import SimulatedOllama
from tests.soak.plan import OLLAMA, Trouble, troubles


async def main(seed: int) -> None:
    """Serve until stdin ends."""
    ollama = SimulatedOllama(OLLAMA)
    url = await ollama.start()
    print(url, flush=True)  # noqa: T201 - whoever started this waits for it
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    begun_at = float(await stdin.readline())
    misbehaving = asyncio.create_task(misbehave(ollama, begun_at, seed))
    await stdin.read()
    misbehaving.cancel()
    await ollama.stop()


async def misbehave(ollama: SimulatedOllama, begun_at: float, seed: int) -> None:
    """Let everything happen that the plan says, at its time."""
    for trouble in troubles(seed):
        await asyncio.sleep(begun_at + trouble.at - time.monotonic())
        await suffer(ollama, trouble)


async def suffer(ollama: SimulatedOllama, trouble: Trouble) -> None:
    """Have one trouble from its beginning to its end."""
    if not trouble.fault.endswith("restart"):
        setattr(ollama.faults, trouble.fault, trouble.value)
        await asyncio.sleep(trouble.seconds)
        setattr(ollama.faults, trouble.fault, getattr(Faults(), trouble.fault))
        return
    port = int(ollama.url.rsplit(":", 1)[1])
    if trouble.fault.startswith("hang"):
        ollama.faults.hang = True
        await asyncio.sleep(trouble.seconds)
        ollama.faults.hang = False
    await ollama.stop()
    await asyncio.sleep(trouble.seconds)
    await ollama.start(port=port)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
