"""`watchkeeper demo`: the server, a shop to watch, and customers for the shop.

Starts `watchkeeper serve` and then, from `examples/shop`, the payments service, the shop and its traffic, each a
process of its own that ends with this one. Ends on a signal, after a given time, or when a child ends by itself.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.util
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from watchkeeper_server.cli.addresses import check_free, fetch, listens, next_free, reachable
from watchkeeper_server.cli.children import ChildEndedError, Children, StopRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHOP_PORT = 8000
PAYMENTS_PORT = 8001
READY_SECONDS = 30.0  # what the slowest machine may need to start a child
LOG_LINES = 20

# How long each group of children has for a tidy end. With the summary's pause between the last two it stays below the
# five seconds that a user will wait after Ctrl-C. The server may be cut short: what it acknowledged is in its journal.
TRAFFIC_SECONDS = 1.0
APPS_SECONDS = 2.0  # the SDK's own limit for its last delivery
SERVER_SECONDS = 1.2
SETTLE_SECONDS = 0.5  # for the apps' last delivery to become searchable
SETTLE_UNHURRIED_SECONDS = 3.0  # the same where nobody waits for Ctrl-C to act


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `watchkeeper demo` can be told; the addresses are those of `watchkeeper serve`.

    `data` is a temporary folder, deleted at the end, if `None`; `duration_seconds` is until Ctrl-C, if `None`; `rate`
    is the shop's requests per second.
    """

    data: Path | None = None
    listen: str = "127.0.0.1:7070"
    otlp_http: str = "127.0.0.1:4318"
    otlp_grpc: str = "127.0.0.1:4317"
    duration_seconds: float | None = None
    rate: float = 15.0


class DemoError(Exception):
    """The demo cannot run; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided before the first process starts."""

    options: DemoOptions
    data: Path
    examples: Path
    shop_port: int
    payments_port: int

    @property
    def logs(self) -> Path:
        """Where the children's output goes."""
        return self.data / "demo-logs"

    @property
    def server(self) -> str:
        """The server's address, for a browser on this machine."""
        return f"http://{reachable(self.options.listen)}"

    @property
    def shop(self) -> str:
        """The shop's address."""
        return f"http://127.0.0.1:{self.shop_port}"

    @property
    def payments(self) -> str:
        """The payments service's address."""
        return f"http://127.0.0.1:{self.payments_port}"


def run_demo(options: DemoOptions) -> int:
    """Run the demo to its end and return the exit code: 0 after a signal or when the time is up, 1 after a failure."""
    console = Console(highlight=False)
    with StopRequest() as stop, _data_folder(options.data) as data:
        try:
            plan = _plan(options, data)
            with Children(plan.logs, stop) as children:
                return _run(plan, children, console)
        except DemoError as error:
            console.print(f"[red]The demo cannot start.[/] {escape(str(error))}", soft_wrap=True)
            return 1


def examples_folder() -> Path:
    """The folder that holds `shop`: in an installed package within it, in a checkout beside `src`.

    Raises:
        DemoError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        if (folder / "shop" / "app.py").is_file():
            return folder
    raise DemoError(f"Its shop is missing from {package / 'examples'}: install watchkeeper again.")


def _plan(options: DemoOptions, data: Path) -> Plan:
    missing = [name for name in ("httpx", "sqlalchemy") if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoError(f"Its shop needs what is not installed: pip install {' '.join(missing)}")
    if options.rate <= 0:
        raise DemoError("--rate must be more than 0 requests a second.")
    addressed = replace(
        options,
        listen=_free("--listen", options.listen),
        otlp_http=options.otlp_http if options.otlp_http == "off" else _free("--otlp-http", options.otlp_http),
        otlp_grpc=options.otlp_grpc if options.otlp_grpc == "off" else _free("--otlp-grpc", options.otlp_grpc),
    )
    shop_port = next_free(SHOP_PORT)
    return Plan(
        options=addressed,
        data=data,
        examples=examples_folder(),
        shop_port=shop_port,
        payments_port=next_free(max(PAYMENTS_PORT, shop_port + 1)),
    )


def _free(option: str, address: str) -> str:
    """The address, its port chosen if that is 0; says what to do about one that the server could not listen on."""
    try:
        return check_free(address)
    except ValueError as error:
        raise DemoError(f"{option} {error}.") from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise DemoError(f"{option} {address} cannot be listened on: {error.strerror}.") from error
        host, _, port = address.rpartition(":")
        other = f"{option} {host}:{int(port) + 1}"
        raise DemoError(
            f"Something listens on {address} already, another Watchkeeper perhaps: stop it, or choose another port, "
            f"such as {other}."
        ) from error


def _run(plan: Plan, children: Children, console: Console) -> int:
    began = time.time()
    seconds = plan.options.duration_seconds
    settle_seconds = SETTLE_SECONDS
    failure: ChildEndedError | None = None
    console.print("Starting the server, a shop, its payments service and its customers …")
    try:
        if _start(plan, children):
            _say_where(plan, console)
            end = float("inf") if seconds is None else time.monotonic() + seconds
            if children.watch(lambda: time.monotonic() >= end):
                settle_seconds = SETTLE_UNHURRIED_SECONDS
    except ChildEndedError as error:
        failure = error
        _say_ended(plan, error, console)
    # First who asks, then who answers, so that nothing fails on the way out; the apps deliver what they still hold.
    console.print("Stopping …")
    children.end("traffic", timeout_seconds=TRAFFIC_SECONDS)
    children.end("shop", "payments", timeout_seconds=APPS_SECONDS)
    if failure is None:
        _say_summary(plan, began, settle_seconds, console)
    children.end("server", timeout_seconds=SERVER_SECONDS)
    return 0 if failure is None else 1


def _start(plan: Plan, children: Children) -> bool:
    """Start everything, each once what it needs is ready; false if a signal asked to stop meanwhile."""
    options = plan.options
    children.start(
        "server",
        [
            *(sys.executable, "-m", "watchkeeper_server", "serve", "--data", str(plan.data)),
            *("--listen", options.listen, "--otlp-http", options.otlp_http, "--otlp-grpc", options.otlp_grpc),
        ],
        dict(os.environ),
    )
    if not _until_ready(children, "server", lambda: fetch(f"{plan.server}/-/ready") is not None):
        return False
    for name, module, port in (("payments", "payments", plan.payments_port), ("shop", "app", plan.shop_port)):
        uvicorn = ("-m", "uvicorn", f"shop.{module}:app", "--timeout-graceful-shutdown", "1", "--no-access-log")
        children.start(name, [sys.executable, "-P", *uvicorn, "--port", str(port)], _environment(plan, name))
    for name, port in (("payments", plan.payments_port), ("shop", plan.shop_port)):
        if not _until_ready(children, name, functools.partial(listens, port)):
            return False
    traffic = ("-m", "shop.traffic", plan.shop, "--rate", str(options.rate))
    children.start("traffic", [sys.executable, "-P", *traffic], _environment(plan, "traffic"))
    return _until_ready(children, "traffic", lambda: (plan.logs / "traffic.log").stat().st_size > 0)


def _environment(plan: Plan, service: str) -> dict[str, str]:
    """What an application's process is told; the user's own telemetry settings are for the user's applications."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "WATCHKEEPER_", "SENTRY_"))
    }
    return inherited | {
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": plan.server,
        "OTEL_BSP_SCHEDULE_DELAY": "250",  # milliseconds, both: who has just used curl looks at the page right away
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "SHOP_DATA": str(plan.data / "demo-shop"),
        "SHOP_PAYMENTS_URL": plan.payments,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(plan.examples), os.environ.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "*",  # everything is on this machine
        "no_proxy": "*",
    }


def _until_ready(children: Children, name: str, check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + READY_SECONDS

    def ready() -> bool:
        if time.monotonic() > deadline:
            raise DemoError(f"The {name} was not ready after {READY_SECONDS:.0f} s: is this machine very busy?")
        return check()

    return children.watch(ready)


def _say_where(plan: Plan, console: Console) -> None:
    keeping = "deleted at the end; --data DIR keeps it" if plan.options.data is None else "kept"
    seconds = plan.options.duration_seconds
    faults = plan.data / "demo-shop" / "faults.json"
    lines = (
        ("Look", f"[bold]{plan.server}[/]"),
        ("Shop", f"{plan.shop}/docs"),
        ("Try", f"curl {plan.shop}/products/12/rating   [dim]fails; its trace shows where[/]"),
        ("Break", f"echo '{{\"card_declined\": 1}}' > {escape(str(faults))}"),
        ("Data", f"{escape(str(plan.data))}   [dim]{keeping}[/]"),
        ("Stop", "Ctrl-C" if seconds is None else f"Ctrl-C, or by itself after {seconds:g} s"),
    )
    console.print("\n[bold green]Watchkeeper is watching a small shop.[/]\n")
    for label, text in lines:
        console.print(f"  [cyan]{label:<7}[/]{text}", soft_wrap=True)
    console.print()


def _say_ended(plan: Plan, error: ChildEndedError, console: Console) -> None:
    child = error.child
    console.print(f"[red]The {child.name} ended by itself[/] ({_ending(child.process.returncode)}).", soft_wrap=True)
    lines = child.last_lines(LOG_LINES)
    console.print("The last lines of its log:" if lines else "Its log is empty.")
    for line in lines:
        console.print(f"  {escape(line)}", soft_wrap=True)
    where = f"All logs are in {plan.logs}." if plan.options.data else "--data DIR keeps all logs."
    console.print(escape(where), soft_wrap=True)


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _say_summary(plan: Plan, began: float, settle_seconds: float, console: Console) -> None:
    tally = _tally(plan.logs / "traffic.log")
    if tally is None:
        return  # it was stopped before there were customers
    console.print(f"Customers made {tally['requests']} requests. What Watchkeeper stored of them:")
    services = _stored(plan, began, sum(tally["statuses"].values()), settle_seconds)
    if services is None:
        console.print("[red]unknown: the server does not answer[/]")
        return
    table = Table("service", box=None, header_style="cyan")
    for heading in ("requests", "errors", "p95", "spans", "log records"):
        table.add_column(heading, justify="right")
    for service in services:
        p95_ns = service["p95_ns"]
        p95 = "" if p95_ns is None else f"{p95_ns / 1e6:.0f} ms"
        counts = (service["requests"], service["errors"], p95, service["spans"], service["log_records"])
        table.add_row(service["name"], *map(str, counts))
    console.print(table)


def _tally(log: Path) -> dict[str, Any] | None:
    """What the traffic says it did: the last line of its output; `None` if it did not come to that."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        tally = json.loads(log.read_text().splitlines()[-1])
        return tally if isinstance(tally, dict) else None
    return None


def _stored(plan: Plan, began: float, requests: int, settle_seconds: float) -> list[dict[str, Any]] | None:
    """The services seen since `began`, as soon as the shop has that many requests or the time is up."""
    deadline = time.monotonic() + settle_seconds
    while True:
        answer = fetch(f"{plan.server}/api/wk/services?start={began:.3f}")
        if answer is None:
            return None
        services: list[dict[str, Any]] = json.loads(answer)["services"]
        seen = sum(service["requests"] for service in services if service["name"] == "shop")
        if seen >= requests or time.monotonic() >= deadline:
            return services
        time.sleep(0.1)


@contextlib.contextmanager
def _data_folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="watchkeeper-demo-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
