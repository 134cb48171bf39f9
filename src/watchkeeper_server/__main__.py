"""`watchkeeper`, also as `python -m watchkeeper_server`."""

from watchkeeper_server.cli.commands import cli


def main() -> None:
    """Run the command line."""
    cli()


if __name__ == "__main__":
    main()
