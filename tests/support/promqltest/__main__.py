"""Tries files of the test language: `python -m support.promqltest [--url http://localhost:9090] FILES`.

Without a URL it is Watchkeeper's engine in this process. Leaves with 1 if a case failed.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from pathlib import Path

from support.promqltest.in_process import InProcess
from support.promqltest.over_http import OverHttp
from support.promqltest.run import Runner
from support.promqltest.script import ScriptError, read_script
from support.promqltest.targets import NotSupportedError


def main() -> int:
    """Prints each failure and what was left out."""
    parser = argparse.ArgumentParser(prog="promqltest", description=__doc__)
    parser.add_argument("--url", help="a server with Prometheus' HTTP API and remote write")
    parser.add_argument("files", nargs="+", type=Path)
    arguments = parser.parse_args()
    if not arguments.url:
        return _try(Runner(InProcess()), arguments.files)
    with closing(OverHttp(arguments.url)) as server:
        return _try(Runner(server), arguments.files)


def _try(runner: Runner, files: list[Path]) -> int:
    passed = failed = left_out = 0
    try:
        for case in [case for file in files for case in read_script(file)]:
            try:
                failures = runner.failures(case)
            except NotSupportedError as reason:
                left_out += 1
                print(f"{case.place}: left out: {reason}")
                continue
            if failures:
                failed += 1
                print(failures)
            else:
                passed += 1
    except ScriptError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{passed} passed, {failed} failed, {left_out} left out")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
