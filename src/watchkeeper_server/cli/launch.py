"""Become another program, and die with one's parent: `launch.py PARENT_PID PROGRAM [ARGUMENT…]`, for `children`.

A step between fork and exec (`preexec_fn`) would do without it, but is safe only in a process without threads, which
one that has loaded numerical libraries is not. Elsewhere than on Linux the program is started all the same.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

if __name__ == "__main__":
    parent, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before we asked
            sys.exit(1)
    os.execv(program, [program, *arguments])  # noqa: S606  replacing this process is the purpose
