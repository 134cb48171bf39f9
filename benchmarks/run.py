"""Run the benchmarks, one after another (never two at once); usage: run.py [NAME …]."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

NAMES = ("footprint", "sdk", "ingest", "query")


def main() -> None:
    """Print what machine this is, then each benchmark's own table."""
    names = sys.argv[1:] or NAMES
    cpu = next(line.split(":")[1].strip() for line in Path("/proc/cpuinfo").open() if line.startswith("model name"))
    cores = len([line for line in Path("/proc/cpuinfo").open() if line.startswith("processor")])
    packages = ", ".join(f"{name} {version(name)}" for name in ("chdb", "pyarrow", "uvicorn", "fastapi", "orjson"))
    print(f"{cores} × {cpu}, Python {platform.python_version()}, {packages}")
    for name in names:
        print(f"\n== {name} ==", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)


if __name__ == "__main__":
    main()
