"""Remote write and pushed text as they travel: what is answered, what is stored, what is refused and why."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cramjam
import pyarrow as pa
import pytest

from support.remote_write import request_v1, request_v2, snappy
from support.server import Answer, ServerProcess

V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
WRITTEN = "x-prometheus-remote-write-{}-written"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def write(server: ServerProcess, body: bytes, content_type: str = "application/x-protobuf", **headers: str) -> Answer:
    named = {"content-type": content_type, "content-encoding": "snappy"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", "/api/v1/write", body, {k: v for k, v in named.items() if v})


def written(answer: Answer) -> list[int]:
    return [int(answer.headers[WRITTEN.format(what)]) for what in ("samples", "histograms", "exemplars")]


def values(server: ServerProcess, metric: str) -> list[tuple[dict[str, str], list[float]]]:
    return [(one["labels"], [value for _, value in one["points"]]) for one in server.series(metric)]


def sample(metric: str, value: float = 1.0, **labels: str) -> Any:
    return ({"__name__": metric, **labels}, [(now_ms(), value)])


def test_version_1_is_stored(server: ServerProcess) -> None:
    answer = write(server, snappy(request_v1(sample("rw_one", 1.5, job="a"))))
    assert (answer.status, answer.body, written(answer)) == (204, b"", [1, 0, 0])
    assert values(server, "rw_one") == [({"job": "a"}, [1.5])]


def test_version_2_is_stored_and_counted(server: ServerProcess) -> None:
    request = request_v2(sample("rw_two", 1.5, job="a"))
    request.timeseries[0].exemplars.add(value=1, timestamp=now_ms())
    request.timeseries.add(labels_refs=request.timeseries[0].labels_refs).histograms.add(timestamp=now_ms())
    answer = write(server, snappy(request), V2)
    assert (answer.status, answer.body, written(answer)) == (204, b"", [1, 1, 1])
    assert values(server, "rw_two") == [({"job": "a"}, [1.5])]


@pytest.mark.parametrize("content_type", ["application/x-protobuf", V2])
def test_a_large_request_is_stored_whole(server: ServerProcess, content_type: str) -> None:
    metric = f"rw_large_{len(content_type)}"
    make = request_v2 if content_type == V2 else request_v1
    request = make(*(sample(metric, float(i), instance=f"node-{i}", text="x" * 100) for i in range(10_000)))
    for _ in range(2):  # the second time all series are known
        answer = write(server, snappy(request), content_type)
        assert (answer.status, written(answer)) == (204, [10_000, 0, 0])
    server.wait_drained()
    answer = server.get("/api/v1/query", query=f"sum({metric})")
    assert answer.json()["data"]["result"][0]["value"][1] == str(sum(range(10_000)))


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("snappy", cramjam.snappy.compress_raw),
        ("", cramjam.snappy.compress_raw),  # as Prometheus takes it
        ("zstd", lambda body: pa.compress(body, "zstd", asbytes=True)),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
def test_compressions_are_understood(server: ServerProcess, encoding: str, compress: Any) -> None:
    metric = f"rw_{encoding or 'none'}_encoded"
    body = bytes(compress(request_v1(sample(metric)).SerializeToString()))
    assert write(server, body, content_encoding=encoding).status == 204
    assert values(server, metric) == [({}, [1.0])]


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/x-protobuf",
        "Application/X-Protobuf; proto=prometheus.WriteRequest",
        "application/x-protobuf;a=b",
    ],
)
def test_version_1_is_what_is_not_said_otherwise(server: ServerProcess, content_type: str) -> None:
    assert write(server, snappy(request_v1(sample("rw_typed"))), content_type).status == 204


GOOD = snappy(request_v1(({"__name__": "never"}, [(1, 1.0)])))


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (GOOD, {"content_type": "text/plain"}, 415, "Content-Type 'text/plain' is not supported"),
        (GOOD, {"content_type": "application/x-protobuf;proto=x.Y"}, 415, "the message 'x.Y' is not supported"),
        (GOOD, {"content_encoding": "br"}, 415, "Content-Encoding 'br' is not supported"),
        (GOOD, {"content_encoding": "gzip"}, 400, "says it is gzip but cannot be decompressed"),
        (b"\xff\xff", {}, 400, "says it is snappy but cannot be decompressed"),
        (b"", {}, 400, "says it is snappy but cannot be decompressed"),
        (b"\xff\xff\xff\xff\x0f", {}, 413, "larger than"),
        (bytes(33 << 20), {}, 413, "larger than"),
        (bytes(cramjam.snappy.compress_raw(bytes(33 << 20))), {}, 413, "larger than"),
        (pa.compress(bytes(33 << 20), "zstd", asbytes=True), {"content_encoding": "zstd"}, 413, "larger than"),
        (bytes(cramjam.snappy.compress_raw(b"\xff")), {}, 400, "not a prometheus.WriteRequest"),
        (bytes(cramjam.snappy.compress_raw(b"\xff")), {"content_type": V2}, 400, "io.prometheus.write.v2.Request"),
        (snappy(request_v2(({"__name__": "never"}, []))), {}, 400, "if it is remote write 2.0"),
        (GOOD, {"content_type": V2}, 400, "is this remote write 2.0"),
    ],
)
def test_what_cannot_be_read_is_refused(
    server: ServerProcess, body: bytes, headers: Mapping[str, str], status: int, reason: str
) -> None:
    answer = write(server, body, **headers)
    assert answer.status == status
    assert reason in answer.body.decode()
    assert written(answer) == [0, 0, 0]


@pytest.mark.parametrize("content_type", ["application/x-protobuf", V2])
def test_bad_items_are_named_and_the_rest_is_stored(server: ServerProcess, content_type: str) -> None:
    metric = f"rw_partial_{len(content_type)}"
    series = [
        sample(metric, 1.0), sample("", 2.0, job="x"), ({"__name__": metric, "a": "b"}, [(now_ms() + 10**9, 3.0)]),
        ({"__name__": metric, "a": "c"}, [(now_ms() - 40 * 86_400_000, 3.0)]),
    ]  # fmt: skip
    request = request_v1(*series) if content_type != V2 else request_v2(*series)
    answer = write(server, snappy(request), content_type)
    assert (answer.status, written(answer)) == (400, [1, 0, 0])
    text = answer.body.decode()
    assert text.startswith('3 left out, the rest is stored: {job="x"}: it has no metric name')
    assert f'{metric}{{a="b"}}: timestamp' in text
    assert "is in the future" in text
    assert f'{metric}{{a="c"}}: timestamp' in text
    assert "older than what is retained" in text
    assert values(server, metric) == [({}, [1.0])]


def test_long_labels_are_refused_by_name_and_the_rest_is_stored(server: ServerProcess) -> None:
    long, longest = "ü" * 32_769, "x" * 65_536
    request = request_v1(
        sample("rw_long", 1.0, fits=longest), sample("rw_long", 2.0, text=long), sample("rw_long", 3.0, **{long: "x"}),
        sample(long, 4.0),
    )  # fmt: skip
    answer = write(server, snappy(request))
    assert (answer.status, written(answer)) == (400, [1, 0, 0])
    text = answer.body.decode()
    assert "the value of 'text' is 65,538 bytes long, the most allowed is 65,536" in text
    assert "the name is 65,538 bytes long" in text
    assert "the value of '__name__' is 65,538 bytes long" in text
    assert len(text) < 5000
    assert values(server, "rw_long") == [({"fits": longest}, [1.0])]


def test_a_histogram_whose_gaps_would_be_gigabytes_is_refused_at_once(server: ServerProcess) -> None:
    request = request_v1(sample("rw_gap"))
    histogram = request.timeseries.add(labels=request.timeseries[0].labels).histograms.add(
        timestamp=now_ms(), count_int=2, positive_deltas=[1, 0]
    )
    histogram.positive_spans.add(offset=0, length=1)
    histogram.positive_spans.add(offset=2**31 - 1, length=1)
    began = time.monotonic()
    answer = write(server, snappy(request))
    assert time.monotonic() - began < 1
    assert (answer.status, written(answer)) == (400, [1, 0, 0])
    assert "it covers 2,147,483,649 buckets, too many for one request" in answer.body.decode()


def test_new_series_are_counted_once(server: ServerProcess) -> None:
    before = server.figure("watchkeeper_new_series_total")
    for _ in range(2):
        assert write(server, snappy(request_v1(*(sample("rw_new", n=str(i)) for i in range(10))))).status == 204
    assert server.figure("watchkeeper_new_series_total") == before + 10


def test_a_request_that_cannot_be_read_counts_as_one_and_its_items_as_unknown(server: ServerProcess) -> None:
    def figures() -> tuple[float, float]:
        return tuple(
            server.figure(name, "metrics", "malformed")
            for name in ("watchkeeper_refused_requests_total", "watchkeeper_rejected_items_total")
        )

    requests, items = figures()
    assert write(server, bytes(cramjam.snappy.compress_raw(b"\xff"))).status == 400
    assert figures() == (requests + 1, items)


def test_only_post_is_taken(server: ServerProcess) -> None:
    answer = server.request("GET", "/api/v1/write")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_a_full_backlog_asks_to_come_back_later(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", journal={"backlog_bytes": 1}) as server:
        for body, content_type in ((request_v1(sample("x")), "application/x-protobuf"), (request_v2(sample("x")), V2)):
            answer = write(server, snappy(body), content_type)
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) > 0
            assert written(answer) == [0, 0, 0]


def test_a_series_sent_after_a_refusal_is_stored_with_its_labels(tmp_path: Path) -> None:
    body = request_v1(sample("x", job="a")).SerializeToString()
    with ServerProcess(tmp_path / "data", journal={"backlog_bytes": 1000}) as server:
        large = request_v1(*(sample("x", job="a", n=str(i)) for i in range(100)), sample("x", job="a"))
        assert write(server, snappy(large)).status == 503
        assert write(server, bytes(cramjam.snappy.compress_raw(body))).status == 204
        assert values(server, "x") == [({"job": "a"}, [1.0])]


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that keeps everything for ever."""
    folder = tmp_path_factory.mktemp("keeper")
    with ServerProcess(folder / "data", retention="off", journal={"linger_seconds": 0.05}) as running:
        yield running


def test_without_retention_any_time_since_1970_is_kept(keeper: ServerProcess) -> None:
    answer = write(keeper, snappy(request_v1(({"__name__": "old"}, [(0, 1.0), (1, 2.0), (10**12, 3.0), (-1, 4.0)]))))
    assert (answer.status, written(answer)) == (400, [3, 0, 0])
    keeper.wait_drained()
    found = keeper.get("/api/wk/metrics/old/series", start="1970-01-01T00:00:00Z").json()["series"]
    assert [value for _, value in found[0]["points"]] == [1.0, 2.0, 3.0]


# Pushed text.


def push(server: ServerProcess, method: str, path: str, text: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, text.encode(), named)


def test_imported_text_is_stored(server: ServerProcess) -> None:
    path = f"/api/v1/import/prometheus?extra_label=job=batch&extra_label=dc=a%3Db&timestamp={now_ms() - 60_000}"
    answer = push(server, "POST", path, f'pushed_a{{job="own"}} 1\npushed_a{{n="2"}} 2 {now_ms() - 1000}\n')
    assert (answer.status, answer.body) == (204, b"")
    found = {one["labels"].get("n", ""): one for one in server.series("pushed_a")}
    assert {one["labels"]["job"] for one in found.values()} == {"batch"}
    assert {one["labels"]["dc"] for one in found.values()} == {"a=b"}
    assert found[""]["points"][0][0] < found["2"]["points"][0][0] - 50


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_pushed_group_is_stored_with_its_labels(server: ServerProcess, method: str) -> None:
    metric = f"pushed_{method.lower()}"
    text = f'# TYPE {metric} gauge\n{metric}{{job="other",x="y"}} 4\n'
    answer = push(server, method, f"/metrics/job/{metric}/instance@base64/ZC9i", text)
    assert (answer.status, answer.body) == (200, b"")
    labels = {"job": metric, "instance": "d/b"}
    assert values(server, metric) == [({**labels, "x": "y"}, [4.0])]
    (pushed,) = server.series("push_time_seconds", f"job={metric}")
    assert pushed["labels"] == labels
    assert abs(pushed["points"][0][1] - time.time()) < 60


def test_a_group_is_deleted_without_effect(server: ServerProcess) -> None:
    assert push(server, "DELETE", "/metrics/job/gone").status == 202


def test_a_pushed_protobuf_is_understood(server: ServerProcess) -> None:
    # MetricFamily{name: "pushed_protobuf", type: GAUGE, metric: {gauge: {value: 2}}}, delimited
    metric = b"\x12\x09\x09" + b"\0\0\0\0\0\0\0\x40"
    family = b"\x0a\x0fpushed_protobuf\x18\x01\x22" + bytes([len(metric)]) + metric
    kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    body = gzip.compress(bytes([len(family)]) + family)
    answer = server.request("PUT", "/metrics/job/p", body, {"content-type": kind, "content-encoding": "gzip"})
    assert answer.status == 200, answer.body
    assert values(server, "pushed_protobuf") == [({"job": "p"}, [2.0])]


@pytest.mark.parametrize(
    ("method", "path", "text", "status", "reason"),
    [
        ("POST", "/api/v1/import/prometheus", "a 1\nb 2 3 4\n", 400, "line 2: "),
        ("POST", "/api/v1/import/prometheus?timestamp=soon", "a 1\n", 400, "timestamp is 'soon'"),
        ("POST", "/api/v1/import/prometheus?extra_label=a", "a 1\n", 400, "extra_label is 'a'"),
        ("POST", "/api/v1/import/prometheus", "a 1 999999999999999\n", 400, "is in the future"),
        ("GET", "/api/v1/import/prometheus", "", 405, "takes POST, not GET"),
        ("PUT", "/metrics/job/", "a 1\n", 400, "has no job"),
        ("DELETE", "/metrics/job/a/b", "", 400, "does not end with a label's value"),
        ("GET", "/metrics/job/a", "", 405, "takes PUT, POST, DELETE, not GET"),
        ("PUT", "/metrics/job/a", "a{\n", 400, "line 1: "),
    ],
)
def test_what_cannot_be_pushed_is_refused(
    server: ServerProcess, method: str, path: str, text: str, status: int, reason: str
) -> None:
    answer = push(server, method, path, text)
    assert answer.status == status
    assert reason in answer.body.decode()


def test_samples_of_any_age_since_1970_are_written_read_and_deleted_when_retention_is_off(tmp_path: Path) -> None:
    days = [0, 1, 5_000, 15_000, 20_000]  # since 1970; 20,000 is in 2024
    times = [day * 86_400_000 + 1 for day in days]
    with ServerProcess(tmp_path / "data", retention="off", arguments=["--admin-api"]) as server:

        def found(metric: str) -> list[float]:
            answers = [server.get("/api/v1/query", query=metric, time=time / 1000).json() for time in times]
            return [float(one["value"][1]) for answer in answers for one in answer["data"]["result"]]

        for metric in ("kept", "given_up"):
            points = [(time, float(day)) for time, day in zip(times, days, strict=True)]
            answer = write(server, snappy(request_v1(({"__name__": metric}, points))))
            assert (answer.status, written(answer)) == (204, [len(days), 0, 0])
        server.wait_drained()
        assert found("kept") == found("given_up") == days
        end = 20_001 * 86_400
        counted = server.get("/api/v1/query", query=f"count_over_time(kept[{end}s])", time=end)
        assert counted.json()["data"]["result"][0]["value"][1] == str(len(days))
        delete = "/api/v1/admin/tsdb/delete_series?match[]=given_up"
        assert server.request("POST", f"{delete}&start=0.5&end=1300000000", b"", {}).status == 204
        assert found("given_up") == [0, 20_000]
        assert server.request("POST", delete, b"", {}).status == 204
        assert found("given_up") == []
        assert found("kept") == days
