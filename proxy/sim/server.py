"""A simulated Ollama that anyone can start: the API over the simulated scheduler; needs no GPU, and no model files."""

from __future__ import annotations

import functools
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.sim import native, openai
from proxy.sim.answers import answer, embed
from proxy.sim.anthropic import MessagesApi
from proxy.sim.ask import ApiError
from proxy.sim.catalog import MIB, Catalog
from proxy.sim.clock import Clock
from proxy.sim.faults import Faults
from proxy.sim.hosts import host_allowed
from proxy.sim.library import Library
from proxy.sim.machine import Machine, Tally
from proxy.sim.openai import openai_error
from proxy.sim.responses import ResponsesApi
from proxy.sim.scheduler import Scheduler
from proxy.sim.site import SimulatedOllamaOptions, Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.typedefs import Handler, Middleware

    from proxy.sim.ask import Api

_REQUESTS_KEPT = 1000
_BODY_LIMIT = 1 << 30  # Ollama has none
_SHUTDOWN_SECONDS = 0.1  # Ollama cuts its connections when it is told to stop
_APIS: tuple[tuple[str, Api], ...] = (
    ("/api/generate", native.GenerateApi()),
    ("/api/chat", native.ChatApi()),
    ("/v1/chat/completions", openai.ChatCompletionApi()),
    ("/v1/completions", openai.CompletionApi()),
    ("/v1/responses", ResponsesApi()),
    ("/v1/messages", MessagesApi()),
)


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in; the body of a blob is left out."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class SimulatedOllama:
    """One simulated Ollama.

    Start it with `start` (any loop, port 0 takes a free one), or serve `app()` with a runner of your own, which must
    cancel handlers when their clients leave (`handler_cancellation=True`), as Ollama does.

    Attributes:
        faults: Switches to make it misbehave, at any time.
        tally: Loads, evictions, unloads, spills so far, by model.
        requests: The last 1000 requests.
        url: Where it answers, without a slash at the end; empty before `start`.
    """

    def __init__(self, options: SimulatedOllamaOptions | None = None) -> None:
        self.options = options or SimulatedOllamaOptions()
        self.faults = Faults()
        self.tally = Tally()
        self.requests: deque[Received] = deque(maxlen=_REQUESTS_KEPT)
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._machine: Machine | None = None

    def app(self) -> web.Application:
        """The application, on a machine of its own with nothing loaded; needs a running event loop."""
        app = web.Application(middlewares=[_outer(self.requests)], client_max_size=_BODY_LIMIT)
        options = self.options
        catalog = Catalog(options.models, options.load_mib_per_second, options.load_overhead_seconds)
        rng = random.Random(options.seed)  # noqa: S311  a simulation
        scheduler = Scheduler(options.scheduler_options(), rng, self.faults.failing_loads)
        machine = self._machine = Machine(scheduler, Clock(options.speed), self.tally)
        site = Site(options, catalog, machine, self.faults)
        app.add_routes(Library(site).routes())
        app.add_routes([web.post(path, functools.partial(answer, site, api)) for path, api in _APIS])
        app.add_routes(
            [
                web.post("/api/embed", functools.partial(_embed, site)),
                web.post("/api/embeddings", functools.partial(_embeddings, site)),
                web.post("/v1/embeddings", functools.partial(_openai_embeddings, site)),
            ]
        )

        async def close_machine(_: web.Application) -> AsyncIterator[None]:
            yield
            machine.close()

        app.cleanup_ctx.append(close_machine)
        return app

    def free_bytes(self) -> int:
        """Free GPU memory as its driver tells it; all of it before there is an application."""
        return self._machine.free_bytes() if self._machine is not None else self.options.gpu_mib * MIB

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Starts it; gives its URL. A machine that was stopped starts again with nothing loaded.

        Raises:
            OSError: The port is taken.
        """
        self._runner = web.AppRunner(
            self.app(), handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS, access_log=None
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        address = self._runner.addresses[0]
        self.url = f"http://{address[0]}:{address[1]}"
        return self.url

    async def stop(self) -> None:
        """Stops it, and cuts what is in flight; nothing if it does not run."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def _outer(requests: deque[Received]) -> Middleware:
    @web.middleware
    async def outer(request: web.Request, handler: Handler) -> web.StreamResponse:
        body = b"" if request.path.startswith("/api/blobs/") else await request.read()
        requests.append(Received(request.method, request.path_qs, request.headers.copy(), body))
        if not host_allowed(request.headers.get("Host", "")):
            return web.Response(status=403)
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return web.Response(status=404, text="404 page not found")
        except web.HTTPMethodNotAllowed as error:
            return web.Response(status=405, text="405 method not allowed", headers={"Allow": error.headers["Allow"]})

    return outer


async def _embed(site: Site, http: web.Request) -> web.Response:
    try:
        ask = native.read_embed(await http.read())
        embedded = await embed(site, ask)
    except ApiError as error:
        return web.json_response(native.plain_error(error), status=error.status)
    timings = embedded.timings.native() if ask.texts else {}
    timings.pop("prompt_eval_duration", None)
    return web.json_response({"model": ask.model, "embeddings": embedded.vectors} | timings)


async def _embeddings(site: Site, http: web.Request) -> web.Response:
    try:
        embedded = await embed(site, native.read_embeddings(await http.read()))
    except ApiError as error:
        return web.json_response(native.plain_error(error), status=error.status)
    return web.json_response({"embedding": embedded.vectors[0] if embedded.vectors else []})


async def _openai_embeddings(site: Site, http: web.Request) -> web.Response:
    try:
        ask, in_base64 = openai.read_embed(await http.read())
        embedded = await embed(site, ask)
    except ApiError as error:
        body = native.plain_error(error) if error.plain else openai_error(error)
        return web.json_response(body, status=error.status)
    answer_body = openai.write_embed(ask.model, embedded.vectors, ask.prompt_tokens, in_base64=in_base64)
    return web.json_response(answer_body)
