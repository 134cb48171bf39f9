"""From a route's function to an HTTP response: the envelope, errors, compression, cross-origin headers.

A route is a function that blocks: parameters in, `Answer` out. It runs in a thread, where its answer also becomes JSON,
so that the event loop is never kept from serving others. Who closes the connection does not want the answer any more:
what still waits for its turn then never begins, and what runs is told to stop; it keeps its place until it has.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from watchkeeper_server.api.asking import Asking
from watchkeeper_server.api.prometheus.errors import CLIENT_CLOSED, RequestError, refusal
from watchkeeper_server.api.prometheus.parameters import Parameters
from watchkeeper_server.model.patience import Asker, answering

logger = logging.getLogger("watchkeeper")

# Below, compressing costs more than it saves.
_COMPRESSED_BYTES = 1024
# The fastest: numbers hardly become smaller with a higher one.
_GZIP_LEVEL = 1
_GZIP = re.compile(r"(?:^|[,\s])gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)")
_MOST_REMARKS = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with: `data`, which orjson can write, and remarks; without data there is no body."""

    data: Any = None
    warnings: Sequence[str] = ()
    infos: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """A body as it is."""

    body: bytes
    media_type: str


Route = Callable[[Parameters], Answer | PlainAnswer]


class Answering:
    """Answers requests by routes."""

    def __init__(self, asking: Asking) -> None:
        """`asking` is where routes run."""
        self._asking = asking
        # asyncio itself does not keep what nobody waits for
        self._unwanted: set[asyncio.Task[Any]] = set()

    def endpoint(self, route: Route) -> Callable[[Request], Awaitable[Response]]:
        """The route as Starlette calls it."""

        async def answer(request: Request) -> Response:
            try:
                parameters = await Parameters.of(request)
                return await self._unless_gone(request, lambda: _response(request, route(parameters)))
            except ClientDisconnect:
                return Response(status_code=CLIENT_CLOSED)
            except Exception as error:  # noqa: BLE001  the last resort; it is logged
                return _refused(request, refusal(error))

        return answer

    async def _unless_gone(self, request: Request, work: Callable[[], Response]) -> Response:
        begun = False
        asker = Asker()

        def begin() -> Response:
            nonlocal begun
            begun = True
            with answering(asker):
                return work()

        task = asyncio.create_task(self._asking.in_thread(begin))
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            gone.cancel()
            if not task.done():
                self._abandon(task, asker if begun else None)
        raise ClientDisconnect

    def _abandon(self, task: asyncio.Task[Response], asker: Asker | None) -> None:
        tasks: list[asyncio.Task[Any]] = [task]
        if asker is None:
            task.cancel()
        else:
            tasks.append(asyncio.create_task(asyncio.to_thread(asker.leave)))
        for unwanted in tasks:
            self._unwanted.add(unwanted)
            unwanted.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._unwanted.discard(task)
        if not task.cancelled():
            task.exception()  # nobody else will ask


async def answer_elsewhere(request: Request, error: Exception) -> Response:
    """Where there is no route, or none for the method; `OPTIONS` is asked by browsers before they ask anything else."""
    assert isinstance(error, HTTPException)  # noqa: S101  it is registered for no other
    if request.method == "OPTIONS":
        return _with_headers(request, Response(status_code=HTTPStatus.NO_CONTENT))
    if error.status_code == HTTPStatus.NOT_FOUND:
        kind, message = "not_found", f"there is nothing at {request.url.path}"
    else:
        kind, message = "bad_data", f"{request.url.path} does not take {request.method}"
    response = _refused(request, RequestError(message, kind, error.status_code))
    response.headers.update(error.headers or {})
    return response


async def _gone(request: Request) -> None:
    """Ends when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _response(request: Request, answer: Answer | PlainAnswer) -> Response:
    if isinstance(answer, PlainAnswer):
        return _with_body(request, answer.body, answer.media_type)
    if answer.data is None:
        return _with_headers(request, Response(status_code=HTTPStatus.NO_CONTENT))
    envelope = {"status": "success", "data": answer.data}
    for name, remarks, kind in (("warnings", answer.warnings, "warning"), ("infos", answer.infos, "info")):
        if remarks:
            envelope[name] = _shortened(remarks, kind)
    return _with_body(request, orjson.dumps(envelope), "application/json")


def _shortened(remarks: Sequence[str], kind: str) -> list[str]:
    omitted = len(remarks) - _MOST_REMARKS
    return [*remarks[:_MOST_REMARKS], *([f"{omitted} more {kind} annotations omitted"] if omitted > 0 else [])]


def _refused(request: Request, error: RequestError) -> Response:
    content = orjson.dumps({"status": "error", "errorType": error.kind, "error": str(error)})
    return _with_headers(request, Response(content, error.status, media_type="application/json"))


def _with_body(request: Request, body: bytes, media_type: str) -> Response:
    headers = {}
    if len(body) >= _COMPRESSED_BYTES and _GZIP.search(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return _with_headers(request, Response(body, headers=headers, media_type=media_type))


def _with_headers(request: Request, response: Response) -> Response:
    """With what lets a script of any site read it."""
    response.headers["Vary"] = "Origin, Accept-Encoding"
    if "origin" in request.headers:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Allow-Headers"] = "Accept, Authorization, Content-Type, Origin"
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Expose-Headers"] = "Date"
    return response
