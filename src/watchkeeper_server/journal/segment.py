"""A segment: a file of payloads in protobuf's own delimited form, each closed by a checksum.

The checksum travels as a protobuf field that no schema declares, so the store reads a segment as it is while a recovery
can tell a torn or damaged tail. A segment's name carries its number and those of the segments it was split from.

Source: https://protobuf.dev/programming-guides/encoding/ (delimited messages, unknown fields).
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

OPEN, SEALED = ".open", ".segment"
# field 2047, wire type 5: four bytes of CRC-32, least significant first
_CHECKSUM_TAG = b"\xfd\x7f"
_TRAILER_BYTES = len(_CHECKSUM_TAG) + 4
_VARINT_MORE = 0x80
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed segment: `lineage` is its number, then its parent's and so on, when a bad payload made it be split."""

    path: Path
    lineage: tuple[int, ...]
    size_bytes: int
    replayed: bool

    @property
    def number(self) -> int:
        """What the store keeps beside each row, to know it again."""
        return self.lineage[0]


def segment_path(folder: Path, lineage: tuple[int, ...], suffix: str) -> Path:
    """Where a segment of this lineage lives: numbers sort as text."""
    return folder / ("-".join(f"{number:020d}" for number in lineage) + suffix)


def lineage_of(path: Path) -> tuple[int, ...]:
    """The numbers in a segment's name."""
    return tuple(int(number) for number in path.name.split(".")[0].split("-"))


def framed(payload: bytes) -> tuple[bytes, bytes, bytes]:
    """A payload as three buffers to write: length, payload, checksum. The payload is not copied."""
    return (
        _varint(len(payload) + _TRAILER_BYTES),
        payload,
        _CHECKSUM_TAG + zlib.crc32(payload).to_bytes(4, "little"),
    )


def payloads(path: Path) -> Iterator[bytes]:
    """The segment's payloads, up to the first that is torn or damaged."""
    for start, end in _frames(path):
        with path.open("rb") as file:
            file.seek(start)
            yield file.read(end - start - _TRAILER_BYTES)


def intact_bytes(path: Path) -> int:
    """How much of a segment can be trusted: the end of its last whole payload."""
    end = 0
    for _, end in _frames(path):  # noqa: B007  the last end is the answer
        pass
    return end


def write_segment(path: Path, contents: Iterable[bytes]) -> None:
    """Make a sealed segment of these payloads, durable under its final name or absent."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        for payload in contents:
            file.writelines(framed(payload))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def write_durably(path: Path, contents: bytes) -> None:
    """A file that would survive a power loss."""
    with path.open("wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries (new names, renames, removals) survive a power loss."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _frames(path: Path) -> Iterator[tuple[int, int]]:
    """Start of payload and end of frame for each whole frame."""
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = 0
        while position < len(data):
            length, start = _read_varint(data, position)
            end = start + length
            if length < _TRAILER_BYTES or end > len(data):
                return
            trailer = end - _TRAILER_BYTES
            if data[trailer : trailer + 2] != _CHECKSUM_TAG:
                return
            if zlib.crc32(data[start:trailer]) != int.from_bytes(data[trailer + 2 : end], "little"):
                return
            yield start, end
            position = end


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= _VARINT_MORE:
        out.append(number & 0x7F | _VARINT_MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    """The number at a position and where it ends; (0, position) if there is none."""
    number = 0
    for i, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << 7 * i
        if byte < _VARINT_MORE:
            return number, position + i + 1
    return 0, position
