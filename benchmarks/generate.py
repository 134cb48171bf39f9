"""Send requests of one signal to a server as fast as it takes them, or at a rate; prints what was acknowledged.

A process of its own, so that its work is not counted as the server's. Items carry the time they are sent at, or times
that lie in even order over the last so many hours. Usage: generate.py URL SIGNAL ITEMS [RATE [HOURS]]
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import urllib.parse

from payloads import MAKERS, SERVICES

SENDERS = 4
HEADERS = {"content-type": "application/x-protobuf"}
# By signal: where to and with which headers, if not as OTLP.
WAYS = {"samples": ("/api/v1/write", HEADERS | {"content-encoding": "snappy"})}


def main() -> None:
    url, signal, items = sys.argv[1], sys.argv[2], int(sys.argv[3])
    rate = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    requests = [MAKERS[signal](service) for service in SERVICES]
    path, headers = WAYS.get(signal, (f"/v1/{signal}", HEADERS))
    past_seconds = float(sys.argv[5]) * 3600 if len(sys.argv) > 5 else 0.0
    number_of_requests = items // requests[0].items
    turns = iter(range(number_of_requests))
    lock = threading.Lock()
    counts = {"acknowledged": 0, "retried": 0}
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.monotonic()

    def send(number: int) -> None:
        place = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(place.netloc, timeout=60)
        request = requests[number]
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            if rate:
                time.sleep(max(0.0, start + turn * request.items / rate - time.monotonic()))
            body = request.renew(past_seconds * (1 - turn / number_of_requests), turn)
            while True:
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                answer = response.read()
                if response.status in (200, 204):
                    break
                if response.status not in (429, 503):
                    raise SystemExit(f"{response.status}: {answer!r}")
                counts["retried"] += 1
                time.sleep(0.05)
            with lock:
                counts["acknowledged"] += request.items

    threads = [threading.Thread(target=send, args=(i,)) for i in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(counts | {"seconds": time.monotonic() - start, "cpu_seconds": time.process_time()}), flush=True)


if __name__ == "__main__":
    main()
