from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import watchkeeper as wk
from support.sdk import dropped, eventually
from watchkeeper import FileOptions, LogOptions, Options
from watchkeeper.logging.file import RotatingFile
from watchkeeper.testing import FakeClock

NOON = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 1_000_000_000
DAY = 86_400


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


def opened(tmp_path: Path, clock: FakeClock, **options: Any) -> RotatingFile:
    return RotatingFile(FileOptions(str(tmp_path / "logs" / "app.log"), **options), clock.clock())


def write(file: RotatingFile, data: bytes, clock: FakeClock) -> None:
    """A write at the fake clock's time, and what follows from it."""
    file.write(data)
    os.utime(file._path, ns=(clock.wall_ns, clock.wall_ns))
    if file.keeper is not None:
        file.keeper.join()


def contents(file: RotatingFile) -> list[bytes]:
    """All lines, oldest first, whatever file they are in."""
    texts = [
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in file.rotated()
    ]
    return b"".join([*texts, file._path.read_bytes()]).splitlines()


def test_a_file_is_rotated_before_it_grows_too_large_and_no_line_is_lost(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock, max_bytes=1_024)
    lines = [b"%03d %s" % (number, b"x" * 95) for number in range(50)]
    for line in lines:
        write(file, line + b"\n", clock)
        clock.advance(1)
    assert contents(file) == lines
    assert [path.suffix for path in file.rotated()] == [".gz"] * 4
    assert file._path.stat().st_size <= 1_024
    assert file.rotated()[0].name == "app.log.2026-11-21T120010.000000Z.gz"


def test_a_file_is_rotated_when_the_day_is_over_also_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    write(opened(tmp_path, clock), b"saturday\n", clock)
    clock.advance(DAY / 2)
    file = opened(tmp_path, clock)
    write(file, b"sunday\n", clock)
    clock.advance(60)
    write(file, b"still sunday\n", clock)
    assert file._path.read_bytes() == b"sunday\nstill sunday\n"
    assert contents(file) == [b"saturday", b"sunday", b"still sunday"]


def test_rotation_by_day_and_compression_can_be_switched_off(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock, daily=False, compress=False, max_bytes=1_024)
    write(file, b"a\n", clock)
    clock.advance(3 * DAY)
    write(file, b"b" * 1_020 + b"\n", clock)
    assert file._path.read_bytes() == b"a\n" + b"b" * 1_020 + b"\n"
    write(file, b"c\n", clock)
    (rotated,) = file.rotated()
    assert rotated.read_bytes()[:2] == b"a\n"


def test_files_that_are_too_many_or_too_old_are_deleted_and_no_others(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock, keep_files=3, keep_days=2.5)
    write(file, b"0\n", clock)
    other = tmp_path / "logs" / "app.log.bak"
    other.write_text("mine")
    os.utime(other, (0, 0))
    for day in range(1, 7):
        clock.advance(DAY)
        write(file, b"%d\n" % day, clock)
    assert contents(file) == [b"4", b"5", b"6"]  # three files, of which the oldest is beyond two and a half days
    assert other.read_text() == "mine"
    tight = opened(tmp_path, clock, keep_files=1, keep_days=100)
    clock.advance(DAY)
    write(tight, b"7\n", clock)
    assert contents(tight) == [b"6", b"7"]


def test_a_batch_larger_than_a_file_is_written_whole(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock, max_bytes=1_024)
    write(file, b"x" * 5_000 + b"\n", clock)
    write(file, b"y" * 5_000 + b"\n", clock)
    assert [len(line) for line in contents(file)] == [5_000, 5_000]


def test_a_batch_of_many_lines_makes_no_file_larger_than_it_may_be(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock, max_bytes=1_024, compress=False)
    lines = [b"%03d %s" % (number, b"x" * (number % 200)) for number in range(200)]
    write(file, b"".join(line + b"\n" for line in lines), clock)
    assert contents(file) == lines
    sizes = [path.stat().st_size for path in file.rotated()]
    assert len(sizes) > 15
    assert all(800 < size <= 1_024 for size in sizes)
    write(file, b"y" * 5_000 + b"\nlast\n", clock)  # a line that is larger is whole, and alone
    assert contents(file) == [*lines, b"y" * 5_000, b"last"]


def test_rotations_of_one_instant_overwrite_nothing(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock, max_bytes=1_024)
    for number in range(4):
        write(file, b"%d" % number * 1_000 + b"\n", clock)
    assert len(contents(file)) == 4


def test_a_file_that_somebody_else_renames_or_deletes_is_made_anew(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock)
    write(file, b"a\n", clock)
    file._path.rename(tmp_path / "moved")
    write(file, b"b\n", clock)
    file._path.unlink()
    write(file, b"c\n", clock)
    assert ((tmp_path / "moved").read_bytes(), file._path.read_bytes()) == (b"a\n", b"c\n")


def test_what_an_exit_left_half_compressed_is_finished_at_the_next_rotation(tmp_path: Path, clock: FakeClock) -> None:
    file = opened(tmp_path, clock)
    write(file, b"b\n", clock)
    left = tmp_path / "logs" / "app.log.2026-11-20T235959.000000Z"
    left.write_bytes(b"a\n")
    left.with_name(f"{left.name}.gz.part").write_bytes(b"half")
    clock.advance(DAY)
    write(file, b"c\n", clock)
    assert contents(file) == [b"a", b"b", b"c"]
    assert {path.suffix for path in (tmp_path / "logs").iterdir()} == {".gz", ".log"}


def test_a_line_that_was_cut_by_a_full_disk_does_not_spoil_the_next(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(tmp_path, clock)
    real = os.write
    answers = [3, OSError("no space left")]

    def cut(descriptor: int, data: Any) -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return real(descriptor, data[:answer])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", cut)
        with pytest.raises(OSError, match="no space"):
            file.write(b"first\n")
    file.write(b"second\n")
    assert file._path.read_bytes() == b"fir\nsecond\n"


def test_processes_that_share_a_file_lose_and_mix_nothing_while_it_rotates(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from watchkeeper import FileOptions
        from watchkeeper.logging.file import RotatingFile
        file = RotatingFile(FileOptions(sys.argv[1], max_bytes=20_000))
        for number in range(400):
            file.write(f"{sys.argv[2]} {number} {'x' * 100}\\n".encode())
        if file.keeper is not None:
            file.keeper.join()
    """)
    path = tmp_path / "app.log"
    running = [subprocess.Popen([sys.executable, "-c", program, str(path), str(name)]) for name in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    lines = contents(RotatingFile(FileOptions(str(path))))
    assert {len(line) for line in lines} <= set(range(104, 108))
    told = [tuple(map(int, line.split()[:2])) for line in lines]
    assert sorted(told) == [(name, number) for name in range(3) for number in range(400)]
    assert len(list(tmp_path.glob("app.log.*"))) > 3


def options_for(path: Path, **changes: Any) -> Options:
    return Options(export={}, logs=LogOptions(stream="off", file=FileOptions(str(path)), **changes))


def test_lines_go_to_the_file_that_the_options_name(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    wk.configure(options_for(path, format="ecs"))
    wk.get_logger("x").info("hi", password="hunter2")
    wk.shutdown()
    line = json.loads(path.read_text())
    assert (line["message"], line["password"], line["log.level"]) == ("hi", "[redacted]", "info")


def test_a_forked_child_writes_its_own_lines_to_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    program = textwrap.dedent("""
        import os, sys
        import watchkeeper as wk
        wk.configure(wk.Options(export={}, logs=wk.LogOptions(stream="off", file=wk.FileOptions(sys.argv[1]))))
        log = wk.get_logger("x")
        log.info("parent")
        child = os.fork()
        if not child:
            log.info("child")
            wk.shutdown()
            os._exit(0)
        os.waitpid(child, 0)
    """)
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert done.returncode == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(line["message"] for line in lines) == ["child", "parent"]
    assert len({line["pid"] for line in lines}) == 2


def test_a_file_that_cannot_be_written_harms_nobody_and_is_counted(tmp_path: Path, production: None) -> None:
    (tmp_path / "file").write_text("")
    before = dropped("logs", "file_failed")
    wk.configure(options_for(tmp_path / "file" / "app.log", capture=False))
    wk.get_logger("x").error("lost")
    eventually(lambda: dropped("logs", "file_failed") == before + 1)
    wk.shutdown()


def test_options_of_the_file_are_read_from_the_environment(tmp_path: Path) -> None:
    options = Options.from_environment(
        {
            "WATCHKEEPER_LOG_FILE": str(tmp_path / "a.log"),
            "WATCHKEEPER_LOG_FILE_FORMAT": "logstash",
            "WATCHKEEPER_LOG_FILE_MAX_BYTES": "5000",
            "WATCHKEEPER_LOG_FILE_DAILY": "false",
            "WATCHKEEPER_LOG_FILE_COMPRESS": "0",
            "WATCHKEEPER_LOG_FILE_KEEP_FILES": "7",
            "WATCHKEEPER_LOG_FILE_KEEP_DAYS": "1.5",
        }
    )
    assert options.logs.file == FileOptions(str(tmp_path / "a.log"), "logstash", 5_000, False, False, 7, 1.5)


@pytest.mark.parametrize(
    "change", [{"max_bytes": 10}, {"keep_files": -1}, {"format": "xml"}, {"path": "/"}, {"path": "x/"}]
)
def test_an_option_of_the_file_that_cannot_work_is_named(change: dict[str, Any]) -> None:
    file = replace(FileOptions("app.log"), **change)
    with pytest.raises(wk.ConfigurationError, match=r"logs\.file\."):
        wk.configure(Options(logs=LogOptions(file=file)))


def test_a_file_that_cannot_be_renamed_goes_on_growing_and_is_tried_again_later(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = opened(tmp_path, clock, max_bytes=1_024)
    lines = [b"%03d %s" % (number, b"x" * 95) for number in range(30)]

    def busy(_path: Path, _target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")  # what a file that is mounted says

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", busy)
        for line in lines[:-1]:
            write(file, line + b"\n", clock)
            clock.advance(1)
    assert file.rotated() == []
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        f"watchkeeper cannot rename {file._path}, so the file goes on growing"
    ]
    clock.advance(60)
    write(file, lines[-1] + b"\n", clock)
    assert len(file.rotated()) == 1
    assert contents(file) == lines
