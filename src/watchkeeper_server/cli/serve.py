"""`watchkeeper serve`: run a server until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys

import uvloop

from watchkeeper_server.app import App
from watchkeeper_server.freed_memory import keep_freed_memory
from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.options import Options
from watchkeeper_server.telemetry import logger
from watchkeeper_server.without_pandas import spare_pandas

# What is said of an address, by the option that gives it.
_LISTENING = {
    "--listen": "page and API http://{}",
    "--otlp-http": "OTLP/HTTP http://{}",
    "--otlp-grpc": "OTLP/gRPC {}",
}


def run_server(options: Options) -> int:
    """Serve until SIGINT or SIGTERM; answers the exit code."""
    spare_pandas()
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        uvloop.run(_serve(options))
    except WatchkeeperError as error:
        sys.stderr.write(f"watchkeeper: {error}\n")
        return 1
    return 0


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app = App(options)
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.create_task(app.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    await app.start()
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        listening = [_LISTENING[option].format(address) for option, address in app.addresses.items()]
        logger.info("ready; data in %s; %s", options.data, "; ".join(listening))
        await stop.wait()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await app.stop()
    logger.info("stopped")
