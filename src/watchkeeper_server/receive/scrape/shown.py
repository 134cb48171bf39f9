"""Configurations, addresses and messages as they may be shown: without their secrets."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import yaml

_SECRETS = {
    *("password", "bearer_token", "credentials", "client_secret", "secret", "secret_key", "token", "api_key"),
    *("secrets", "key", "refresh_token", "access_key", "proxy_connect_header"),
}
_SHOWN = "<secret>"
# All up to the last @ of the authority: passwords in configurations are not always quoted as they should be.
_USER_OF_URL = re.compile(r"(://[^/@:\s]*):\S*@")
_USER_OF_ADDRESS = re.compile(r"^([^/@:\s]*):[^/\s]*@")


def shown(text: str) -> str:
    """The YAML text, written anew with `<secret>` in place of passwords, tokens and keys; '' if it is not YAML."""
    try:
        return yaml.safe_dump(_hidden(yaml.safe_load(text)), sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, RecursionError):
        return ""


def without_password(text: str) -> str:
    """The text with `<secret>` in place of the password of any URL in it, or of a bare `user:password@host`."""
    if "@" not in text:
        return text
    return _USER_OF_ADDRESS.sub(rf"\1:{_SHOWN}@", _USER_OF_URL.sub(rf"\1:{_SHOWN}@", text))


def _hidden(value: Any, *, secret: bool = False) -> Any:
    match value:
        case dict():
            return {key: _hidden(inner, secret=secret or key in _SECRETS) for key, inner in value.items()}
        case list():
            return [_hidden(inner, secret=secret) for inner in value]
        case str() | int() | float() | date() if secret:
            return _SHOWN
        case str():
            return without_password(value)
    return value
