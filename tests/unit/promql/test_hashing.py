from __future__ import annotations

import pytest

from watchkeeper_server.promql.hashing import hash_of, xxh64


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_the_hash_is_xxh64(data: bytes, expected: int) -> None:
    assert xxh64(data) == expected


def test_the_hash_does_not_depend_on_the_order_of_labels_but_on_where_they_end() -> None:
    assert hash_of({"a": "1", "b": "2"}) == hash_of({"b": "2", "a": "1"})
    assert hash_of({"a": "12"}) != hash_of({"a1": "2"})
    assert hash_of({"a": "x" * 300}) == xxh64(b"\x01a" + b"\xff\x2c\x01\x00" + b"x" * 300)
