"""OpenTelemetry's `propagate`, whatever OTEL_PROPAGATORS names.

That module raises as it is imported where the variable names a propagator that is not installed: an application that
never asked for it would not start. It is imported with those that are installed; the options say which are not.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points

from opentelemetry.environment_variables import OTEL_PROPAGATORS

__all__ = ["installed", "propagate"]

GROUP = "opentelemetry_propagator"


def installed(names: Sequence[str]) -> list[str]:
    """Those of these propagators that there are; `none` is one."""
    return [name for name in names if name.lower() == "none" or entry_points(group=GROUP, name=name)]


@contextmanager
def only_installed(environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Leaves the others out of OTEL_PROPAGATORS, and the variable away if none is left, for the length of the block."""
    named = environ.get(OTEL_PROPAGATORS)
    if not named:
        yield
        return
    environ[OTEL_PROPAGATORS] = ",".join(installed([name.strip() for name in named.split(",")]))
    try:
        yield
    finally:
        environ[OTEL_PROPAGATORS] = named


with only_installed():
    from opentelemetry import propagate
