"""`watchkeeper` with other limits than its own: `limited_server.py '{"receive": {"body_bytes": 1000}}' serve …`."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from watchkeeper_server.cli import commands
from watchkeeper_server.journal.options import JournalOptions
from watchkeeper_server.options import Options
from watchkeeper_server.receive.options import ReceiveOptions


def main() -> None:
    """Run the command line with the first argument's limits in place of the defaults."""
    limits = json.loads(sys.argv.pop(1))
    receive, journal = ReceiveOptions(**limits["receive"]), JournalOptions(**limits["journal"])

    def limited(**given: Any) -> Options:
        return dataclasses.replace(Options(**given), receive=receive, journal=journal)

    commands.Options = limited  # type: ignore[assignment,misc]  called like the class it stands for
    commands.cli()


if __name__ == "__main__":
    main()
