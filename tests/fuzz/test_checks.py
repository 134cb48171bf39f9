"""Whatever arrives, a receiver's check ends in a verdict: taken, or refused with a reason."""

from __future__ import annotations

import gzip
import json
import random
import time
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from corpus import SIGNALS, good, otlp_json
from mutate import mutate_bytes, mutate_fields, mutate_json

from watchkeeper_server.receive.bodies import decompressed
from watchkeeper_server.receive.options import ReceiveOptions
from watchkeeper_server.receive.otlp import SIGNALS as OTLP
from watchkeeper_server.receive.otlp_check import Bounds
from watchkeeper_server.receive.otlp_json import protobuf_from_json
from watchkeeper_server.receive.refusal import RefusedError

ROUNDS = 6000
BY_NAME = {signal.name: signal for signal in OTLP}
BOUNDS = Bounds(time.time_ns() - 30 * 86_400 * 10**9, time.time_ns() + 86_400 * 10**9, 10_000)


def verdicts(attempt: Callable[[], Any], rounds: int) -> tuple[int, int]:
    """How often it was taken and how often refused; any other error ends the test."""
    taken, messages = 0, list[str]()
    for _ in range(rounds):
        try:
            attempt()
        except RefusedError as error:
            messages.append(str(error))
        else:
            taken += 1
    assert all(10 < len(message) <= 1001 for message in messages)
    return taken, len(messages)


def check(signal: str, body: bytes) -> None:
    """The check's answer is consistent with itself."""
    checked = BY_NAME[signal].check(body, BOUNDS)
    assert checked.accepted >= 0
    assert (checked.rejected > 0) is bool(checked.message)
    if not checked.rejected:
        assert checked.payload is body
    else:  # what was kept passes by itself
        again = BY_NAME[signal].check(checked.payload, BOUNDS)
        assert (again.accepted, again.rejected) == (checked.accepted, 0)


@pytest.mark.parametrize("signal", SIGNALS)
def test_mutated_bytes_get_a_verdict(signal: str) -> None:
    chance, body = random.Random(signal), good(signal).SerializeToString()
    taken, refused = verdicts(lambda: check(signal, mutate_bytes(body, chance)), ROUNDS)
    assert min(taken, refused) > ROUNDS / 50


@pytest.mark.parametrize("signal", SIGNALS)
def test_mutated_fields_get_a_verdict(signal: str) -> None:
    chance, request = random.Random(signal), good(signal)

    def attempt() -> None:
        mutant = type(request).FromString(request.SerializeToString())
        mutate_fields(mutant, chance)
        check(signal, mutant.SerializeToString())

    taken, _ = verdicts(attempt, ROUNDS)
    assert taken > ROUNDS / 2


@pytest.mark.parametrize("signal", SIGNALS)
def test_mutated_json_gets_a_verdict(signal: str) -> None:
    chance, text = random.Random(signal), json.dumps(otlp_json(good(signal)))

    def by_node() -> None:
        document = mutate_json(json.loads(text), chance)
        check(signal, protobuf_from_json(json.dumps(document).encode(), BY_NAME[signal].request))

    def by_byte() -> None:
        check(signal, protobuf_from_json(mutate_bytes(text.encode(), chance), BY_NAME[signal].request))

    taken, refused = verdicts(by_node, ROUNDS // 12)
    assert min(taken, refused) > ROUNDS / 240
    verdicts(by_byte, ROUNDS // 12)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "identity"])
def test_a_mutated_compressed_body_gets_a_verdict(encoding: str) -> None:
    chance, options = random.Random(encoding), ReceiveOptions(body_bytes=10_000)
    compress: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": lambda body: pa.compress(body, "zstd", asbytes=True),  # type: ignore[no-any-return]  untyped library
        "identity": bytes,
    }
    body = compress[encoding](b"what was sent " * 50)

    def attempt() -> None:
        assert len(decompressed(mutate_bytes(body, chance), encoding, options)) <= 10_000

    taken, refused = verdicts(attempt, ROUNDS)
    assert refused > ROUNDS / 2 if encoding != "identity" else taken == ROUNDS
