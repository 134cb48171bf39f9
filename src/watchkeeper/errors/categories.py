"""The category of an exception: by its class and the bases of that, without importing any library.

The most specific class decides. An exception that says nothing by itself is of its cause's category, a group of its
members'.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import Any

from watchkeeper.errors.event import Category

_LONGEST_CHAIN = 20
_NETWORK_ERRNOS = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.EPIPE}
)
_CLIENT_ERROR, _SERVER_ERROR, _END_OF_STATUSES = 400, 500, 600
_BY_STATUS: dict[int, Category] = {
    400: "validation",
    401: "authentication",
    403: "authorization",
    404: "not_found",
    407: "authentication",
    408: "network",
    409: "validation",
    410: "not_found",
    413: "validation",
    415: "validation",
    422: "validation",
    429: "rate_limit",
    502: "network",
    503: "network",
    504: "network",
}
# Whose exceptions carry an HTTP status: of the answer that was given, or of the one that was received.
_WITH_STATUS = frozenset(
    {"starlette", "fastapi", "werkzeug", "flask", "litestar", "rest_framework", "sanic", "tornado", "aiohttp", "httpx"}
    | {
        "requests",
        "urllib",
        "openai",
        "anthropic",
        "botocore",
        "elasticsearch",
        "opensearchpy",
        "google",
        "googleapiclient",
    }
)
# Classes that say more than the library they come from.
_CLASSES: dict[str, Category] = {
    "builtins.FileNotFoundError": "not_found",
    "builtins.PermissionError": "authorization",
    "builtins.ConnectionError": "network",
    "builtins.TimeoutError": "network",
    "builtins.ImportError": "configuration",
    "builtins.UnicodeError": "validation",
    "json.decoder.JSONDecodeError": "validation",
    "socket.gaierror": "network",
    "socket.herror": "network",
    "smtplib.SMTPAuthenticationError": "authentication",
    "configparser.Error": "configuration",
    "tomllib.TOMLDecodeError": "configuration",
    "sqlalchemy.exc.NoResultFound": "not_found",
    "sqlalchemy.exc.ArgumentError": "configuration",
    "django.core.exceptions.ObjectDoesNotExist": "not_found",
    "django.core.exceptions.PermissionDenied": "authorization",
    "django.core.exceptions.ValidationError": "validation",
    "django.core.exceptions.BadRequest": "validation",
    "django.core.exceptions.SuspiciousOperation": "validation",
    "django.core.exceptions.ImproperlyConfigured": "configuration",
    "django.http.response.Http404": "not_found",
    "botocore.exceptions.NoCredentialsError": "authentication",
    "botocore.exceptions.ConnectionError": "network",
    "botocore.exceptions.HTTPClientError": "network",
    "anyio.BrokenResourceError": "network",
    "anyio._core._exceptions.BrokenResourceError": "network",
    "anyio._core._exceptions.EndOfStream": "network",
}
_LIBRARIES: dict[str, Category] = {
    **dict.fromkeys(
        (
            *("psycopg", "psycopg2", "psycopg_pool", "asyncpg", "pymysql", "MySQLdb", "mysql", "aiomysql", "asyncmy"),
            *("sqlite3", "_sqlite3", "aiosqlite", "sqlalchemy", "redis", "valkey", "pymongo", "bson", "motor"),
            *(
                "oracledb",
                "pyodbc",
                "peewee",
                "tortoise",
                "cassandra",
                "duckdb",
                "clickhouse_connect",
                "neo4j",
                "pymemcache",
            ),
        ),
        "database",
    ),
    **dict.fromkeys(
        (
            *("http", "urllib", "ssl", "ftplib", "smtplib", "poplib", "imaplib", "httpx", "httpcore", "requests"),
            *("urllib3", "aiohttp", "websockets", "grpc", "h2", "h11", "dns", "paramiko", "pika", "aio_pika", "aiormq"),
            *("amqp", "kombu", "aiokafka", "kafka", "confluent_kafka", "nats", "aiomqtt", "stomp"),
        ),
        "network",
    ),
    **dict.fromkeys(
        ("pydantic", "pydantic_core", "marshmallow", "jsonschema", "cerberus", "voluptuous", "msgspec", "cattrs"),
        "validation",
    ),
    **dict.fromkeys(("jwt", "jose", "authlib", "oauthlib", "itsdangerous"), "authentication"),
    **dict.fromkeys(("pydantic_settings", "dynaconf", "environs", "decouple"), "configuration"),
}
_DJANGO_DATABASE = "django.db."
# What classes are called by whoever wrote them, in the order in which a name that fits several is read.
_WORDS: tuple[tuple[tuple[str, ...], Category], ...] = (
    (("RateLimit", "TooManyRequests", "Throttl", "QuotaExceeded"), "rate_limit"),
    (("NotFound", "DoesNotExist", "NoSuch(?!Module)", "Missing(?:Record|Row|Entity)"), "not_found"),
    (("Unauth", "Authentication", "(?:Invalid|Expired)(?:Token|Credential)"), "authentication"),
    (("Forbidden", "Permission", "Authorization", "AccessDenied", "NotAllowed"), "authorization"),
    (("Config(?:uration)?(?:Error|Exception|Invalid)", "ImproperlyConfigured", "SettingsError"), "configuration"),
    (("Validation", "BadRequest", "Invalid(?:Input|Request|Argument|Format)", "Unprocessable"), "validation"),
    (("Database", "DBError", "S[Qq][Ll]Error", "Deadlock", "IntegrityError"), "database"),
    (("Timeout", "TimedOut", "Connect(?:ion)?(?:Error|Refused|Reset|Lost)", "Network", "Unreachable"), "network"),
)
_NAMES = tuple((re.compile("|".join(words)), category) for words, category in _WORDS)


def category_of(error: BaseException) -> Category:
    """The category; `unknown` where nothing tells. Never raises."""
    try:
        for each in _told_by(error):
            category = _own_category(each)
            if category is not None:
                return category
    except Exception:  # noqa: BLE001  # a property of its own, that says its status
        return "unknown"
    return "unknown"


def names_of(kind: type[BaseException]) -> Iterator[str]:
    """`module.Class` of a class and of its bases, the most specific first."""
    for base in kind.__mro__:
        yield f"{base.__module__}.{base.__qualname__}"


def _told_by(error: BaseException) -> Iterator[BaseException]:
    """The exception, its members, and its causes."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _LONGEST_CHAIN:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(each.exceptions[:_LONGEST_CHAIN])
        if each.__cause__ is not None:
            waiting.append(each.__cause__)


def _own_category(error: BaseException) -> Category | None:
    bases = [base for base in type(error).__mro__ if base not in (object, BaseException, Exception)]
    for base in bases:
        module = str(base.__module__)
        root = module.partition(".")[0]
        category = _CLASSES.get(f"{module}.{base.__qualname__}")
        if category is None and root in _WITH_STATUS:
            category = _category_of_status(_status_in(error), received=root in _LIBRARIES)
        if category is None and module.startswith(_DJANGO_DATABASE):
            category = "database"
        if category is None:
            category = _LIBRARIES.get(root)
        if category is None and root != "builtins":
            category = next((found for pattern, found in _NAMES if pattern.search(base.__name__)), None)
        if category is not None:
            return category
    if isinstance(error, OSError) and error.errno in _NETWORK_ERRNOS:
        return "network"
    return None


def _status_in(error: Any) -> Any:
    for holder in (error, getattr(error, "response", None)):
        if isinstance(holder, dict):  # botocore's
            return (holder.get("ResponseMetadata") or {}).get("HTTPStatusCode")
        for name in ("status_code", "status", "code", "resp_status"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and _CLIENT_ERROR <= status < _END_OF_STATUSES:
                return status
    return None


def _category_of_status(status: Any, *, received: bool) -> Category | None:
    """`received`: another service has answered so; what is wrong with that one is the network's to us."""
    if not isinstance(status, int):
        return None
    return _BY_STATUS.get(status, "network" if received and status >= _SERVER_ERROR else None)
