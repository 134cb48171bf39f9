"""Refusals: every error becomes a `Problem` that says what to do next."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from watchkeeper_server.model.answers import Problem
from watchkeeper_server.model.errors import (
    NotFoundError,
    ParameterError,
    StoreBusyError,
    StoreError,
    StoreUnavailableError,
)

logger = logging.getLogger("watchkeeper")

RETRY_SECONDS = 5

# What any request may be answered besides what it asked for, for the OpenAPI document.
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "A parameter is wrong; `field` names it."},
    422: {"model": Problem, "description": "The question takes more time or memory than one may; ask for less."},
    503: {"model": Problem, "description": "Not just now; ask again after `Retry-After` seconds."},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "Nothing of that id is stored."}}


class TooManyTailsError(Exception):
    """All places for live tails are taken."""


def problem(
    status: HTTPStatus, error: str, message: str, field: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A response that refuses."""
    content = orjson.dumps(Problem(error=error, message=message, field=field))
    return Response(content, status, headers, media_type="application/json")


def install_problems(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""
    for kind, handler in {
        RequestValidationError: _invalid,
        ParameterError: _wrong_parameter,
        NotFoundError: _not_found,
        HTTPException: _http,
        StoreBusyError: _too_much,
        StoreUnavailableError: _unavailable,
        TooManyTailsError: _too_many_tails,
        StoreError: _broken,
        Exception: _broken,
    }.items():
        app.add_exception_handler(kind, handler)


def known_parameters(request: Request) -> list[str]:
    """The names of the query parameters that the request's route takes."""
    route = request.scope.get("route")
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return []
    fields = [
        name
        for parameter in dependant.query_params
        for name in getattr(parameter.field_info.annotation, "model_fields", {parameter.alias: None})
    ]
    return sorted(fields)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  it is registered for no other
    first = error.errors()[0]
    field = str(first["loc"][1]) if len(first["loc"]) > 1 else None
    if first["type"] == "extra_forbidden":
        known = ", ".join(known_parameters(request)) or "none"
        message = f"there is no parameter {field}; this request takes {known}"
        return problem(HTTPStatus.BAD_REQUEST, "unknown_parameter", message, field)
    message = f"{field} is {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"
    return problem(HTTPStatus.BAD_REQUEST, "invalid_parameter", message, field)


async def _wrong_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, ParameterError)  # noqa: S101  it is registered for no other
    return problem(HTTPStatus.BAD_REQUEST, "invalid_parameter", f"{error.field}: {error}", error.field)


async def _not_found(_: Request, error: Exception) -> Response:
    return problem(HTTPStatus.NOT_FOUND, "not_found", str(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  it is registered for no other
    status = HTTPStatus(error.status_code)
    message = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path}; /api/wk/docs lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}",
    }.get(status, str(error.detail))
    return problem(status, status.name.lower(), message, headers=dict(error.headers or {}))


async def _too_much(_: Request, error: Exception) -> Response:
    logger.info("a query ran over its limit: %s", error)
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "too_much",
        "this took more time or memory than one question may; ask for a shorter range or a narrower filter",
    )


async def _unavailable(_: Request, error: Exception) -> Response:
    logger.warning("a query could not be run: %s", error)
    message = "the store cannot read its data just now; the server's log says why"
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", message, headers=headers)


async def _too_many_tails(_: Request, error: Exception) -> Response:
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_tails", str(error), headers=headers)


async def _broken(_: Request, error: Exception) -> Response:
    logger.error("a request failed", exc_info=error)
    message = "this is a fault of the server, not of the request; its log has the details"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", message)
