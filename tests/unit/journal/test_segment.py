from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.internal.decoder import _DecodeVarint  # type: ignore[attr-defined]  not typed
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.otlp import span, spans_request
from watchkeeper_server.journal.segment import (
    SEALED,
    framed,
    intact_bytes,
    lineage_of,
    payloads,
    segment_path,
    write_segment,
)

CONTENTS = st.lists(st.binary(max_size=400), max_size=8)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def written(folder: Path, contents: list[bytes]) -> Path:
    path = folder / f"1{SEALED}"
    write_segment(path, contents)
    return path


@given(contents=CONTENTS)
def test_what_is_framed_is_read_back(folder: Path, contents: list[bytes]) -> None:
    path = written(folder, contents)
    assert list(payloads(path)) == contents
    assert (
        intact_bytes(path) == path.stat().st_size == sum(len(part) for payload in contents for part in framed(payload))
    )


@given(contents=CONTENTS, data=st.data())
def test_a_truncated_segment_yields_the_payloads_before_the_cut(
    folder: Path, contents: list[bytes], data: st.DataObject
) -> None:
    path = written(folder, contents)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    ends, end = [], 0
    for payload in contents:
        end += sum(map(len, framed(payload)))
        ends.append(end)
    kept = sum(end <= cut for end in ends)
    assert list(payloads(path)) == contents[:kept]
    assert intact_bytes(path) == ([0, *ends])[kept]


@given(contents=CONTENTS.filter(bool), data=st.data())
def test_a_damaged_segment_yields_a_prefix_of_the_payloads(
    folder: Path, contents: list[bytes], data: st.DataObject
) -> None:
    path = written(folder, contents)
    damaged = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    found = list(payloads(path))
    assert found == contents[: len(found)]
    assert len(found) < len(contents)


@given(contents=CONTENTS, tail=st.binary(max_size=100))
def test_what_follows_the_payloads_does_not_harm_them(folder: Path, contents: list[bytes], tail: bytes) -> None:
    path = written(folder, contents)
    with path.open("ab") as file:
        file.write(tail)
    assert list(payloads(path))[: len(contents)] == contents


@pytest.mark.parametrize("size", [0, 1, 121, 122, 16_377, 16_378, 2_097_145, 2_097_146])
def test_frames_of_every_length_of_varint_are_read_back(folder: Path, size: int) -> None:
    path = written(folder, [b"x" * size, b"after"])
    assert list(map(len, payloads(path))) == [size, 5]


def test_a_frame_is_a_delimited_protobuf_message_with_an_unknown_field(folder: Path) -> None:
    payload = spans_request([span(trace="ab" * 16, id="cd" * 8, start=1)])
    frame = written(folder, [payload]).read_bytes()
    length, start = _DecodeVarint(frame, 0)
    assert start + length == len(frame)
    message = ExportTraceServiceRequest.FromString(frame[start:])
    message.DiscardUnknownFields()  # type: ignore[attr-defined]  missing in the stubs
    assert message.SerializeToString() == payload


def test_the_longest_varint_is_no_frame(folder: Path) -> None:
    path = folder / f"2{SEALED}"
    for junk in (b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\xff" * 9 + b"\x7f" + b"x" * 100, b"\x80"):
        path.write_bytes(junk)
        assert list(payloads(path)) == []
        assert intact_bytes(path) == 0


@given(lineage=st.lists(st.integers(0, 10**20 - 1), min_size=1, max_size=5).map(tuple))
def test_a_lineage_is_told_by_the_name(folder: Path, lineage: tuple[int, ...]) -> None:
    assert lineage_of(segment_path(folder, lineage, SEALED)) == lineage


def test_a_segment_is_there_whole_or_not_at_all(folder: Path) -> None:
    path = folder / f"3{SEALED}"

    def contents() -> Iterator[bytes]:
        yield b"first"
        assert not path.exists()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_segment(path, contents())
    assert not path.exists()
