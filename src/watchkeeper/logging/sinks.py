"""Where lines go: the writers that options ask for, each with its format."""

from __future__ import annotations

import os

from watchkeeper.logging.console import ConsoleLines
from watchkeeper.logging.file import RotatingFile
from watchkeeper.logging.line import JSON, NAMES, Format, JsonLines
from watchkeeper.logging.options import LogFormat, LogOptions
from watchkeeper.logging.writer import Writer, stream_named
from watchkeeper.options import ServiceOptions


def writers_for(options: LogOptions, service: ServiceOptions) -> list[Writer]:
    """The writers, which write nothing yet. They are one process's: a forked child needs its own."""
    writers = []
    if options.stream != "off":
        terminal = _is_terminal(options.stream)
        chosen: LogFormat = "console" if options.format == "auto" and terminal else options.format
        colours = terminal and not os.environ.get("NO_COLOR")
        writers.append(Writer(options.stream, format_named(chosen, service, colours), options.flush_seconds))
    if options.file.path:
        of_stream: LogFormat = "json" if options.format == "console" else options.format
        name = of_stream if options.file.format == "auto" else options.file.format
        file = RotatingFile(options.file)
        writers.append(Writer(file, format_named(name, service), options.flush_seconds, "file"))
    return writers


def format_named(name: LogFormat, service: ServiceOptions, colours: bool = False) -> Format:
    """The format of that name; `auto` is JSON."""
    return ConsoleLines(colours) if name == "console" else JsonLines(service, NAMES.get(name, JSON))


def _is_terminal(stream_name: str) -> bool:
    stream = stream_named(stream_name)
    return bool(stream is not None and hasattr(stream, "isatty") and stream.isatty())
