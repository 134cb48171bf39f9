"""Clients of language models that are generated from an API's description (openai's and anthropic's are, alike).

Every method of such a client, whatever it is called and returns, goes through `SyncAPIClient.request` or
`AsyncAPIClient.request`, which retries by itself: one request here is one call. Streams are followed where they are
iterated, so that they stay the objects they are; the httpx response below tells when one is closed early.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from typing import Any

from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT

from watchkeeper.context import attach, detach
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import MODEL, busy
from watchkeeper.integrations.patching import Patches
from watchkeeper.language_models.call import ModelCall, Question

_KEY = "watchkeeper_call"  # in a response's extensions, which are for whoever wants to keep something there

Recognise = Callable[[Any, Any], Question | None]
"""(the client, the options of its request) -> what is asked, None if that is no call of a model"""


class Stainless:
    """The patches of one such library, `package`."""

    def __init__(self, package: str, recognise: Recognise, traced: Callable[[Any], bool]) -> None:
        self._package = package
        self._recognise = recognise
        self._traced = traced  # whether a client's calls have no span by others
        self._patches = Patches()

    def install(self) -> None:
        """Follows calls from now on."""
        if self._patches:
            return
        try:
            self._wrap()
        except Exception:
            self._patches.undo()  # all or nothing
            raise

    def _wrap(self) -> None:
        wrap = self._patches.wrap
        base, streaming = f"{self._package}._base_client", f"{self._package}._streaming"
        wrap(base, "SyncAPIClient.request", self._request)
        wrap(base, "AsyncAPIClient.request", self._request_async)
        wrap(streaming, "Stream.__iter__", _follow)
        wrap(streaming, "Stream.__next__", _next)
        wrap(streaming, "AsyncStream.__aiter__", _follow_async)
        wrap(streaming, "AsyncStream.__anext__", _next_async)

    def uninstall(self) -> None:
        """Stops that. Streams under way are followed no further, and end when they are dropped."""
        self._patches.undo()

    def _begin(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelCall | None:
        try:
            if busy(MODEL):
                return None
            options = kwargs["options"] if "options" in kwargs else args[1]
            asked = self._recognise(client, options)
            return None if asked is None else ModelCall(asked, traced=self._traced(client))
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("language model", failure)
            return None

    def _request(self, wrapped: Any, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._begin(client, args, kwargs)
        if call is None:
            return wrapped(*args, **kwargs)
        token = attach(call.context())
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        finally:
            detach(token)
        _answered(call, result, is_async=False)
        return result

    async def _request_async(self, wrapped: Any, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._begin(client, args, kwargs)
        if call is None:
            return await wrapped(*args, **kwargs)
        token = attach(call.context())
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            call.end(error)
            raise
        finally:
            detach(token)
        _answered(call, result, is_async=True)
        return result


def server_attributes(client: Any) -> dict[str, Any]:
    """Where the client's requests go."""
    url = client.base_url
    port = url.port or (443 if url.scheme == "https" else 80)
    return {SERVER_ADDRESS: url.host, SERVER_PORT: port}


def _answered(call: ModelCall, result: Any, *, is_async: bool) -> None:
    """The request is answered: that is the end, or a stream (or a raw response) that brings it."""
    try:
        raw: Any = getattr(result, "http_response", None)  # of `with_raw_response` and `with_streaming_response`
        stream: Any = getattr(result, "response", None)
        if hasattr(raw, "extensions") and raw.is_closed:
            _read_raw(call, raw)
        elif hasattr(raw, "extensions"):
            _follow_response(call, raw, is_async=is_async)
        elif hasattr(stream, "extensions"):
            _follow_response(call, stream, is_async=is_async)
        else:
            call.whole(result)
    except Exception as failure:  # noqa: BLE001  # the boundary
        call.end()
        boundary.failed("language model", failure)


def _read_raw(call: ModelCall, response: Any) -> None:
    try:
        answer = json.loads(response.content)
    except Exception:  # noqa: BLE001  # it is no JSON: then it tells nothing
        call.end()
    else:
        call.whole(answer)


def _follow_response(call: ModelCall, response: Any, *, is_async: bool) -> None:
    """Streams find the call at their response; to read that as a whole, or to close it, ends the call."""
    response.extensions[_KEY] = call
    # They hold the response, since it is while it is collected that a dropped stream closes it.
    if is_async:
        response.aread, response.aclose = partial(_aread, call, response), partial(_aclose, call, response)
    else:
        weakly = weakref.ref(response)
        response.read, response.close = partial(_read, call, response), partial(_close, call, response, weakly)


def _forget(response: Any) -> None:
    for name in ("read", "close", "aread", "aclose"):
        vars(response).pop(name, None)  # as it was, and as it can be pickled


def _read(call: ModelCall, response: Any) -> Any:
    call.reading = True
    try:
        content = type(response).read(response)
    except BaseException as error:
        call.end(error)
        raise
    finally:
        call.reading = False
        _forget(response)
    _read_raw(call, response)
    return content


async def _aread(call: ModelCall, response: Any) -> Any:
    call.reading = True
    try:
        content = await type(response).aread(response)
    except BaseException as error:
        call.end(error)
        raise
    finally:
        call.reading = False
        _forget(response)
    _read_raw(call, response)
    return content


def _close(call: ModelCall, response: Any, weakly: Callable[[], Any]) -> Any:
    try:
        return type(response).close(response)
    finally:
        if weakly() is None:  # it is being collected, by whoever may hold any lock: the call is left to its own end
            _forget(response)
        else:
            _closed(call, response)


async def _aclose(call: ModelCall, response: Any) -> Any:
    try:
        return await type(response).aclose(response)
    finally:
        _closed(call, response)


def _closed(call: ModelCall, response: Any) -> None:
    if not call.reading:  # else whoever reads tells how that ended
        _forget(response)
        call.end()


def _call_of(stream: Any) -> ModelCall | None:
    call: ModelCall | None = getattr(getattr(stream, "response", None), "extensions", {}).get(_KEY)
    return None if call is None or call.ended else call


def _next(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _call_of(stream)
    if call is None:
        return wrapped(*args, **kwargs)
    call.reading = True
    try:
        item = wrapped(*args, **kwargs)
    except StopIteration:
        call.end()
        raise
    except BaseException as error:
        call.end(error)
        raise
    finally:
        call.reading = False
    call.item(item)
    return item


async def _next_async(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _call_of(stream)
    if call is None:
        return await wrapped(*args, **kwargs)
    call.reading = True
    try:
        item = await wrapped(*args, **kwargs)
    except StopAsyncIteration:
        call.end()
        raise
    except BaseException as error:
        call.end(error)
        raise
    finally:
        call.reading = False
    call.item(item)
    return item


def _follow(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _call_of(stream)
    items = wrapped(*args, **kwargs)
    return items if call is None else _items(call, items)


def _items(call: ModelCall, items: Any) -> Generator[Any, None, None]:
    try:
        while True:
            call.reading = True
            try:
                item = next(items)
            except StopIteration:
                call.end()
                return
            except BaseException as error:
                call.end(error)
                raise
            finally:
                call.reading = False
            call.item(item)
            yield item
    finally:
        # Who leaves a loop early may iterate again: the stream itself is still open.
        if hasattr(items, "close"):
            items.close()


def _follow_async(wrapped: Any, stream: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = _call_of(stream)
    items = wrapped(*args, **kwargs)
    return items if call is None else _items_async(call, items)


async def _items_async(call: ModelCall, items: Any) -> AsyncGenerator[Any, None]:
    try:
        while True:
            call.reading = True
            try:
                item = await anext(items)
            except StopAsyncIteration:
                call.end()
                return
            except BaseException as error:
                call.end(error)
                raise
            finally:
                call.reading = False
            call.item(item)
            yield item
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()
