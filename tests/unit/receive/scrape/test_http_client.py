from __future__ import annotations

import asyncio
import gzip
import random
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import uvloop

from support.scraping import Reply, Request, TargetServer, serving
from watchkeeper_server.receive.scrape.http_client import BodySizeError, FetchError, HttpClient, Response, TokenSource
from watchkeeper_server.receive.scrape.http_config import (
    Authorization,
    BasicAuth,
    Header,
    HttpConfig,
    OAuth2,
    ProxyConfig,
    TlsConfig,
)
from watchkeeper_server.receive.scrape.yaml_reader import FilePath

BODY = b"a 1\n" * 1000


async def get(
    target: TargetServer, config: HttpConfig | None = None, *, scheme: str = "http", host: str = "", **limits: float
) -> Response:
    client = HttpClient(config or HttpConfig())
    try:
        return await client.get(
            f"{scheme}://{host or target.address}/metrics",
            {"accept": "text/plain"},
            most_bytes=int(limits.get("most_bytes", 10**6)),
            timeout_seconds=limits.get("timeout_seconds", 5.0),
        )
    finally:
        client.close()


def compressed(encoding: str, body: bytes = BODY) -> Reply:
    content = gzip.compress(body) if encoding == "gzip" else pa.compress(body, "zstd", asbytes=True)
    return Reply(content, headers={"Content-Type": "text/plain", "Content-Encoding": encoding})


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_a_compressed_response_is_decompressed(encoding: str) -> None:
    async with serving(compressed(encoding)) as target:
        assert await get(target) == Response("text/plain", BODY)


@pytest.mark.parametrize("reply", [Reply(BODY), compressed("gzip"), compressed("zstd")])
async def test_a_response_over_the_limit_is_refused_before_it_is_whole(reply: Reply) -> None:
    async with serving(reply) as target:
        assert len((await get(target, most_bytes=len(BODY))).body) == len(BODY)
        with pytest.raises(BodySizeError, match="body size limit exceeded"):
            await get(target, most_bytes=len(BODY) - 1)


async def test_an_endless_response_ends_at_the_limit() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
                await writer.drain()
        except ConnectionError:
            pass

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    target = TargetServer(Reply())
    target.port = server.sockets[0].getsockname()[1]
    with pytest.raises(BodySizeError):
        await get(target, most_bytes=100_000)
    server.close()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(status="500 Internal Server Error"), "server returned HTTP status 500 Internal Server Error"),
        (Reply(status="204 No Content"), "server returned HTTP status 204 No Content"),
        (Reply(b"x", headers={"Content-Encoding": "gzip"}), "cannot be decompressed"),
        (Reply(b"x", headers={"Content-Encoding": "br"}), "cannot be decompressed"),
        (Reply(raw=b"SSH-2.0-OpenSSH\r\n"), 'Get "http'),
        (Reply(raw=b""), 'Get "http'),
        (Reply(status="302 Found", headers={"Location": "/metrics"}), 'Get "http'),
    ],
)
async def test_a_response_of_no_use_is_an_error_in_one_line(reply: Reply, message: str) -> None:
    async with serving(reply) as target:
        with pytest.raises(FetchError, match=message) as raised:
            await get(target)
        assert "\n" not in str(raised.value)


async def test_a_refused_connection_and_an_unknown_host_are_said_plainly() -> None:
    nobody = TargetServer(Reply())
    nobody.port = 1
    with pytest.raises(FetchError, match=r'Get "http://127.0.0.1:1/metrics": connection refused'):
        await get(nobody)
    with pytest.raises(FetchError, match=r'Get "http://nobody.invalid/metrics": '):
        await get(nobody, host="nobody.invalid")


async def test_a_target_that_hangs_is_given_up_in_time() -> None:
    async with serving(Reply(delay=asyncio.Event())) as target:
        with pytest.raises(FetchError, match=r"context deadline exceeded after 0.05s"):
            await get(target, timeout_seconds=0.05)


async def test_redirects_are_followed_only_if_wanted() -> None:
    def answer(request: Request) -> Reply:
        return Reply(BODY) if request.path == "/other" else Reply(status="302 Found", headers={"Location": "/other"})

    async with serving(answer) as target:
        assert (await get(target)).body == BODY
        with pytest.raises(FetchError, match="status 302"):
            await get(target, HttpConfig(follow_redirects=False))


async def test_a_connection_is_kept_and_opened_again_when_the_target_closed_it() -> None:
    async with serving(Reply(BODY)) as target:
        client = HttpClient(HttpConfig())
        for _ in range(3):
            await client.get(f"http://{target.address}/", {}, most_bytes=10**6, timeout_seconds=5)
        assert target.connections == 1
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"  # and closes
        target.answer = Reply(raw=head)
        for _ in range(3):
            await client.get(f"http://{target.address}/", {}, most_bytes=10**6, timeout_seconds=5)
        client.close()


async def test_credentials_and_headers_are_sent(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    file = FilePath(str(secret))
    cases = [
        (HttpConfig(basic_auth=BasicAuth(username="me", password_file=file)), "basic bwu6ahvudgvymg=="),
        (HttpConfig(authorization=Authorization(type="Token", credentials_file=file)), "token hunter2"),
        (HttpConfig(bearer_token="abc"), "bearer abc"),
    ]
    async with serving(Reply(BODY)) as target:
        for config, sent in cases:  # in lower letters, as the target keeps them
            await get(target, config)
            assert target.requests[-1].headers["authorization"] == sent
        header = Header(values=("1",), secrets=("2",), files=(file,))
        await get(target, HttpConfig(http_headers={"X-Scope": header}))
        assert target.requests[-1].headers["x-scope"] == "1,2,hunter2"
        assert target.requests[-1].headers["user-agent"].startswith("watchkeeper/")
        with pytest.raises(FetchError, match=r"unable to read file .*gone: no such file"):
            await get(target, HttpConfig(basic_auth=BasicAuth(password_file=FilePath(str(tmp_path / "gone")))))


async def test_a_request_goes_through_its_proxy() -> None:
    async with serving(Reply(BODY)) as proxy:
        config = HttpConfig(proxy=ProxyConfig(proxy_url=f"http://{proxy.address}", no_proxy="127.0.0.1"))
        assert (await get(proxy, config, host="inner.example:9100")).body == BODY
        assert proxy.requests[-1].path == "http://inner.example:9100/metrics"
        assert (await get(proxy, config)).body == BODY
        assert proxy.requests[-1].path == "/metrics"


async def test_a_plain_request_tells_its_proxy_who_asks_and_nothing_that_is_for_connect() -> None:
    async with serving(Reply(BODY)) as proxy:
        url = f"http://me:pw@{proxy.address}"
        told = {"X-Secret": ("s3cret",), "Proxy-Authorization": ("other",)}
        config = HttpConfig(proxy=ProxyConfig(proxy_url=url, proxy_connect_header=told))
        await get(proxy, config, host="inner.example")
        sent = proxy.requests[-1].headers
        assert sent["proxy-authorization"] == "basic bwu6chc="  # in lower letters
        assert "x-secret" not in sent


async def test_a_token_is_fetched_once_and_again_when_it_ends() -> None:
    tokens = iter(range(1, 9))

    def answer(request: Request) -> Reply:
        if b"client_secret" not in request.body:  # as servers that know the secret only from the form
            return Reply(status="401 Unauthorized")
        assert b"grant_type=client_credentials" in request.body
        assert b"scope=a+b" in request.body
        number = next(tokens)
        expires = 5 if number == 1 else 3600
        return Reply(b'{"access_token": "t%d", "token_type": "bearer", "expires_in": %d}' % (number, expires))

    async with serving(answer) as server:
        config = OAuth2("id", "secret", token_url=f"http://{server.address}/token", scopes=("a", "b"))
        source = TokenSource(config)
        assert [await source.authorization() for _ in range(3)] == ["Bearer t1", "Bearer t2", "Bearer t2"]
        source.close()
        server.answer = Reply(b"[]")
        refused = TokenSource(config)
        with pytest.raises(FetchError, match="no access_token"):
            await refused.authorization()
        refused.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=inner.example", "-addext", "subjectAltName=DNS:inner.example"]
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*command, *subject, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


async def test_tls_is_verified_as_configured(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    shown = {"cert_file": FilePath(str(cert)), "key": key.read_text()}
    good = {"ca_file": FilePath(str(cert)), "server_name": "inner.example"}
    async with serving(Reply(BODY), context) as target:
        for config in (
            {**good, "cert_file": FilePath(str(cert)), "key_file": FilePath(str(key))},
            {**good, "cert": cert.read_text(), "key": key.read_text(), "min_version": "TLS12", "max_version": "TLS12"},
            {**shown, "insecure_skip_verify": True},
        ):
            assert (await get(target, HttpConfig(tls_config=TlsConfig(**config)), scheme="https")).body == BODY  # type: ignore[arg-type]
        for config, message in (
            ({**shown, **good, "server_name": ""}, "tls: failed to verify certificate: IP address mismatch"),
            ({**shown, "server_name": "inner.example"}, "tls: failed to verify certificate: self-signed"),
            ({**shown, "ca_file": FilePath("/nowhere.pem")}, r"^unable to read file /nowhere.pem: no such file or"),
            ({**shown, "ca_file": FilePath(str(key))}, f"^tls: unable to use {key}: NO_CERTIFICATE"),
            ({"cert_file": FilePath(str(cert)), "key_file": FilePath(str(cert))}, f"unable to use {cert} with {cert}"),
        ):
            with pytest.raises(FetchError, match=message):
                await get(target, HttpConfig(tls_config=TlsConfig(**config)), scheme="https")  # type: ignore[arg-type]


async def lines_of(client: HttpClient, url: str, seconds: float = 5.0) -> list[bytes]:
    return [line async for line in client.stream_lines(url, {}, timeout_seconds=seconds)]


async def test_a_stream_is_read_line_by_line_however_it_comes() -> None:
    parts = [b"one\ntw", b"o\n", "\u2028three\n".encode(), b"last"]
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    async with serving(Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)) as target:
        read = await lines_of(HttpClient(HttpConfig()), f"http://{target.address}/")
    assert read == [b"one", b"two", "\u2028three".encode(), b"last"]


async def test_a_stream_that_falls_silent_ends() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(FetchError, match=r"context deadline exceeded after 0.05s"):
        await lines_of(HttpClient(HttpConfig()), url, 0.05)
    server.close()
    await asyncio.sleep(0.01)  # for the server to see the end


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil it closes", "until it closes"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", 'Get "http.*": unexpected EOF'),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 'Get "http.*": unexpected EOF'),
        (b"HTTP/1.1 200 OK\r\nContent-Le", 'Get "http.*": EOF'),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200_000, "server response headers are too large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed HTTP response"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 'Get "http'),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://else/\r\n\r\n", 'unsupported protocol scheme "ftp"'),
    ],
)
async def test_a_response_is_whole_or_refused(raw: bytes, outcome: str) -> None:
    async with serving(Reply(raw=raw)) as target:
        try:
            told = (await get(target)).body.decode()
        except FetchError as error:
            told = str(error)
        assert re.search(outcome, told), told


async def test_an_answer_that_nobody_asked_for_is_ignored() -> None:
    answer = b"HTTP/1.1 %s\r\nContent-Length: 2\r\n\r\n%s"
    async with serving(Reply(raw=answer % (b"200 OK", b"ab") + answer % (b"500 Oh", b"cd") + b"and more")) as target:
        client = HttpClient(HttpConfig())
        for _ in range(3):
            response = await client.get(f"http://{target.address}/", {}, most_bytes=99, timeout_seconds=5)
            assert response.body == b"ab"
        client.close()


async def test_much_that_is_compressed_holds_nobody_up() -> None:
    body = random.Random(1).randbytes(20_000) * 1000

    async with serving(compressed("zstd", body)) as target:
        assert (await get(target, most_bytes=len(body))).body == body
        bomb = compressed("gzip", bytes(50_000_000))
        assert len(bomb.body) > 16 * 1024
        target.answer = bomb
        with pytest.raises(BodySizeError):
            await get(target, most_bytes=len(body))


async def test_a_password_in_the_address_is_sent_and_not_told() -> None:
    async with serving(Reply(BODY)) as target:
        await get(target, host=f"me:hunter2@{target.address}")
        assert target.requests[-1].headers["authorization"] == "basic bwu6ahvudgvymg=="  # in lower letters
        assert "hunter2" not in target.requests[-1].headers["host"]
        target.answer = Reply(status="500 Oh")
        nobody = TargetServer(Reply())
        for host in (f"me:hunter2@{target.address}", "me:hunter2@127.0.0.1:1"):
            with pytest.raises(FetchError) as raised:
                await get(nobody, host=host)
            assert "hunter2" not in str(raised.value)


async def test_credentials_stay_with_the_server_they_are_for() -> None:
    async with serving(Reply(BODY)) as other:
        there = f"http://localhost:{other.port}/"
        async with serving(Reply(status="307 Temporary Redirect", headers={"Location": there})) as target:
            await get(target, HttpConfig(bearer_token="abc"))
            assert target.requests[-1].headers["authorization"] == "bearer abc"
            assert "authorization" not in other.requests[-1].headers


async def test_a_secret_of_several_lines_is_no_way_to_more_headers(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a\r\nX-Other: b")
    async with serving(Reply(BODY)) as target:
        with pytest.raises(FetchError, match='invalid header field value for "authorization"'):
            await get(target, HttpConfig(authorization=Authorization(credentials_file=FilePath(str(secret)))))
        assert not target.requests


async def test_a_request_given_up_leaves_nothing_for_the_next() -> None:
    late = asyncio.Event()
    async with serving(lambda request: Reply(request.path.encode(), delay=late)) as target:
        client = HttpClient(HttpConfig())
        with pytest.raises(FetchError, match="deadline"):
            await client.get(f"http://{target.address}/first", {}, most_bytes=99, timeout_seconds=0.05)
        late.set()
        response = await client.get(f"http://{target.address}/second", {}, most_bytes=99, timeout_seconds=5)
        assert response.body == b"/second"
        client.close()


@pytest.mark.parametrize("loop_of", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_https_goes_through_a_proxy_by_connect(
    certificate: tuple[Path, Path], loop_of: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    asked: list[str] = []

    async def run() -> None:
        async with serving(Reply(BODY), context) as target:

            async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
                if "Basic" not in asked[-1]:
                    writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                    writer.close()
                    return
                inner_reader, inner = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await asyncio.wait(
                    [
                        asyncio.ensure_future(_copied(reader, inner)),
                        asyncio.ensure_future(_copied(inner_reader, writer)),
                    ]
                )

            server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            tls = TlsConfig(ca_file=FilePath(str(cert)))
            told = {"X-Cluster": ("inner",)}
            proxy = ProxyConfig(proxy_url=f"http://me:pw@{address}", proxy_connect_header=told)
            config = HttpConfig(tls_config=tls, proxy=proxy)
            client = HttpClient(config)
            for _ in range(2):
                response = await client.get("https://inner.example/metrics", {}, most_bytes=10**6, timeout_seconds=5)
                assert response.body == BODY
            client.close()
            assert [request.split("\r\n")[0] for request in asked] == ["CONNECT inner.example:443 HTTP/1.1"]
            assert "x-cluster: inner\r\n" in asked[0]
            assert [request.headers.get("x-cluster") for request in target.requests] == [None, None]
            plain = HttpConfig(tls_config=tls, proxy=ProxyConfig(proxy_url=f"http://{address}"))
            with pytest.raises(FetchError, match="407 Proxy Authentication Required"):
                await get(target, plain, scheme="https", host="inner.example")
            server.close()
            await asyncio.sleep(0.05)

    loop = loop_of()
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
    writer.close()
