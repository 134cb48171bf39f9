"""URLs that applications give to checks: read, or refused without what is secret in them."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlsplit

from watchkeeper.environment import ConfigurationError


def url_in(text: Any, check: str, *, port: bool = True) -> SplitResult:
    """Its parts. Raises ConfigurationError for what is no URL; unless told otherwise, for a port that is none, too."""
    if not isinstance(text, str):
        raise ConfigurationError(f"{check} got a {type(text).__name__}: its URL must be text")
    try:
        parts: SplitResult = urlsplit(text)
        if port:
            _ = parts.port
    except ValueError:  # whose words may be a part of the password
        raise ConfigurationError(
            f"{check} got a URL that cannot be read: its host or its port is none, or something in its password must be"
            " percent-encoded"
        ) from None
    return parts
