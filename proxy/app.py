"""Builds and wires everything, runs it until it is told to stop, and takes it down in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy import __version__
from proxy.domain.events import Happening, ResidentsObserved, ResidentsUnknown, ResponseStarted, SettingsChanged
from proxy.domain.timeline import Timelines
from proxy.engine.engine import Engine
from proxy.engine.snapshot import explain, snapshot
from proxy.observe.decisions import DecisionLog
from proxy.observe.log import set_up_logging
from proxy.observe.metrics import Metrics
from proxy.policy import UsageBook
from proxy.server.admin import AdminSources, admin_app
from proxy.server.admin_guard import guard
from proxy.server.client_port import ClientPort
from proxy.server.clock import SteadyClock
from proxy.server.dispatcher import Dispatcher
from proxy.server.gate import Gate
from proxy.server.listeners import client_runner, listen
from proxy.server.origins import Origins
from proxy.server.relay import Relay
from proxy.server.tls import Certificate
from proxy.server.waiting import Waiting
from proxy.settings import SettingsError, SettingsFile, open_doors
from proxy.store.recorder import request_row
from proxy.store.usage import UsageStore
from proxy.upstream.api import OllamaApi, open_session
from proxy.upstream.catalogue import Catalogue
from proxy.upstream.gpu import find_probe
from proxy.upstream.wire import UpstreamPool

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from proxy.domain.effects import Effect
    from proxy.settings import Settings

_log = logging.getLogger(__name__)
_SAVE_SECONDS = 5.0
_LAG_SECONDS = 0.5


class App:
    """The whole proxy: one settings file, one upstream, two listeners.

    Attributes:
        client_url: where clients reach it, once it runs.
        admin_url: where its admin port is, once it runs.
    """

    def __init__(self, settings_file: SettingsFile, usage: UsageBook, store: UsageStore, clock: SteadyClock) -> None:
        self._file = settings_file
        self._store = store
        self._metrics = Metrics(self._settings.metrics.max_models)
        self._timelines = Timelines()
        self._decisions = DecisionLog()
        self._clock = clock
        access, listen_on = self._settings.access, self._settings.server.listen
        self._gate = Gate(access, on_loopback=listen_on.is_loopback)
        self._engine = Engine(self._settings.engine(), usage)
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
            probe = await asyncio.to_thread(find_probe, settings.upstream.url)
            dispatcher = self._dispatcher = Dispatcher(
                self._engine,
                api,
                catalogue,
                self._clock,
                probe,
                observers=[self._observe],
                waiting=Waiting(lambda: self._settings.limits.waiting),
            )
            stack.push_async_callback(dispatcher.close)
            self._metrics.config_reloaded(time.time())
            await dispatcher.observe()
            await self._background(
                stack,
                dispatcher.poll(lambda: self._settings.residency.poll),
                self._save_now_and_then(),
                self._measure_lag(),
                self._file.watch(self._settings_changed, self._settings_refused),
            )
            admin = admin_app(self._admin_sources(), self._metrics, __version__)
            admin.middlewares.append(
                guard(lambda: self._settings.admin.token_sha256, needs_no_token=settings.admin.needs_no_token)
            )
            self.admin_url = await listen(
                stack, web.AppRunner(admin, access_log=None), "admin.listen", settings.admin.listen
            )
            pool = UpstreamPool(settings.upstream.url, settings.upstream.connect_timeout)
            stack.callback(pool.close)
            await self._listen_for_clients(stack, dispatcher, pool, catalogue)
            yield

    async def _listen_for_clients(
        self, stack: AsyncExitStack, dispatcher: Dispatcher, pool: UpstreamPool, catalogue: Catalogue
    ) -> None:
        settings, metrics = self._settings, self._metrics
        port = ClientPort(
            dispatcher,
            Relay(pool),
            catalogue,
            metrics,
            lambda: self._settings.limits.json_body,
            self._gate,
            Origins(pool),
        )
        runner = client_runner(port, settings.limits.header, lambda: self._settings.limits.connections, metrics.refused)
        tls = await self._certificate(stack, settings)
        grace = settings.server.shutdown_grace
        self.client_url = await listen(
            stack, runner, "server.listen", settings.server.listen, lambda: port.drain(grace), tls
        )

    async def _certificate(self, stack: AsyncExitStack, settings: Settings) -> ssl.SSLContext | None:
        files = settings.server.tls
        if files.certificate is None or files.key is None:
            return None
        certificate = await asyncio.to_thread(Certificate, files.certificate, files.key)
        await self._background(stack, certificate.watch())
        return certificate.context

    def _observe(self, event: Happening, effects: Sequence[Effect]) -> None:
        finished = self._timelines.observe(event, effects)
        if isinstance(event, ResponseStarted):
            return
        self._metrics.observe(event, effects, finished)
        self._decisions.observe(event, effects)
        for request in finished:
            self._store.record(request_row(request))
        if isinstance(event, ResidentsObserved | ResidentsUnknown):
            self._metrics.upstream_up(up=isinstance(event, ResidentsObserved))

    async def _background(self, stack: AsyncExitStack, *work: Coroutine[Any, Any, None]) -> None:
        """Run these until the stack is closed; whatever fails in one of them is raised there."""
        tasks = [asyncio.create_task(each) for each in work]
        for task in tasks:
            task.add_done_callback(_log_failure)

        async def stop() -> None:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        stack.push_async_callback(stop)

    async def _save_now_and_then(self) -> None:
        try:
            while True:
                await asyncio.sleep(_SAVE_SECONDS)
                await self._restore_late()
                self._save()
        finally:
            self._save()

    def _save(self) -> None:
        if self._restored:
            self._store.save_state(self._engine.state.usage.to_state())

    async def _restore_late(self) -> None:
        """Statistics that could not be read at the start must not be overwritten: they are read when that works."""
        if not self._restored:
            state = await self._store.load_state()
            self._restored = self._store.snapshot().up
            if self._restored and state is not None:
                self._engine.adopt(_usage(state))

    async def _measure_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_SECONDS
            await asyncio.sleep(_LAG_SECONDS)
            self._metrics.event_loop_lag(max(0.0, loop.time() - due))

    def _settings_changed(self, settings: Settings) -> None:
        set_up_logging(settings.log.level, settings.log.format)
        late = self._file.after_restart
        _log.info("settings reloaded%s", f"; takes effect after a restart: {', '.join(late)}" if late else "")
        self._metrics.config_reloaded(time.time())
        self._gate.update(settings.access)
        self._dispatcher.post(SettingsChanged(self._clock(), settings.engine()))

    def _settings_refused(self, problems: str) -> None:
        _log.error("the settings file is not usable, the last good settings stay:\n%s", problems)
        self._metrics.config_refused()

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
        )

    def _settings_state(self) -> dict[str, Any]:
        return {
            "file": None if self._file.path is None else str(self._file.path),
            "error": self._file.last_error,
            "after_restart": self._file.after_restart,
            "reloads_ok": self._file.reloads_ok,
            "reloads_failed": self._file.reloads_failed,
        }


@asynccontextmanager
async def running_app(settings_file: SettingsFile, clock: SteadyClock | None = None) -> AsyncIterator[App]:
    """Run the proxy with its usage history, and save the statistics at the end; a simulation brings its own clock."""
    settings = settings_file.current
    set_up_logging(settings.log.level, settings.log.format)
    for door in open_doors(settings):
        _log.warning("%s", door)
    store = UsageStore(settings.store.path, settings.store.retention)
    await store.open()
    try:
        app = App(settings_file, _usage(await store.load_state()), store, clock or SteadyClock())
        async with app.running():
            yield app
    finally:
        await store.close()


def _usage(state: dict[str, Any] | None) -> UsageBook:
    if state is not None:
        try:
            return UsageBook.from_state(state)
        except ValueError as error:
            _log.warning("the saved statistics are not usable, usage is learnt anew: %s", error)
    return UsageBook()


async def serve_until_stopped(app: App) -> None:
    """Return when the process is asked to stop; SIGHUP reloads the settings meanwhile."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    reloads: set[asyncio.Task[list[str]]] = set()

    def reload() -> None:
        task = loop.create_task(app.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await stop.wait()
    await asyncio.gather(*reloads, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("a background task failed: this is a bug in keepwarm", exc_info=task.exception())
