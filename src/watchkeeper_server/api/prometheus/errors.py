"""What a request is refused with: Prometheus' kinds of errors, and in its words where it has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from watchkeeper_server.model.errors import (
    StoreBusyError,
    StoreTimeoutError,
    StoreUnavailableError,
    WatchkeeperError,
)
from watchkeeper_server.promql.errors import InvalidQueryError, QueryCanceledError, QueryError, QueryTimeoutError
from watchkeeper_server.promql.quoting import quote

logger = logging.getLogger("watchkeeper")

CLIENT_CLOSED = 499
"""What Prometheus, after nginx, answers to a client that is gone already."""

# The first that fits counts.
_QUERY_ERRORS: dict[type[QueryError], tuple[str, int]] = {
    InvalidQueryError: ("bad_data", HTTPStatus.BAD_REQUEST),
    QueryTimeoutError: ("timeout", HTTPStatus.SERVICE_UNAVAILABLE),
    QueryCanceledError: ("canceled", CLIENT_CLOSED),
    QueryError: ("execution", HTTPStatus.UNPROCESSABLE_ENTITY),
}
_TOO_MUCH = "the query took more time or memory than one may; ask for a shorter range or fewer series"
_UNAVAILABLE = "the store cannot read its data just now; the server's log says why"
_INTERNAL = "this is a fault of the server, not of the request; its log has the details"


class RequestError(WatchkeeperError):
    """A request that is refused; `kind` is Prometheus' `errorType`."""

    def __init__(self, message: str, kind: str = "bad_data", status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.kind, self.status = kind, status


def invalid_parameter(name: str, message: object) -> RequestError:
    """One parameter is wrong."""
    return RequestError(f"invalid parameter {quote(name)}: {message}")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Within this, what cannot be understood is the named parameter."""
    try:
        yield
    except (InvalidQueryError, RequestError) as error:
        raise invalid_parameter(name, error) from error


def refusal(error: Exception) -> RequestError:
    """How an error of any kind is told to whoever asked; what is the server's fault is logged."""
    if isinstance(error, RequestError):
        return error
    for kind, (name, status) in _QUERY_ERRORS.items():
        if isinstance(error, kind):
            return RequestError(str(error), name, status)
    if isinstance(error, StoreTimeoutError):
        return RequestError("query timed out in expression evaluation", "timeout", HTTPStatus.SERVICE_UNAVAILABLE)
    if isinstance(error, StoreBusyError):
        logger.info("a query ran over its limit: %s", error)
        return RequestError(_TOO_MUCH, "execution", HTTPStatus.UNPROCESSABLE_ENTITY)
    if isinstance(error, StoreUnavailableError):
        logger.warning("a query could not be run: %s", error)
        return RequestError(_UNAVAILABLE, "unavailable", HTTPStatus.SERVICE_UNAVAILABLE)
    logger.error("a request failed", exc_info=error)
    return RequestError(_INTERNAL, "internal", HTTPStatus.INTERNAL_SERVER_ERROR)
