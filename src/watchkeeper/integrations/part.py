"""Requests as a part of the SDK, and libraries as another: what middlewares need, and who is instrumented by itself."""

from __future__ import annotations

import re
from collections.abc import Callable

from watchkeeper.endpoints import answering
from watchkeeper.health.monitor import monitor as health_monitor
from watchkeeper.integrations.catalogue import catalogue
from watchkeeper.integrations.exchange import Settings
from watchkeeper.logging.redaction import Redaction
from watchkeeper.metrics.http import http_metrics
from watchkeeper.metrics.runtime import runtime
from watchkeeper.parts import Part, Wiring
from watchkeeper.tracing.api import Origin, provider
from watchkeeper.tracing.propagation import STANDARD_PROPAGATORS

STOPPING_SECONDS = 1.5  # for what waits when a server stops


class Requests(Part):
    """What all middlewares share."""

    def __init__(self) -> None:
        self.settings = Settings(http_metrics, Origin.tracer, provider.ids)

    def wire(self, wiring: Wiring) -> None:
        """Lets instrumented applications work, with these options."""
        traces, propagators = wiring.options.traces, wiring.options.propagators
        settings = self.settings
        settings.tracer = Origin.tracer
        settings.clock = wiring.clock
        settings.ids = wiring.ids
        settings.excluded_prefixes = traces.excluded_prefixes
        patterns = traces.excluded_urls
        settings.excluded_urls = re.compile("|".join(f"(?:{pattern})" for pattern in patterns)) if patterns else None
        settings.redaction = Redaction(wiring.options.logs.redaction)
        settings.standard_propagators = propagators == STANDARD_PROPAGATORS
        settings.on_server_start = lambda: _server_started(wiring.adopt)
        settings.on_server_stop = lambda: wiring.flush(STOPPING_SECONDS)
        settings.on_lifespan = health_monitor.lifespan
        settings.enabled = True

    def adopt(self) -> None:
        """Follows the provider that the application has installed meanwhile."""
        self.settings.tracer = Origin.tracer

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """Middlewares step aside."""
        self.settings.enabled = False

    def after_fork(self) -> None:
        """A child answers with threads of its own."""
        answering.restart()


class Libraries(Part):
    """Integrations of libraries, installed as soon as the application has imported one."""

    def wire(self, wiring: Wiring) -> None:
        """Notes which are wanted."""
        catalogue.want(wiring.options.integrations)

    def adopt(self) -> None:
        """Installs those whose library is there."""
        catalogue.install_imported()

    def every_round(self) -> None:
        """Likewise: an import that another thread had begun when `wire` was told has ended by now."""
        catalogue.install_imported()

    def unwire(self, timeout_seconds: float) -> None:  # noqa: ARG002
        """Gives the libraries back as they were."""
        catalogue.want(())

    def after_fork(self) -> None:
        """A child may install more."""
        catalogue.after_fork()


def _server_started(adopt: Callable[[], None]) -> None:
    adopt()
    runtime.watch_loop()
    health_monitor.server_started()


requests = Requests()
libraries = Libraries()
