"""Celery: tasks as messages, from whoever sends them to the worker that runs them, beat and eager mode included.

Everything hangs on Celery's own signals, but for one function: no signal says that a message could not be sent. What a
task did is counted where it ran. What kills the process that runs it is counted by the worker's main process, which
alone knows of it, so that each attempt is counted once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry.semconv._incubating.attributes.messaging_attributes import (
    MESSAGING_MESSAGE_CONVERSATION_ID,
    MESSAGING_MESSAGE_ID,
)

from watchkeeper.context import attach, detach
from watchkeeper.errors.capture import capture_exception
from watchkeeper.export.boundary import boundary
from watchkeeper.integrations import celery_worker
from watchkeeper.integrations.messaging import Message, Processing, Publishing, label_of, text_headers, watched
from watchkeeper.integrations.patching import Patches, instrumented_by_contrib
from watchkeeper.metrics.sets import queues

TASK_NAME, TASK_STATE, TASK_RETRIES = "celery.task_name", "celery.state", "celery.retries"
# messaging.system by the scheme of the broker's URL
_SYSTEMS = {"amqp": "rabbitmq", "amqps": "rabbitmq", "pyamqp": "rabbitmq", "sqs": "aws_sqs", "rediss": "redis"}
_SYSTEMS |= {"confluentkafka": "kafka", "sentinel": "redis", "gcpubsub": "gcp_pubsub", "azureservicebus": "servicebus"}
_OUTCOMES = {"SUCCESS": "ok", "RETRY": "retry", "FAILURE": "error", "IGNORED": "ignored", "REJECTED": "rejected"}

_MOST_LOST = 1_000  # tasks whose process is gone, of which it is remembered that they were counted

Receiver = Callable[..., None]


class _Sending:
    """A call of `send_task`, and what becomes of it."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.publishing: Publishing | None = None

    def begin(self, task: str, exchange: Any, routing_key: str, headers: dict[str, Any]) -> None:
        if self.publishing is not None:  # a publication within this one, of the application's own
            return
        said = {TASK_NAME: task, MESSAGING_MESSAGE_ID: headers.get("id") or ""}
        if headers.get("root_id"):
            said[MESSAGING_MESSAGE_CONVERSATION_ID] = headers["root_id"]
        queue = queue_of(self.app, exchange, routing_key)
        publishing = Publishing(system_of(self.app), queue, title=task, attributes=said, traced=_is_traced())
        headers.update(publishing.headers(text_headers(headers.items())))
        self.publishing = publishing.__enter__()

    def __enter__(self) -> None:
        self._token = _sending.set(self)
        self._quiet = attach(celery_worker.quiet())

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        _sending.reset(self._token)
        if self.publishing is not None:
            self.publishing.__exit__(exc_type, exc_val, exc_tb)
        detach(self._quiet)


_patches = Patches()
_sending: ContextVar[_Sending | None] = ContextVar("watchkeeper-celery-sending", default=None)
_running: WeakKeyDictionary[Any, Processing] = WeakKeyDictionary()  # by the task's request
_lost: dict[str, None] = {}  # by the task's id


def install() -> None:
    """Listens to Celery's signals."""
    signals: Any = importlib.import_module("celery.signals")
    for signal, receiver in (
        (signals.before_task_publish, _before_publish),
        (signals.task_received, _received),
        (signals.task_prerun, _before_run),
        (signals.task_postrun, _after_run),
        (signals.task_failure, _failed),
        (signals.task_retry, _retried),
        (signals.task_revoked, _revoked),
        (signals.task_rejected, _refused),
        (signals.task_unknown, _refused),
        *celery_worker.receivers(signals),
    ):
        _connect(signal, receiver)
    _patches.wrap_once_imported("celery.app.base", "Celery.send_task", _send_task)
    _patches.wrap_once_imported("celery.worker.consumer.consumer", "Consumer.start", celery_worker.consume)
    for method in ("_get", "_get_bulk", "basic_ack"):
        _patches.wrap_once_imported("kombu.transport.SQS", f"Channel.{method}", celery_worker.ask_sqs)


def uninstall() -> None:
    """Listens no more."""
    _lost.clear()
    _patches.undo()


def queue_of(app: Any, exchange: Any, routing_key: str | None) -> str:
    """The queue that a message with this exchange and routing key goes to, as far as the application's routes tell."""
    name = getattr(exchange, "name", exchange) or ""
    key = routing_key or ""
    if not name:
        return key  # the default exchange: the key is the queue's name
    found = name
    for queue in app.amqp.queues.values():
        if queue.exchange is not None and queue.exchange.name == name:
            if queue.routing_key == key:
                return str(queue.name)
            found = queue.name
    return str(found)


def system_of(app: Any) -> str:
    """OpenTelemetry's name of the application's broker."""
    url = app.conf.broker_write_url or app.conf.broker_url or "amqp"
    scheme = str(url[0] if isinstance(url, list | tuple) else url).partition(":")[0].partition("+")[0].lower()
    return _SYSTEMS.get(scheme, scheme)


def _connect(signal: Any, receiver: Receiver) -> None:
    def guarded(**named: Any) -> None:
        try:
            receiver(**named)
        except Exception as failure:  # noqa: BLE001  # the boundary
            boundary.failed("celery", failure)

    signal.connect(guarded, weak=False)
    _patches.on_undo(lambda: signal.disconnect(guarded))


def _is_traced() -> bool:
    return not instrumented_by_contrib("celery", "CeleryInstrumentor")


# Whoever sends


def _send_task(wrapped: Callable[..., Any], app: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not watched():
        return wrapped(*args, **kwargs)
    with _Sending(app):
        return wrapped(*args, **kwargs)


def _before_publish(
    sender: str, exchange: Any = "", routing_key: str = "", headers: dict[str, Any] | None = None, **_named: Any
) -> None:
    sending = _sending.get()
    if sending is not None and headers is not None:
        sending.begin(sender, exchange, routing_key, headers)


# Whoever runs


def _before_run(task_id: str, task: Any, **_named: Any) -> None:
    request = task.request
    message = Message(
        system_of(task.app),
        _queue_of_request(task, request),
        text_headers((request.headers or {}).items()),
        task_id,
        attributes={
            TASK_NAME: task.name,
            TASK_RETRIES: request.retries or 0,
            MESSAGING_MESSAGE_CONVERSATION_ID: request.root_id or task_id,
        },
        correlation_id=request.root_id or task_id,
        original=request,
    )
    _running[request] = Processing(message, title=task.name, ambient=request.is_eager, traced=_is_traced()).__enter__()
    celery_worker.slots.take()


def _failed(sender: Any, task_id: str, exception: BaseException, **_named: Any) -> None:
    """A task failed: here, or (its process died, or took too long) in a process that cannot say so any more."""
    task, processing = sender, _running.get(sender.request)
    if processing is not None:
        if processing.span is not None:
            processing.span.set_attribute(TASK_STATE, "FAILURE")
        processing.fail(exception)
    elif isinstance(exception, _exceptions().Reject):
        return  # counted where it ran
    elif task_id in _lost:
        return  # Celery tells of a task that ran out of time twice
    else:
        _remember_lost(task_id)
        _count(task, task.request, "error")
    if not (task.throws and isinstance(exception, task.throws)):
        capture_exception(exception, tags={"task": task.name})


def _remember_lost(task_id: str) -> None:
    if len(_lost) >= _MOST_LOST:
        _lost.pop(next(iter(_lost)), None)
    _lost[task_id] = None


def _retried(sender: Any, request: Any, reason: Any = None, **_named: Any) -> None:
    processing = _running.get(request)
    if processing is None:  # the process that ran it is gone
        _count(sender, request, "retry")
    else:
        processing.outcome = "retry"
        cause = getattr(reason, "exc", None)
        if processing.span is not None and isinstance(cause, BaseException):
            processing.span.record_exception(cause)  # and no failed span: the task has not failed yet
    queues().retried(label_of(_queue_of_request(sender, request)))


def _after_run(task: Any, state: str | None = None, **_named: Any) -> None:
    processing = _running.pop(task.request, None)
    if processing is None:
        return
    celery_worker.slots.give_back()
    error = sys.exc_info()[1] if state is None else None  # it is on its way out of the task
    outcome = _outcome_of(error) if state is None else _OUTCOMES.get(state, "")
    if processing.span is not None and state is not None:
        processing.span.set_attribute(TASK_STATE, state)
    if error is not None and not isinstance(error, Exception) and celery_worker.slots.in_child:
        processing.counted = True  # by the main process, which hears that this one died
    processing.outcome = processing.outcome or outcome
    processing.end(error if outcome == "error" else None)


def _outcome_of(error: BaseException | None) -> str:
    """Of a task that ended by an exception that nobody has judged: eager ones may, and those that are killed."""
    exceptions = _exceptions()
    for kind, outcome in (
        (exceptions.Retry, "retry"),
        (exceptions.Ignore, "ignored"),
        (exceptions.Reject, "rejected"),
    ):
        if isinstance(error, kind):
            return outcome
    return "error"


def _exceptions() -> Any:
    return sys.modules["celery.exceptions"]  # there is no task without it


# What the worker's main process hears


def _received(request: Any, **_named: Any) -> None:
    _lost.pop(request.id, None)  # it is tried again
    label = label_of(_queue_of(request.app, request.delivery_info))
    queues().message(label, "receive", "ok")
    if (request.delivery_info or {}).get("redelivered"):
        queues().retried(label)


def _revoked(sender: Any, request: Any, expired: bool = False, **_named: Any) -> None:
    _count(sender, request, "expired" if expired else "revoked")


def _refused(sender: Any, message: Any, **_named: Any) -> None:
    """A message that is no task of this worker's."""
    queues().message(label_of(_queue_of(sender.app, message.delivery_info)), "process", "rejected")


def _count(task: Any, request: Any, status: str) -> None:
    queues().message(label_of(_queue_of_request(task, request)), "process", status)


def _queue_of_request(task: Any, request: Any) -> str:
    found = request.delivery_info or {}
    if found.get("exchange") or found.get("routing_key"):
        return _queue_of(task.app, found)
    # An eager task, which has not been routed, or one that ran out of time, which Celery has forgotten by now.
    try:
        routed = task.app.amqp.router.route(dict(task._get_exec_options()), task.name, task_type=task)  # noqa: SLF001  # what apply_async does
        queue = routed.get("queue")
    except Exception:  # noqa: BLE001  # routes are the application's
        queue = None
    return str(getattr(queue, "name", queue) or task.app.conf.task_default_queue)


def _queue_of(app: Any, delivery_info: Mapping[str, Any] | None) -> str:
    found = delivery_info or {}
    return queue_of(app, found.get("exchange"), found.get("routing_key"))
