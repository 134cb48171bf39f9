"""`cli.children`: real processes start, are watched, and end with their parent whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from watchkeeper_server.cli.children import ChildEndedError, Children, StopRequest

SLEEPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
ENVIRONMENT = dict(os.environ)


def until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def up(log: Path) -> None:
    until(lambda: log.is_file() and "up" in log.read_text())


def pid_of(children: Children, name: str) -> int:
    return children._running[name].process.pid


def test_a_child_writes_to_its_log_and_has_a_process_group_of_its_own(tmp_path: Path) -> None:
    with StopRequest() as stop, Children(tmp_path / "logs", stop) as children:
        children.start("sleeper", SLEEPS, ENVIRONMENT)
        up(tmp_path / "logs" / "sleeper.log")
        pid = pid_of(children, "sleeper")
        assert os.getpgid(pid) == pid
        assert alive(pid)
    assert not alive(pid)


def test_a_child_that_ignores_sigterm_is_killed_when_its_time_is_up(tmp_path: Path) -> None:
    with StopRequest() as stop, Children(tmp_path, stop) as children:
        children.start("polite", SLEEPS, ENVIRONMENT)
        children.start("stubborn", STUBBORN, ENVIRONMENT)
        up(tmp_path / "polite.log")
        up(tmp_path / "stubborn.log")
        pids = [pid_of(children, "polite"), pid_of(children, "stubborn")]
        began = time.monotonic()
        children.end("stubborn", "polite", timeout_seconds=0.3)
        assert 0.3 <= time.monotonic() - began < 2.0
        assert not any(map(alive, pids))


def test_a_childs_own_children_end_with_it(tmp_path: Path) -> None:
    spawn = f"import subprocess; p = subprocess.Popen({STUBBORN!r}); print(p.pid, 'up', flush=True); p.wait()"
    with StopRequest() as stop, Children(tmp_path, stop) as children:
        children.start("parent", [sys.executable, "-c", spawn], ENVIRONMENT)
        until(lambda: (tmp_path / "parent.log").read_text().count("up") == 2)
        grandchild = next(int(word) for word in (tmp_path / "parent.log").read_text().split() if word.isdecimal())
        children.end("parent", timeout_seconds=0.1)
    until(lambda: not alive(grandchild))


def test_watching_tells_which_child_ended_with_what_code_and_last_words(tmp_path: Path) -> None:
    fails = [sys.executable, "-c", "print('one'); print('two'); raise SystemExit(3)"]
    with StopRequest() as stop, Children(tmp_path, stop) as children:
        children.start("sleeper", SLEEPS, ENVIRONMENT)
        children.start("failing", fails, ENVIRONMENT)
        with pytest.raises(ChildEndedError) as caught:
            children.watch(lambda: False)
    assert str(caught.value) == "failing ended with code 3"
    assert caught.value.child.last_lines(1) == ["two"]


def test_watching_ends_when_the_condition_holds_or_a_signal_arrives(tmp_path: Path) -> None:
    with StopRequest() as stop, Children(tmp_path, stop) as children:
        assert children.watch(lambda: True) is True
        os.kill(os.getpid(), signal.SIGTERM)
        assert children.watch(lambda: True) is False


def test_signals_have_their_old_meaning_again_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("number", "noted"), [(signal.SIGHUP, False), (signal.SIGINT, True)])
def test_an_ignored_hangup_stays_ignored_an_ignored_interrupt_does_not(number: signal.Signals, noted: bool) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), number)
            assert stop.received is noted
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed parent")
def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from watchkeeper_server.cli.children import Children, StopRequest
with StopRequest() as stop, Children(Path({str(tmp_path)!r}), stop) as children:
    children.start("stubborn", {STUBBORN!r}, {{}})
    print(children._running["stubborn"].process.pid, flush=True)
    children.watch(lambda: False)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        up(tmp_path / "stubborn.log")
        parent.kill()
        until(lambda: not alive(child))
