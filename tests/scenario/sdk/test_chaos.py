from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[3] / "benchmarks/chaos.py"


@pytest.mark.long
def test_no_request_fails_and_no_span_is_lost_uncounted_whatever_the_server_does() -> None:
    program = [sys.executable, str(CHAOS), "--spell", "5", "--rate", "200"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
