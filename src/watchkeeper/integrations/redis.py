"""redis-py: each command and each pipeline is a span; look-ups are counted by whether they found something.

Sync and asyncio, single servers, Sentinel and clusters. Publish/subscribe connections are left alone. Outside of any
span, no span is made for a command that waits for others (BLPOP, XREAD BLOCK …), nor for a message broker's own traffic
(kombu's, which Celery uses): workers poll, and each poll would be a trace. A broker's commands are not counted either.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from opentelemetry.semconv.attributes.db_attributes import (
    DB_OPERATION_BATCH_SIZE,
    DB_OPERATION_NAME,
    DB_QUERY_TEXT,
    DB_RESPONSE_STATUS_CODE,
)
from opentelemetry.trace import INVALID_SPAN, Span

from watchkeeper.caches.commands import (
    Outcome,
    names,
    outcomes,
    pipeline_name,
    pipeline_outcomes,
    pipeline_text,
    waits,
)
from watchkeeper.caches.servers import Server, servers
from watchkeeper.context import SPAN_KEY, get_current
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations.calls import CACHE, Call, busy
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib
from watchkeeper.metrics.sets import cache
from watchkeeper.tracing.span import type_name

_patches = Patches()


def install() -> None:
    """Watches commands, once."""
    if _patches:
        return
    module = sys.modules["redis"]
    for path in ("client.Redis.execute_command", "client.Pipeline.immediate_execute_command"):
        _patches.wrap(module, path, _execute)
        _patches.wrap_once_imported("redis.asyncio", path, _execute_async)
    _patches.wrap(module, "client.Pipeline.execute", _execute_pipeline)
    _patches.wrap(module, "cluster.RedisCluster.execute_command", _execute)
    _patches.wrap(module, "cluster.ClusterPipeline.execute", _execute_pipeline)
    _patches.wrap_once_imported("redis.asyncio", "client.Pipeline.execute", _execute_pipeline_async)
    _patches.wrap_once_imported("redis.asyncio", "cluster.RedisCluster.execute_command", _execute_async)
    _patches.wrap_once_imported("redis.asyncio", "cluster.ClusterPipeline.execute", _execute_pipeline_async)
    _patches.wrap_once_imported("kombu.transport.redis", "Channel._create_client", _brokers_client)


def uninstall() -> None:
    """Gives the library back."""
    _patches.undo()


def _execute(wrapped: Any, client: Any, args: Any, kwargs: Any) -> Any:
    call = _command(client, args)
    if call is None:
        return wrapped(*args, **kwargs)
    with call:
        result = wrapped(*args, **kwargs)
        call.result = result
    return result


async def _execute_async(wrapped: Any, client: Any, args: Any, kwargs: Any) -> Any:
    call = _command(client, args)
    if call is None:
        return await wrapped(*args, **kwargs)
    with call:
        result = await wrapped(*args, **kwargs)
        call.result = result
    return result


def _execute_pipeline(wrapped: Any, pipeline: Any, args: Any, kwargs: Any) -> Any:
    call = _pipeline(pipeline)
    if call is None:
        return wrapped(*args, **kwargs)
    with call:
        result = wrapped(*args, **kwargs)
        call.result = result
    return result


async def _execute_pipeline_async(wrapped: Any, pipeline: Any, args: Any, kwargs: Any) -> Any:
    call = _pipeline(pipeline)
    if call is None:
        return await wrapped(*args, **kwargs)
    with call:
        result = await wrapped(*args, **kwargs)
        call.result = result
    return result


def _brokers_client(wrapped: Any, _channel: Any, args: Any, kwargs: Any) -> Any:
    client = wrapped(*args, **kwargs)
    try:
        servers.of(client).carries_messages = True
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("redis", failure)
    return client


class _Executing(Call):
    """A command or a pipeline under way."""

    __slots__ = ("_commands", "_operation", "_server", "result")

    def __init__(
        self, server: Server, operation: str, commands: Sequence[Any], attributes: Mapping[str, Any], *, traced: bool
    ) -> None:
        self._server = server
        self._operation = operation
        self._commands = commands  # of a pipeline a list of them
        self.result: Any = None
        super().__init__(operation, CACHE, attributes, traced=traced)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        """Ends the span and counts what was found."""
        refused = exc_val is not None and isinstance(exc_val, sys.modules["redis"].ResponseError)
        if refused and exc_val is not None:
            # What a server says of a command may repeat its arguments: its code is enough.
            code = str(exc_val).partition(" ")[0]
            self.span.set_attribute(DB_RESPONSE_STATUS_CODE, code if code.isalpha() and code.isupper() else "ERR")
            self.fail(type_name(exc_val))
        super().__exit__(exc_type, None if refused else exc_val, exc_tb)
        # Breadcrumbs keep calls for longer than the application keeps what it stored and found.
        commands, found = self._commands, self.result
        self._commands, self.result = (), None
        if self._server.carries_messages:
            return
        try:
            counts, name = cache(), self._server.name
            for operation, result, count in self._outcomes(exc_val, commands, found):
                counts.operation(operation, result, name, count)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("redis", failure)

    def _outcomes(self, error: BaseException | None, commands: Sequence[Any], found: Any) -> Iterable[Outcome]:
        if error is not None:
            return [Outcome(self._operation, "error" if isinstance(error, Exception) else "cancelled", 1)]
        if isinstance(commands, list):  # a pipeline's
            return pipeline_outcomes(commands, found)
        return outcomes(self._operation, commands, found)


def _command(client: Any, args: tuple[Any, ...]) -> _Executing | None:
    """The call of a command; None if it is not to be watched. Never raises."""
    try:
        if busy(CACHE) or not args:
            return None
        server, operation = servers.of(client), names.of(args[0])
        traced = _traced(quiet=server.carries_messages or waits(operation, args))
        return _Executing(server, operation, args, server.of_command(operation, len(args) - 1), traced=traced)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("redis", failure)
        return None


def _pipeline(pipeline: Any) -> _Executing | None:
    """The call of a pipeline, likewise."""
    try:
        if busy(CACHE):
            return None
        commands, transaction = _waiting_in(pipeline)
        if not commands:
            return None  # nothing is sent
        server = servers.of(pipeline)
        operation = pipeline_name(commands, transaction=transaction)
        traced = _traced(quiet=server.carries_messages)
        attributes = {**server.attributes, DB_OPERATION_NAME: operation, DB_QUERY_TEXT: pipeline_text(commands)}
        if len(commands) > 1:
            attributes[DB_OPERATION_BATCH_SIZE] = len(commands)
        return _Executing(server, operation, commands, attributes, traced=traced)
    except Exception as failure:  # noqa: BLE001  # the boundary
        boundary.failed("redis", failure)
        return None


def _waiting_in(pipeline: Any) -> tuple[list[Any], bool]:
    """The arguments of each command that waits in a pipeline, and whether they are to be one transaction."""
    strategy = getattr(pipeline, "_execution_strategy", None)
    if strategy is not None:  # a cluster's, which publishes no more than the number of its commands
        commands = [command.args for command in strategy._command_queue]  # noqa: SLF001
        return commands, type(strategy).__name__ == "TransactionStrategy"
    told = getattr(pipeline, "is_transaction", None)  # asyncio's name for it
    transaction = pipeline.transaction if told is None else told
    return [args for args, _options in pipeline.command_stack], bool(transaction or pipeline.explicit_transaction)


def _traced(*, quiet: bool) -> bool:
    """Whether the span is ours to make; what is quiet makes none outside of any other."""
    if instrumented_by_contrib("redis", "RedisInstrumentor"):
        return False
    if not quiet:
        return True
    span: Span = get_current().get(SPAN_KEY, INVALID_SPAN)  # type: ignore[assignment]
    return span.get_span_context().is_valid
