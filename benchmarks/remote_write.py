"""Send series by remote write 1.0, as fast as they are taken; prints what was acknowledged.

A process of its own, so that its work is not counted as the server's. Each shard's requests follow one another, as a
sender's do, and no shard is ahead of another by more than some minutes of its data: so a server that takes samples only
in the order of time takes all. Usage: remote_write.py URL ingest|ingest-quick|query|query-quick END_MS
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import urllib.parse
from collections.abc import Sequence

import cramjam
import numpy as np

from metric_sets import MetricSet, Shard, ingest_sets, query_sets
from watchkeeper_server.receive.exposition.write_request import encode_labels, field

SENDERS = 5
SETS = {"ingest": ingest_sets, "query": query_sets}
# Prometheus takes what is up to an hour older than its newest sample.
_WAVE_MS = 1_800_000
_HEADERS = {
    "content-type": "application/x-protobuf",
    "content-encoding": "snappy",
    "x-prometheus-remote-write-version": "0.1.0",
}
# A sample as it is encoded: field 2 of 16 bytes, in it the value as field 1 and the time as field 2, which takes six
# bytes of varint in this century.
_SAMPLE = np.frombuffer(b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6), np.uint8)


def sets_of(plan: str) -> list[MetricSet]:
    """The sets that a plan sends."""
    name, _, size = plan.partition("-")
    return SETS[name](quick=size == "quick")


def shards_of(sets: Sequence[MetricSet], end_ms: int) -> list[Shard]:
    """All shards of some sets."""
    return [Shard(one, start, end_ms) for one in sets for start in range(0, len(one.series), one.series_a_request)]


class Encoder:
    """Makes requests of a shard's blocks: labels are encoded once, values and times are written between them."""

    def __init__(self, shard: Shard) -> None:
        self._labels = [encode_labels(labels.items()) for labels in shard.labels]
        self._templates: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def request(self, values: np.ndarray, times: np.ndarray) -> bytes:
        """The request with these values (series by steps) at these times in milliseconds, compressed."""
        body, places = self._template(len(times))
        samples = np.empty((*values.shape, len(_SAMPLE)), np.uint8)
        samples[:] = _SAMPLE
        samples[:, :, 3:11] = np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, 8)
        for i in range(6):
            samples[:, :, 12 + i] = times >> 7 * i & 0x7F | 0x80 * (i < 5)
        body[places] = samples.reshape(len(values), -1)
        return bytes(cramjam.snappy.compress_raw(body.tobytes()))

    def _template(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """A request's bytes, and where in them each series' samples are."""
        if steps not in self._templates:
            size = steps * len(_SAMPLE)
            framed = [field(1, labels + bytes(size)) for labels in self._labels]
            ends = np.cumsum([len(entry) for entry in framed])
            places = (ends - size)[:, None] + np.arange(size)
            self._templates[steps] = np.frombuffer(b"".join(framed), np.uint8).copy(), places
        return self._templates[steps]


class Sending:
    """What the senders share: whose turn it is and what was done."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.waves = threading.Barrier(SENDERS)
        self.lock = threading.Lock()
        self.counts = {"samples": 0, "requests": 0, "bytes": 0, "retried": 0}

    def send(self, shards: Sequence[Shard], waves: range) -> None:
        """Send what these shards have, wave after wave."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=120)
        encoders = [Encoder(shard) for shard in shards]
        try:
            for wave_end in waves:
                for shard, encoder in zip(shards, encoders, strict=True):
                    while shard.next_ms < wave_end and shard.next_ms <= shard.last_ms:
                        due = -(-(min(wave_end, shard.last_ms + 1) - shard.next_ms) // shard.step_ms)
                        values, times = shard.block(min(due, shard.steps_a_request))
                        self._post(connection, encoder.request(values, times), values.size)
                self.waves.wait()
        except threading.BrokenBarrierError:
            return
        except BaseException:
            self.waves.abort()
            raise

    def _post(self, connection: http.client.HTTPConnection, body: bytes, samples: int) -> None:
        while True:
            connection.request("POST", urllib.parse.urlsplit(self.url).path, body, _HEADERS)
            response = connection.getresponse()
            answer = response.read()
            if response.status in (200, 204):
                break
            if response.status not in (429, 503):
                raise RuntimeError(f"{response.status}: {answer!r}")
            with self.lock:
                self.counts["retried"] += 1
            time.sleep(0.05)
        with self.lock:
            self.counts["samples"] += samples
            self.counts["requests"] += 1
            self.counts["bytes"] += len(body)


def main() -> None:
    url, plan, end_ms = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sets = sets_of(plan)
    shards = shards_of(sets, end_ms)
    first = min(shard.next_ms for shard in shards)
    waves = range(first + _WAVE_MS, end_ms + 2 * _WAVE_MS, _WAVE_MS)
    sending = Sending(url)
    threads = [threading.Thread(target=sending.send, args=(shards[i::SENDERS], waves)) for i in range(SENDERS)]
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, start = time.process_time(), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps(sending.counts | times), flush=True)
    if sending.counts["samples"] != sum(one.samples for one in sets):
        raise SystemExit("not everything was taken")


if __name__ == "__main__":
    main()
