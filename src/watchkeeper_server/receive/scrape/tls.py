"""TLS contexts of the configuration, shared by all connections that ask for the same."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache

from watchkeeper_server.model.errors import WatchkeeperError
from watchkeeper_server.receive.scrape.http_config import TlsConfig

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


class TlsFileError(WatchkeeperError):
    """A certificate or a key is of no use; the message says where it is from and why."""


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """The context for a configuration and what its files hold now: another one once they have changed.

    Raises:
        TlsFileError: a file cannot be read, or holds no certificate or key.
    """
    stamps = tuple(_stamp(path) for path in (config.ca_file, config.cert_file, config.key_file) if path)
    return _context(config, stamps)


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  thrice a scrape, and a Path costs more than the call
            status = os.fstat(file.fileno())
    except OSError as error:
        raise TlsFileError(f"unable to read file {path}: {(error.strerror or str(error)).lower()}") from error
    return status.st_mtime_ns, status.st_ino, status.st_size


@lru_cache(maxsize=256)
def _context(config: TlsConfig, stamps: tuple[tuple[int, int, int], ...]) -> ssl.SSLContext:
    del stamps  # part of the key only
    with _naming(config.ca_file or "ca"):
        context = ssl.create_default_context(cafile=config.ca_file or None, cadata=config.ca or None)
    if config.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.min_version:
        context.minimum_version = _VERSIONS[config.min_version]
    if config.max_version:
        context.maximum_version = _VERSIONS[config.max_version]
    if config.cert or config.cert_file:
        with ExitStack() as files, _naming(f"{config.cert_file or 'cert'} with {config.key_file or 'key'}"):
            cert = config.cert_file or _written(config.cert, files)
            context.load_cert_chain(cert, config.key_file or _written(config.key, files))
    return context


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Say which file or setting it is that OpenSSL does not like."""
    try:
        yield
    except ssl.SSLError as error:
        raise TlsFileError(f"tls: unable to use {what}: {error.reason or error}") from error


def _written(text: str, files: ExitStack) -> str:
    """A file that holds the text for a moment, readable by nobody else: OpenSSL takes keys from files only."""
    file = files.enter_context(tempfile.NamedTemporaryFile("w"))  # noqa: SIM115  the stack closes it
    file.write(text)
    file.flush()
    return file.name
