from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# How many pages are faulted in while six arrays of 2 MB come and go.
FAULTS = """
import resource, sys
import numpy as np
from watchkeeper_server.freed_memory import keep_freed_memory
if sys.argv[1:]:
    keep_freed_memory()
column = np.arange(1 << 18)
def add():
    for _ in range(100):
        [column + each for each in range(6)]
add()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
add()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(*arguments: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, *arguments], check=True, capture_output=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is set up")
def test_arrays_use_the_memory_that_others_have_freed() -> None:
    assert _faults() > 10_000
    assert _faults("kept") < 100
