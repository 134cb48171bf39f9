"""The commands and their options, as typer sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchkeeper_server.api.prometheus.options import PrometheusApiOptions
from watchkeeper_server.cli.serve import run_server
from watchkeeper_server.options import OptionError, Options, parse_address, parse_disk_limit, parse_retention
from watchkeeper_server.promql.options import EngineOptions
from watchkeeper_server.query.options import RecentOptions

cli = typer.Typer(
    name="watchkeeper",
    help="Observability for Python services, whole: one import, one process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
DATA = typer.Option("--data", help="The folder that holds everything.", file_okay=False)
LISTEN = typer.Option("--listen", metavar="HOST:PORT", help="Page, API and OTLP/HTTP.")
OTLP_HTTP = typer.Option("--otlp-http", metavar="HOST:PORT|off", help="OTLP/HTTP on its standard port.")
OTLP_GRPC = typer.Option("--otlp-grpc", metavar="HOST:PORT|off", help="OTLP/gRPC on its standard port.")
CONFIG = typer.Option("--config", metavar="FILE", help="A prometheus.yml to scrape by; read again when it changes.")
ADMIN_API = typer.Option("--admin-api", help="Allow Prometheus' API to delete series and take snapshots.")
RETENTION_DISK = typer.Option(
    "--retention-disk",
    metavar="SHARE|SIZE|off",
    help="Drop the oldest days when the disk is fuller than that, such as 80%, or more is stored, such as 50GB.",
)
RECENT_SAMPLES = typer.Option("--recent-samples", min=0, help="How many of the newest to keep in memory.")
EXPERIMENTAL = typer.Option("--experimental-promql", help="Allow PromQL's experimental functions and modifiers.")


@cli.command()
def serve(
    data: Annotated[Path, DATA] = Path("watchkeeper-data"),
    listen: Annotated[str, LISTEN] = "127.0.0.1:7070",
    otlp_http: Annotated[str, OTLP_HTTP] = "127.0.0.1:4318",
    otlp_grpc: Annotated[str, OTLP_GRPC] = "127.0.0.1:4317",
    retention: Annotated[
        str,
        typer.Option(metavar="DAYS|off", help="How long to keep data: 30d, off, or traces=7d,rollups-5m=180d."),
    ] = "30d",
    retention_disk: Annotated[str, RETENTION_DISK] = "off",
    config: Annotated[Path | None, CONFIG] = None,
    admin_api: Annotated[bool, ADMIN_API] = False,
    experimental_promql: Annotated[bool, EXPERIMENTAL] = False,
    recent_samples: Annotated[int, RECENT_SAMPLES] = RecentOptions().samples,
) -> None:
    """Run the server."""
    try:
        main = parse_address("--listen", listen)
        if main is None:
            raise OptionError("--listen cannot be off: without it nobody could ask the server anything")
        options = Options(
            data=data.resolve(),
            listen=main,
            otlp_http=parse_address("--otlp-http", otlp_http),
            otlp_grpc=parse_address("--otlp-grpc", otlp_grpc),
            retention_days=parse_retention(retention),
            disk_limit=parse_disk_limit(retention_disk),
            config=config.resolve() if config else None,
            promql=EngineOptions(experimental=experimental_promql),
            recent=RecentOptions(samples=recent_samples),
            prometheus_api=PrometheusApiOptions(admin=admin_api, experimental=experimental_promql),
        )
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(run_server(options))


@cli.command()
def demo(
    data: Annotated[Path | None, DATA] = None,
    listen: Annotated[str, LISTEN] = "127.0.0.1:7070",
    otlp_http: Annotated[str, OTLP_HTTP] = "127.0.0.1:4318",
    otlp_grpc: Annotated[str, OTLP_GRPC] = "127.0.0.1:4317",
    duration: Annotated[float | None, typer.Option("--for", metavar="SECONDS", help="End by itself.")] = None,
    rate: Annotated[float, typer.Option(help="The shop's requests per second.")] = 15.0,
) -> None:
    """Run the server with a shop to watch and customers for it; one Ctrl-C ends everything."""
    from watchkeeper_server.cli.demo import DemoOptions, run_demo  # noqa: PLC0415  with rich, which a server needs not

    raise typer.Exit(run_demo(DemoOptions(data, listen, otlp_http, otlp_grpc, duration, rate)))
