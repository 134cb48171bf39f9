"""`watchkeeper`: `run` is the SDK's and all that a base install has; every other command is the server's.

Each is imported only for its own commands: a program that is run waits for no server's libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from watchkeeper_command.run import HELP as RUN_HELP
from watchkeeper_command.run import USAGE, run

RUN = "run"
_WITHOUT_SERVER = """\
Usage: watchkeeper COMMAND [ARGUMENT...]

  Observability for Python services, whole: one import, one process.

Commands:
  run    Run a Python program with Watchkeeper in it; its code stays as it is.

The server (serve, demo) is not installed: pip install 'watchkeeper[server]'
"""


def main() -> NoReturn:
    """Runs the command line. Ends the process."""
    arguments = sys.argv[1:]
    if arguments[:1] == [RUN]:
        sys.exit(run(arguments[1:]))
    sys.exit(_serve(arguments))


def _serve(arguments: Sequence[str]) -> int:
    """The server's command line, with `run` among its commands; what to install where there is no server."""
    try:
        from watchkeeper_server.cli.commands import cli  # noqa: PLC0415  only a server has what it imports
    except ModuleNotFoundError as error:
        return _without_server(arguments, error)
    described = RUN_HELP.split("\n\n")[1].strip()
    cli.command(RUN, help=described, options_metavar="[--]", rich_help_panel=None)(_run)
    cli()
    return 0


def _run() -> None:
    """Stands in the server's help. `main` has taken the command itself."""


def _without_server(arguments: Sequence[str], error: ModuleNotFoundError) -> int:
    if not arguments or arguments[0] in {"--help", "-h"}:
        sys.stdout.write(_WITHOUT_SERVER)
        return 0
    sys.stderr.write(
        f"watchkeeper: {arguments[0]!r} is the server's, which is not installed here (there is no {error.name}):"
        " pip install 'watchkeeper[server]'\n"
    )
    return USAGE
