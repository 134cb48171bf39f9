"""OpenTelemetry's instrumentation packages, switched on and off."""

from __future__ import annotations

import importlib
import os
from typing import Any

from watchkeeper.tracing.api import Origin
from watchkeeper.tracing.tracer import Tracer


class Instrumentation:
    """One instrumentor of an optional package."""

    def __init__(self, extra: str, module: str, instrumentor: str) -> None:
        self._extra = extra
        self._module = module
        self._name = instrumentor
        self._active: Any = None

    def install(self) -> None:
        """Switches it on, once. An application that did so itself keeps what it has."""
        if self._active is not None:
            return
        # Names as everywhere else here: the packages still default to the conventions of 2023.
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http,database")
        try:
            instrumentor = getattr(importlib.import_module(self._module), self._name)()
        except ImportError as error:
            raise ImportError(
                f"{self._extra} is instrumented by {self._module}: pip install 'watchkeeper[{self._extra}]'"
            ) from error
        if instrumentor.is_instrumented_by_opentelemetry:
            return
        tracer = Origin.tracer
        # Their upper bounds lag behind releases that work: the tests here run against the newest.
        instrumentor.instrument(
            skip_dep_check=True, **({"tracer_provider": tracer.provider} if isinstance(tracer, Tracer) else {})
        )
        self._active = instrumentor

    def uninstall(self) -> None:
        """Switches it off, if `install` switched it on."""
        if self._active is not None:
            self._active.uninstrument()
            self._active = None
