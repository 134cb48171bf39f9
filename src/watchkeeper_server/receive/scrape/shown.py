"""A configuration as it may be shown: without its secrets."""

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
_USER_OF_URL = re.compile(r"(://[^/@:\s]*):\S*@")


def shown(text: str) -> str:
    """The YAML text, written anew with `<secret>` in place of passwords, tokens and keys; '' if it is not YAML."""
    try:
        return yaml.safe_dump(_hidden(yaml.safe_load(text)), sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, RecursionError):
        return ""


def _hidden(value: Any, *, secret: bool = False) -> Any:
    match value:
        case dict():
            return {key: _hidden(inner, secret=secret or key in _SECRETS) for key, inner in value.items()}
        case list():
            return [_hidden(inner, secret=secret) for inner in value]
        case str() | int() | float() | date() if secret:
            return _SHOWN
        case str():
            return _USER_OF_URL.sub(rf"\1:{_SHOWN}@", value)
    return value
