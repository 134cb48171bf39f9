"""Every way out over TLS, as its own server would be reached: trusted, shown who asks, or not believed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import watchkeeper as wk
from support.health import found
from support.http_server import answering
from support.log_servers import ElasticServer, LokiServer, running
from support.sdk import Sink, dropped, request
from support.tls import Authority, Certificate, tls_before
from watchkeeper import LogOptions, Options, QueueOptions, SignalOptions
from watchkeeper.client import running_client
from watchkeeper.export import exporter
from watchkeeper.export.boundary import boundary
from watchkeeper.health.options import HealthOptions
from watchkeeper.logging.server_options import ElasticsearchOptions, LokiOptions

NOTHING = Options(
    export={},
    logs=LogOptions(stream="off", capture=False),
    queue=QueueOptions(delay_seconds=0.02),
    health=HealthOptions(checks=()),  # which would say what it thinks of these servers
)
REDIS, AMQP = 6379, 5672
WAYS = {"otlp": "traces", "zipkin": "traces", "loki": "logs_loki", "elasticsearch": "logs_elasticsearch"}
WAYS_AND_SENTRY = {**WAYS, "sentry": "errors"}


@pytest.fixture(autouse=True)
def silent(production: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests distrust servers on purpose; and what is said once is said anew in each of them."""
    monkeypatch.setattr(boundary, "_said", set())
    monkeypatch.setattr(exporter, "FIRST_BACKOFF", 0.02)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def shown(authority: Authority) -> Certificate:
    return authority.vouched("server")


class Servers:
    """What may be sent to, and what of it came."""

    def __init__(self, sink: Sink, loki: LokiServer, elastic: ElasticServer) -> None:
        self._urls = {"loki": loki.url, "elasticsearch": elastic.url}
        self._sink, self._loki, self._elastic = sink, loki, elastic

    def port(self, way: str) -> int:
        return int(self._urls.get(way, self._sink.url).rpartition(":")[2])

    def came(self) -> int:
        return len(self._sink.requests) + len(self._loki.asked) + len(self._elastic.all())


@pytest.fixture
def servers(sink: Sink) -> Iterator[Servers]:
    loki, elastic = LokiServer(), ElasticServer()
    with running(loki), running(elastic):
        yield Servers(sink, loki, elastic)
        wk.shutdown(0.5)


def options(way: str, port: int, certificate: str, **client: str) -> Options:
    """For one item by that way and nothing else."""
    url = f"https://localhost:{port}"
    if way == "loki":
        return replace(NOTHING, logs=replace(NOTHING.logs, loki=LokiOptions(url, certificate=certificate)))
    if way == "elasticsearch":
        elastic = ElasticsearchOptions(url, certificate=certificate, keep_days=7)
        return replace(NOTHING, logs=replace(NOTHING.logs, elasticsearch=elastic))
    if way == "sentry":
        return replace(NOTHING, errors=wk.ErrorOptions(dsn=f"https://key@localhost:{port}/7"))
    path = "/api/v2/spans" if way == "zipkin" else "/v1/traces"
    protocol: Any = "zipkin" if way == "zipkin" else "http/protobuf"
    return replace(
        NOTHING, export={"traces": SignalOptions(url + path, protocol=protocol, certificate=certificate, **client)}
    )


async def used() -> int:
    """A request of an application that says something in each way; its status."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        wk.get_logger("shop").info("placed")
        wk.capture_exception(ValueError("declined"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"thanks"})

    answer = await request(wk.instrument(app))
    assert answer.error is None
    return answer.status


@pytest.mark.parametrize("way", WAYS)
async def test_a_server_whose_authority_is_named_gets_what_is_sent(
    way: str, servers: Servers, authority: Authority, shown: Certificate
) -> None:
    with tls_before(servers.port(way), shown) as port:
        wk.configure(options(way, port, authority.certificate))
        assert await used() == 200
        assert wk.flush(5)
        assert servers.came() == 1


@pytest.mark.parametrize("way", WAYS_AND_SENTRY)
async def test_an_authority_that_the_machine_trusts_needs_no_option(
    way: str, servers: Servers, authority: Authority, shown: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)
    with tls_before(servers.port(way), shown) as port:
        wk.configure(options(way, port, ""))
        assert await used() == 200
        assert wk.flush(5)
        assert servers.came() == 1


@pytest.mark.parametrize("way", WAYS_AND_SENTRY)
async def test_a_server_that_nobody_vouches_for_gets_nothing_and_one_line_says_what_to_do(
    way: str, servers: Servers, shown: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    signal = WAYS_AND_SENTRY[way]
    before = dropped(signal, "unreachable")
    with tls_before(servers.port(way), shown) as port, caplog.at_level(logging.WARNING, "watchkeeper"):
        wk.configure(options(way, port, ""))
        assert await used() == 200
        assert not wk.flush(5)
        assert not wk.flush(5)  # it is tried again
        client = running_client()
        assert client is not None
        assert "certificate verify failed" in client.lanes[signal].trouble
        wk.shutdown(1)
    assert servers.came() == 0
    assert dropped(signal, "unreachable") == before + 1
    (line,) = [record.getMessage() for record in caplog.records if record.name == "watchkeeper"]
    assert line.startswith(f"watchkeeper drops {signal} (unreachable): https://localhost:{port}/")
    assert "certificate verify failed" in line
    assert line.endswith("; name the authority that signed it in the option `certificate`, or in SSL_CERT_FILE")


@pytest.mark.parametrize("way", ["otlp", "zipkin"])
async def test_a_server_that_asks_who_sends_is_shown_it(
    way: str, servers: Servers, authority: Authority, shown: Certificate
) -> None:
    own = authority.vouched("client")
    with tls_before(servers.port(way), shown, clients_of=authority.certificate) as port:
        wk.configure(options(way, port, authority.certificate))
        await used()
        assert not wk.flush(5)
        wk.shutdown(0.5)
        assert servers.came() == 0
        wk.configure(
            options(
                way,
                port,
                authority.certificate,
                client_certificate=str(own.certificate),
                client_key=str(own.key),
            )
        )
        await used()
        assert wk.flush(5)
        assert servers.came() == 1


@pytest.mark.parametrize("prefix", ["OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"])
async def test_opentelemetrys_variables_name_the_files(
    prefix: str, servers: Servers, authority: Authority, shown: Certificate
) -> None:
    own = authority.vouched("client")
    with tls_before(servers.port("otlp"), shown, clients_of=authority.certificate) as port:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{port}",
            f"{prefix}CERTIFICATE": authority.certificate,
            f"{prefix}CLIENT_CERTIFICATE": str(own.certificate),
            f"{prefix}CLIENT_KEY": str(own.key),
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "none",
            "WATCHKEEPER_LOG_STREAM": "off",
        }
        wk.configure(Options.from_environment(environment))
        await used()
        assert wk.flush(5)
        assert servers.came() == 1


async def test_a_file_that_holds_no_certificate_harms_nobody_but_what_is_sent(
    servers: Servers, shown: Certificate, tmp_path: Path
) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    before = dropped("traces", "unreachable")
    with tls_before(servers.port("otlp"), shown) as port:
        wk.configure(options("otlp", port, str(nonsense)))
        assert await used() == 200
        assert not wk.flush(5)
        wk.shutdown(0.5)
    assert dropped("traces", "unreachable") == before + 1


# Health


@pytest.fixture(params=["trusted", "distrusted"])
def trusted(request: pytest.FixtureRequest, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "trusted":
        monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)
    return bool(request.param == "trusted")


@pytest.mark.parametrize("kind", ["https", "amqps", "rediss"])
def test_a_check_believes_a_server_whose_authority_the_machine_trusts_and_no_other(
    kind: str, shown: Certificate, *, trusted: bool
) -> None:
    with ExitStack() as stack:
        inner = int(stack.enter_context(answering()).authority.rpartition(":")[2]) if kind == "https" else 0
        port = stack.enter_context(tls_before(inner or {"amqps": AMQP, "rediss": REDIS}[kind], shown))
        checks = {
            "https": lambda: wk.check_http(f"https://localhost:{port}/", "it", retries=0),
            "amqps": lambda: wk.check_broker(f"amqps://guest:guest@localhost:{port}", "it", slow_seconds=5),
            "rediss": lambda: wk.check_cache(f"rediss://localhost:{port}", "it", slow_seconds=5),
        }
        report = found("it", checks[kind])
    if trusted:
        assert (report.status, report.message) == ("healthy", "")
    else:
        assert report.status == "unhealthy"
        assert "certificate verify failed" in report.message


def test_a_check_of_a_cache_takes_its_authority_from_the_url(authority: Authority, shown: Certificate) -> None:
    with tls_before(REDIS, shown) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={authority.certificate}"
        assert found("it", lambda: wk.check_cache(url, "it", slow_seconds=5)).status == "healthy"
