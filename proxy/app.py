"""Builds and wires everything, runs it until it is told to stop, and takes it down in order."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy import __version__
from proxy.domain.events import SettingsChanged
from proxy.domain.timeline import Timelines
from proxy.engine.engine import Engine
from proxy.engine.snapshot import explain, snapshot
from proxy.engine.worth import known_bytes
from proxy.observe.log import set_up_logging
from proxy.observe.metrics import Metrics
from proxy.observers import Observers
from proxy.policy import UsageBook
from proxy.server.admin import AdminSources, admin_app, state
from proxy.server.admin_guard import guard
from proxy.server.background import in_background
from proxy.server.client_port import ClientPort
from proxy.server.clock import SteadyClock
from proxy.server.dispatcher import Dispatcher
from proxy.server.feed import Feed, Pace
from proxy.server.gate import Gate
from proxy.server.listeners import client_runner, listen
from proxy.server.origins import Origins
from proxy.server.page import add_page, picture
from proxy.server.relay import Relay
from proxy.server.tls import open_certificate
from proxy.server.waiting import Waiting
from proxy.settings import SettingsError, SettingsFile, in_force, open_doors
from proxy.sim.shadow.shadow import Shadow
from proxy.store.usage import SIZES_KEY, UsageStore
from proxy.upstream.api import OllamaApi, open_session
from proxy.upstream.catalogue import Catalogue
from proxy.upstream.gpu import find_probe
from proxy.upstream.wire import UpstreamPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.domain.snapshot import SavedSnapshot
    from proxy.observe.tracing import Tracing
    from proxy.settings import Settings

_log = logging.getLogger(__name__)
_SAVE_SECONDS = 5.0
_LAG_SECONDS = 0.5
_ADMIN_CUT_SECONDS = 1.0


class App:
    """The whole proxy: one settings file, one upstream, two listeners.

    Attributes:
        client_url: where clients reach it, once it runs.
        admin_url: where its admin port is, once it runs.
    """

    def __init__(
        self,
        settings_file: SettingsFile,
        remembered: dict[str, Any] | None,
        store: UsageStore,
        simulated: SteadyClock | None = None,
    ) -> None:
        self._file = settings_file
        self._store = store
        self._metrics = Metrics(self._settings.metrics.max_models)
        self._gate = Gate(self._settings.access, on_loopback=self._settings.server.listen.is_loopback)
        self._simulated = simulated is not None
        self._clock = simulated or SteadyClock()
        self._feed = Feed(self._picture, Pace())
        self._engine = Engine(self._settings.engine(), _usage(remembered))
        timelines = Timelines()
        self._shadow = Shadow(self._engine, timelines.all_over_until)
        self._shadow.switch(on=self._settings.shadow)
        self._shadow.restore(remembered)
        self._observers = Observers(timelines, self._metrics, self._feed, self._shadow, store)
        self._restored = store.snapshot().up
        self.client_url = self.admin_url = ""

    @property
    def _settings(self) -> Settings:
        return self._file.current

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve while the context is open; on leaving, answers in flight may finish within `server.shutdown_grace`."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(open_session(settings.upstream.connect_timeout))
            api = OllamaApi(session, settings.upstream.url, self._clock)
            catalogue = Catalogue(api)
            stack.push_async_callback(catalogue.close)
            probe = None if self._simulated else await asyncio.to_thread(find_probe, settings.upstream.url)
            tracing = await _tracing(stack, settings.tracing.endpoint)
            observe = self._observers.observe
            dispatcher = self._dispatcher = Dispatcher(
                self._engine,
                api,
                catalogue,
                self._clock,
                probe,
                [observe] if tracing is None else [observe, tracing.observe],
                waiting=Waiting(lambda: self._settings.limits.waiting),
                speed=self._clock.speed,
            )
            stack.push_async_callback(dispatcher.close)
            self._metrics.config_reloaded(time.time())
            await dispatcher.observe()
            in_background(
                stack,
                dispatcher.poll(lambda: self._settings.residency.poll),
                self._save_now_and_then(),
                self._measure_lag(),
                self._file.watch(self._settings_changed, self._settings_refused),
            )
            await self._listen_for_admins(stack)
            pool = UpstreamPool(settings.upstream.url, settings.upstream.connect_timeout)
            stack.callback(pool.close)
            port = ClientPort(
                dispatcher,
                Relay(pool),
                catalogue,
                self._metrics,
                lambda: self._settings,
                self._gate,
                Origins(pool),
                tracing,
            )
            await self._listen_for_clients(stack, port)
            yield

    async def _listen_for_admins(self, stack: AsyncExitStack) -> None:
        settings = self._settings.admin
        admin = admin_app(self._admin_sources(), self._metrics, __version__)
        add_page(admin, self._feed)
        admin.middlewares.append(
            guard(lambda: self._settings.admin.token_sha256, needs_no_token=settings.needs_no_token)
        )
        runner = web.AppRunner(admin, access_log=None, shutdown_timeout=_ADMIN_CUT_SECONDS)
        self.admin_url = await listen(stack, runner, "admin.listen", settings.listen)

    async def _listen_for_clients(self, stack: AsyncExitStack, port: ClientPort) -> None:
        settings, limits = self._settings.server, self._settings.limits
        runner = client_runner(port, lambda: self._settings.limits, limits.header, self._metrics.refused)
        tls = await open_certificate(stack, settings.tls.certificate, settings.tls.key)
        grace = settings.shutdown_grace
        self.client_url = await listen(stack, runner, "server.listen", settings.listen, lambda: port.drain(grace), tls)

    async def _save_now_and_then(self) -> None:
        try:
            while True:
                await asyncio.sleep(_SAVE_SECONDS)
                await self._restore_late()
                self._save()
        finally:
            self._save()

    def _save(self) -> None:
        self._observers.catch_up()
        if self._restored:
            state = self._engine.state
            saved = self._shadow.to_state(self._clock())
            self._store.save_state({**state.usage.to_state(), SIZES_KEY: known_bytes(state), **saved})

    async def _restore_late(self) -> None:
        """Statistics that could not be read at the start must not be overwritten: they are read when that works."""
        if not self._restored:
            state = await self._store.load_state()
            self._restored = self._store.snapshot().up
            if self._restored and state is not None:
                self._engine.adopt(_usage(state))
                self._shadow.restore(state)

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_SECONDS
            await asyncio.sleep(_LAG_SECONDS)
            self._metrics.event_loop_lag(max(0.0, loop.time() - due))

    def _settings_changed(self, settings: Settings) -> None:
        set_up_logging(settings.log.level, settings.log.format, access=settings.log.access)
        late = self._file.after_restart
        _log.info("settings reloaded%s", f"; takes effect after a restart: {', '.join(late)}" if late else "")
        self._metrics.config_reloaded(time.time())
        self._gate.update(settings.access)
        self._shadow.switch(on=settings.shadow)
        self._dispatcher.post(SettingsChanged(self._clock(), settings.engine()))

    def _settings_refused(self, problems: str) -> None:
        _log.error("the settings file is not usable, the last good settings stay:\n%s", problems)
        self._metrics.config_refused()
        self._feed.changed()

    async def reload(self) -> list[str]:
        """Read the settings file again; return its problems, one a line, none if the settings are in force."""
        try:
            self._settings_changed(await self._file.reload())
        except SettingsError as error:
            self._settings_refused(str(error))
            return list(error.problems)
        return []

    def _admin_sources(self) -> AdminSources:
        return AdminSources(
            engine=lambda: snapshot(self._engine.state, self._clock()),
            store=self._store.snapshot,
            explain=lambda model: explain(self._engine.state, model, self._clock()),
            settings=self._settings_state,
            reload=self.reload,
            decisions=self._observers.recent.latest,
            saved=self._saved,
        )

    def _saved(self) -> SavedSnapshot | None:
        self._observers.catch_up()
        return self._shadow.snapshot(self._clock())

    def _picture(self) -> bytes:
        return picture(state(self._admin_sources(), __version__), self._clock.speed)

    def _settings_state(self) -> dict[str, Any]:
        return {
            "file": None if self._file.path is None else str(self._file.path),
            "error": self._file.last_error,
            "after_restart": self._file.after_restart,
            "reloads_ok": self._file.reloads_ok,
            "reloads_failed": self._file.reloads_failed,
            "in_force": in_force(self._settings),
        }


@asynccontextmanager
async def running_app(settings_file: SettingsFile, simulated: SteadyClock | None = None) -> AsyncIterator[App]:
    """Run the proxy with its usage history, and save the statistics at the end.

    Args:
        settings_file: its settings.
        simulated: the time that passes for the simulated Ollama behind it: the proxy decides by the same, and asks no
            GPU's driver; None: the Ollama is a real one.
    """
    settings = settings_file.current
    set_up_logging(settings.log.level, settings.log.format, access=settings.log.access)
    for door in open_doors(settings):
        _log.warning("%s", door)
    store = UsageStore(settings.store.path, settings.store.retention)
    await store.open()
    try:
        app = App(settings_file, await store.load_state(), store, simulated)
        async with app.running():
            yield app
    finally:
        await store.close()


async def _tracing(stack: AsyncExitStack, endpoint: str | None) -> Tracing | None:
    if endpoint is None:
        return None
    from proxy.observe.otlp import tracing_to  # noqa: PLC0415 - an extra; the settings saw that it is installed

    return await stack.enter_async_context(tracing_to(endpoint))


def _usage(state: dict[str, Any] | None) -> UsageBook:
    if state is not None:
        try:
            return UsageBook.from_state(state)
        except ValueError as error:
            _log.warning("the saved statistics are not usable, usage is learnt anew: %s", error)
    return UsageBook()
