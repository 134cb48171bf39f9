"""Processes that a program makes for its work: nothing of them is lost or told twice, however they begin and end."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing import spawn
from pathlib import Path

import pytest

from support.programs import counted, ended, environment
from support.sdk import Sink, serving
from watchkeeper import testing
from watchkeeper.client import running_client
from watchkeeper.integrations.spawned import Carried

PROGRAM = """
import multiprocessing, os, subprocess, sys, threading
from concurrent.futures import ProcessPoolExecutor
import watchkeeper as wk

jobs = wk.counter("jobs_total", "Jobs", ["kind"])
log = wk.get_logger("jobs")

def work(number):
    with wk.span("job", number=number):
        log.info("worked", number=number)
    jobs.labels("any").inc()

def each(numbers):
    list(map(work, numbers))

def speak(stop):
    while not stop.is_set():
        with wk.span("noise"):
            log.debug("noise")

def forked():
    stop = threading.Event()
    others = [threading.Thread(target=speak, args=(stop,)) for _ in range(3)]
    [thread.start() for thread in others]
    for number in range(6):
        child = os.fork()
        if child == 0:
            work(number)
            wk.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
    stop.set()
    [thread.join() for thread in others]

def main(method, kind):
    if method == "os":
        forked()
        return
    context = multiprocessing.get_context(method)
    if kind == "Process":
        children = [context.Process(target=each, args=(part,)) for part in ([0, 1, 2], [3, 4, 5])]
        [child.start() for child in children]
        [child.join() for child in children]
    elif kind == "Pool":
        with context.Pool(2) as pool:  # ended by SIGTERM
            pool.map(work, range(6), chunksize=1)
    else:
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            list(pool.map(work, range(6)))

if __name__ == "__main__":
    wk.configure()
    main(*sys.argv[1:])
"""
WAYS = [(method, kind) for method in ("fork", "spawn", "forkserver") for kind in ("Process", "Pool", "Executor")]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving() as found:
        yield found


@pytest.mark.parametrize(("method", "kind"), [*WAYS, ("os", "fork")])
def test_every_job_is_told_of_once(method: str, kind: str, sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(PROGRAM)
    done = ended([sys.executable, "jobs.py", method, kind], tmp_path, sink.url, WATCHKEEPER_LOG_STREAM="off")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    jobs = [span for span in sink.spans() if span.name == "job"]
    said = [record for record in sink.records() if record.body.string_value == "worked"]
    assert Counter(span.attributes[0].value.int_value for span in jobs) == dict.fromkeys(range(6), 1)
    assert sorted(record.span_id for record in said) == sorted(span.span_id for span in jobs)
    assert counted(sink, "jobs_total", "kind") == {"any": 6}


def test_what_a_child_cannot_be_given_keeps_it_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pickle.loads(pickle.dumps(Carried(b"of another version"))) is None  # noqa: S301  # our own, just now
    with testing.capture():
        prepared = spawn.get_preparation_data("child")
        assert isinstance(prepared.pop("watchkeeper"), Carried)
        running = running_client()
        assert running is not None
        monkeypatch.setattr(running, "options", lambda: "cannot be pickled")
        assert spawn.get_preparation_data("child") == prepared


@pytest.mark.parametrize("kept_back", ["lambda event: event", "before_send"])
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_options_that_do_not_reach_a_child_are_said(method: str, kept_back: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(
        "import multiprocessing, watchkeeper as wk\n"
        "def before_send(event): return event\n"
        "def work(): print('worked')\n"
        "if __name__ == '__main__':\n"
        f"    wk.configure(wk.Options(errors=wk.ErrorOptions(before_send={kept_back})))\n"
        f"    child = multiprocessing.get_context('{method}').Process(target=work)\n"
        "    child.start()\n    child.join()\n"
    )
    done = ended([sys.executable, "jobs.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "worked" in done.stdout.splitlines()  # before or after what the parent says
    assert "or call watchkeeper.configure() in that process" in done.stdout + done.stderr


@pytest.mark.parametrize("trouble", ["none", "hangs"])
def test_a_script_that_is_told_to_end_delivers_and_dies_of_the_signal(trouble: str, sink: Sink, tmp_path: Path) -> None:
    held = []
    if trouble == "hangs":
        sink.answers = [lambda _handler: held.append(time.sleep(4))]
    (tmp_path / "job.py").write_text(
        "import time, watchkeeper as wk\nwk.configure()\nwk.get_logger('x').info('goodbye')\n"
        "with wk.span('last'): pass\nprint('ready', flush=True)\ntime.sleep(30)\n"
    )
    with subprocess.Popen(
        [sys.executable, "job.py"],
        cwd=tmp_path,
        env=environment(sink.url, WATCHKEEPER_LOG_STREAM="off"),
        stdout=subprocess.PIPE,
        text=True,
    ) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        began = time.monotonic()
        job.terminate()
        assert job.wait(10) == -signal.SIGTERM
        assert time.monotonic() - began < 2.0
    if trouble == "none":
        assert [span.name for span in sink.spans()] == ["last"]
        assert [record.body.string_value for record in sink.records()] == ["goodbye"]


def test_a_lock_that_is_held_where_the_signal_comes_holds_nobody_up(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import os, signal, watchkeeper as wk\nfrom watchkeeper.client import PARTS, _Process\nwk.configure()\n"
        "locks = [_Process.lock, *(lock for part in PARTS for lock in part.locks())]\n"
        "[lock.acquire() for lock in locks]\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    began = time.monotonic()
    assert ended([sys.executable, "job.py"], tmp_path, sink.url).returncode == -signal.SIGTERM
    assert time.monotonic() - began < 10


def test_an_applications_own_handler_of_the_signal_stays(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "import os, signal, sys, watchkeeper as wk\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "wk.configure()\nos.kill(os.getpid(), signal.SIGTERM)\n"
    )
    assert ended([sys.executable, "job.py"], tmp_path, sink.url).returncode == 5
    (tmp_path / "after.py").write_text(
        "import signal, watchkeeper as wk\nwk.configure()\nwk.shutdown()\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    assert ended([sys.executable, "after.py"], tmp_path, sink.url).stdout.splitlines()[-1] == "True"
