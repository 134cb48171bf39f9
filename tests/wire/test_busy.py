"""A server that can take no more for now says so, loses nothing it acknowledged, and recovers by itself."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from support.otlp import log_record, logs_request, span, spans_request
from support.server import ServerProcess, eventually

BACKLOG = 20_000


def sized(size: int) -> tuple[str, bytes]:
    """A trace id and a request of about so many bytes that holds one span of it."""
    trace_id = os.urandom(16).hex()
    name = os.urandom(size // 2).hex()
    return trace_id, spans_request([span(trace=trace_id, id="01" * 8, start=time.time_ns(), name=name)])


def fill(server: ServerProcess, size: int, most: int = 10_000) -> tuple[list[str], str]:
    """Send until refused; answers the acknowledged traces and what the refusal said."""
    acknowledged = []
    for _ in range(most):
        trace_id, body = sized(size)
        answer = server.post("/v1/traces", body)
        if answer.status == 503:
            assert answer.headers["retry-after"] == "5"
            return acknowledged, answer.message()
        assert answer.status == 200
        acknowledged.append(trace_id)
    raise AssertionError("never refused")


def assert_stored(server: ServerProcess, traces: list[str]) -> None:
    assert [len(server.trace(trace_id)["spans"]) for trace_id in traces] == [1] * len(traces)
    assert not (server.data / "quarantine").exists()


@pytest.fixture
def lingering(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that may keep little waiting, and lets it wait a second and a half."""
    with ServerProcess(tmp_path / "data", journal={"backlog_bytes": BACKLOG, "linger_seconds": 1.5}) as running:
        yield running


def test_a_full_backlog_is_answered_503_with_retry_after(lingering: ServerProcess) -> None:
    acknowledged, message = fill(lingering, 4000)
    assert len(acknowledged) == 4
    assert "bytes are waiting to be stored, the most allowed; send this again later" in message
    assert lingering.post("/v1/logs", logs_request([log_record(time=1)])).status == 400  # what is wrong stays wrong
    assert lingering.figure("watchkeeper_rejected_items_total", "traces", "backlog") == 1
    small, body = sized(100)
    assert lingering.post("/v1/traces", body).status == 200
    lingering.wait_drained()
    after, _ = fill(lingering, 4000)
    assert len(after) == 4
    assert_stored(lingering, [*acknowledged, small, *after])


def test_a_full_backlog_is_answered_resource_exhausted_with_retry_info(lingering: ServerProcess) -> None:
    fill(lingering, 4000)
    _, body = sized(4000)
    with grpc.insecure_channel(lingering.otlp_grpc) as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as raised:
            export(body, timeout=30)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "send this again later" in raised.value.details()
    status = Status.FromString(dict(raised.value.trailing_metadata())["grpc-status-details-bin"])
    assert (status.code, status.message) == (8, raised.value.details())
    retry = RetryInfo()
    assert status.details[0].Unpack(retry)
    assert retry.retry_delay.seconds == 5


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_python_exporters_come_back_by_themselves(lingering: ServerProcess, protocol: str) -> None:
    fill(lingering, 4000)
    exporter: SpanExporter
    if protocol == "grpc":
        exporter = GrpcSpanExporter(lingering.otlp_grpc, insecure=True, timeout=30)
    else:
        exporter = HttpSpanExporter(f"{lingering.otlp_http}/v1/traces", timeout=30)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    began = time.monotonic()
    with provider.get_tracer("busy").start_as_current_span("waits" * 1000) as waiting:
        trace_id = f"{waiting.get_span_context().trace_id:032x}"
    provider.shutdown()
    assert time.monotonic() - began > 1.0  # it was refused at first
    assert_stored(lingering, [trace_id])


def test_what_waits_survives_kill_and_is_stored_once(lingering: ServerProcess) -> None:
    acknowledged, _ = fill(lingering, 4000)
    lingering.kill()
    lingering.start()
    lingering.wait_drained()
    assert_stored(lingering, acknowledged)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("a full disk needs the right to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disk(path: Path, but_bytes: int) -> None:
    """Take all space but so many bytes: enough for the journal, not for the store."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(file.tell() - but_bytes)


def test_on_a_full_disk_nothing_acknowledged_is_lost_and_space_is_all_it_takes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64m") as disk, ServerProcess(disk / "data") as server:
        acknowledged = [
            trace for trace, body in (sized(1000), sized(1000)) if server.post("/v1/traces", body).status == 200
        ]
        assert len(acknowledged) == 2
        server.wait_drained()
        filler = disk / "filler"
        fill_disk(filler, 100_000)

        more, message = fill(server, 2000)
        assert len(more) > 10
        assert message == "cannot write to the journal: No space left on device; free some space"
        for _ in range(5):  # asked again and again, it stays with that, and stays alive
            also, message = fill(server, 2000)
            more += also
            time.sleep(0.3)
        assert server.alive()
        assert server.get("/-/ready").status == 200
        assert server.figure("watchkeeper_delayed_loads_total", "spans") >= 1

        filler.unlink()
        trace_id, body = sized(2000)
        eventually(lambda: True if server.post("/v1/traces", body).status == 200 else None)
        server.wait_drained()
        assert_stored(server, [*acknowledged, *more, trace_id])


def test_killed_on_a_full_disk_a_server_starts_again_with_all_it_acknowledged(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64m") as disk, ServerProcess(disk / "data") as server:
        filler = disk / "filler"
        fill_disk(filler, 100_000)
        acknowledged, _ = fill(server, 2000)
        assert len(acknowledged) > 10
        server.kill()
        filler.unlink()
        server.start()
        server.wait_drained()
        assert_stored(server, acknowledged)
        trace_id, body = sized(2000)
        assert server.post("/v1/traces", body).status == 200
        assert_stored(server, [trace_id])


def test_a_file_that_may_not_grow_is_a_reason_to_wait_for_the_next(tmp_path: Path) -> None:
    journal = {"linger_seconds": 1.0}
    with ServerProcess(tmp_path / "data", journal=journal, file_bytes=1_000_000) as server:
        acknowledged, message = fill(server, 100_000)
        assert message == "cannot write to the journal: File too large; free some space"
        assert len(acknowledged) == 9
        server.wait_drained()
        more, _ = fill(server, 100_000)
        assert len(more) == 9
        assert_stored(server, acknowledged + more)
