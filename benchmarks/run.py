"""Run the benchmarks, one after another (never two at once); usage: run.py [NAME …]."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

NAMES = ("footprint", "sdk", "pieces", "health", "chaos", "ingest", "latency", "query", "churn", "metrics")


def main() -> None:
    """Print what machine this is, then each benchmark's own table."""
    names = sys.argv[1:] or NAMES
    processors = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    packages = ", ".join(f"{name} {version(name)}" for name in ("chdb", "pyarrow", "uvicorn", "fastapi", "orjson"))
    print(f"{len(processors)} x {processors[0]}, Python {platform.python_version()}, {packages}")
    for name in names:
        print(f"\n== {name} ==", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)


if __name__ == "__main__":
    main()
