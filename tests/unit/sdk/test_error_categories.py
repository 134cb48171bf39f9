"""Categories of the exceptions that libraries really raise."""

from __future__ import annotations

import configparser
import errno
import http.client
import json
import socket
import sqlite3
import ssl
import urllib.error
from collections.abc import Callable
from typing import Any

import aiohttp
import asyncpg
import botocore.exceptions
import django.core.exceptions
import django.db.utils
import django.http
import fastapi
import fastapi.exceptions
import httpx
import openai
import pika.exceptions
import psycopg
import pydantic
import pymongo.errors
import pymysql
import pytest
import redis
import requests
import sqlalchemy.exc
import starlette.exceptions
import urllib3.exceptions
import werkzeug.exceptions

from watchkeeper.errors.categories import category_of
from watchkeeper.errors.event import CATEGORIES


def caught(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Exception:
    try:
        function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError("it did not fail")


def requests_answer(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    return caught(response.raise_for_status)


def httpx_answer(status: int) -> Exception:
    return caught(httpx.Response(status, request=httpx.Request("GET", "http://x")).raise_for_status)


def openai_answer(kind: type[openai.APIStatusError], status: int) -> Exception:
    response = httpx.Response(status, request=httpx.Request("GET", "http://x"))
    return kind("no", response=response, body=None)


def boto(status: int) -> Exception:
    answer: Any = {"Error": {"Code": "X"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(answer, "GetObject")


class OrderNotFound(Exception):  # noqa: N818
    pass


class CardStore(sqlalchemy.exc.OperationalError):
    pass


class OutOfLuckError(Exception):
    pass


def because(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


CASES = [
    (sqlite3.IntegrityError("no"), "database"),
    (psycopg.errors.UniqueViolation("no"), "database"),
    (psycopg.OperationalError("no"), "database"),
    (asyncpg.exceptions.UndefinedTableError("no"), "database"),
    (pymysql.err.OperationalError(1045, "no"), "database"),
    (pymongo.errors.ServerSelectionTimeoutError("no"), "database"),
    (redis.exceptions.ConnectionError("no"), "database"),
    (sqlalchemy.exc.IntegrityError("x", {}, Exception("no")), "database"),
    (CardStore("x", {}, Exception("no")), "database"),
    (sqlalchemy.exc.TimeoutError("pool"), "database"),
    (django.db.utils.OperationalError("no"), "database"),
    (sqlalchemy.exc.NoResultFound(), "not_found"),
    (django.core.exceptions.ObjectDoesNotExist(), "not_found"),
    (django.http.Http404(), "not_found"),
    (FileNotFoundError(errno.ENOENT, "no"), "not_found"),
    (OrderNotFound(), "not_found"),
    (starlette.exceptions.HTTPException(404), "not_found"),
    (werkzeug.exceptions.NotFound(), "not_found"),
    (boto(404), "not_found"),
    (caught(pydantic.TypeAdapter(int).validate_python, "x"), "validation"),
    (fastapi.exceptions.RequestValidationError([]), "validation"),
    (django.core.exceptions.ValidationError("no"), "validation"),
    (django.core.exceptions.SuspiciousOperation(), "validation"),
    (caught(json.loads, "{"), "validation"),
    (caught(b"\xff".decode), "validation"),
    (fastapi.HTTPException(422), "validation"),
    (fastapi.HTTPException(401), "authentication"),
    (werkzeug.exceptions.Unauthorized(), "authentication"),
    (botocore.exceptions.NoCredentialsError(), "authentication"),
    (openai_answer(openai.AuthenticationError, 401), "authentication"),
    (PermissionError(errno.EACCES, "no"), "authorization"),
    (django.core.exceptions.PermissionDenied(), "authorization"),
    (werkzeug.exceptions.Forbidden(), "authorization"),
    (boto(403), "authorization"),
    (openai_answer(openai.RateLimitError, 429), "rate_limit"),
    (requests_answer(429), "rate_limit"),
    (httpx_answer(429), "rate_limit"),
    (werkzeug.exceptions.TooManyRequests(), "rate_limit"),
    (requests_answer(404), "not_found"),
    (httpx_answer(500), "network"),
    (httpx.ConnectTimeout("no"), "network"),
    (requests.ConnectionError("no"), "network"),
    (urllib3.exceptions.MaxRetryError(None, "/", None), "network"),  # type: ignore[arg-type]
    (urllib.error.URLError("no"), "network"),
    (urllib.error.HTTPError("http://x", 403, "no", http.client.HTTPMessage(), None), "authorization"),
    (aiohttp.ClientConnectionError("no"), "network"),
    (http.client.RemoteDisconnected("no"), "network"),
    (pika.exceptions.AMQPConnectionError("no"), "network"),
    (socket.gaierror(socket.EAI_NONAME, "no"), "network"),
    (ssl.SSLCertVerificationError("no"), "network"),
    (TimeoutError(), "network"),
    (ConnectionRefusedError(), "network"),
    (OSError(errno.EHOSTUNREACH, "no"), "network"),
    (ModuleNotFoundError("no"), "configuration"),
    (configparser.NoSectionError("x"), "configuration"),
    (django.core.exceptions.ImproperlyConfigured(), "configuration"),
    (KeyError("x"), "unknown"),
    (ValueError("x"), "unknown"),
    (ZeroDivisionError(), "unknown"),
    (OSError(errno.ENOSPC, "full"), "unknown"),
    (werkzeug.exceptions.InternalServerError(), "unknown"),
    (starlette.exceptions.HTTPException(500), "unknown"),
    (because(OutOfLuckError(), psycopg.OperationalError("no")), "database"),
    (ExceptionGroup("all", [ValueError(), ConnectionResetError()]), "network"),
]


@pytest.mark.parametrize(("error", "category"), CASES, ids=lambda value: type(value).__name__)
def test_an_exceptions_category_is_what_its_library_means(error: Exception, category: str) -> None:
    assert category_of(error) == category


def test_every_category_is_one_of_nine() -> None:
    assert len(CATEGORIES) == 9
    assert {category for _, category in CASES} == set(CATEGORIES)


def test_a_chain_without_end_has_a_category() -> None:
    error = ValueError()
    error.__cause__ = because(TypeError(), error)
    assert category_of(error) == "unknown"


def test_an_exception_whose_own_status_fails_is_of_no_category_and_is_still_told() -> None:
    class Odd(requests.RequestException):
        @property
        def status_code(self) -> int:
            raise RuntimeError("nobody has answered yet")

    assert category_of(Odd("lost")) == "unknown"
