"""Making an event of an exception: first what tells it from others, and all the rest only if it is to leave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from opentelemetry.trace import INVALID_SPAN
from opentelemetry.trace import Span as ApiSpan

from watchkeeper.clock import Clock
from watchkeeper.context import BOUND_KEY, CORRELATION_ID, REQUEST_KEY, SPAN_KEY, Request, get_current
from watchkeeper.errors.breadcrumbs import trail
from watchkeeper.errors.categories import category_of, names_of
from watchkeeper.errors.event import Category, ErrorEvent, Mechanism, Problem, Severity
from watchkeeper.errors.fingerprints import fingerprint_of, fingerprint_of_message, hashed
from watchkeeper.errors.options import ErrorOptions, ErrorRule
from watchkeeper.errors.request import facts_of
from watchkeeper.errors.stacks import InApp, problems_of, within
from watchkeeper.errors.variables import Describer
from watchkeeper.logging.pipeline import REQUEST_ATTRIBUTE, pipeline
from watchkeeper.options import ServiceOptions
from watchkeeper.tracing.ids import Ids
from watchkeeper.values import text_of, truncated

_LONGEST_TAG = 200  # characters: Sentry's limit
_NAMED_ELSEWHERE = frozenset({"user_id", "tenant_id", CORRELATION_ID})  # what is bound and has a place of its own


@dataclass(slots=True)
class Source:
    """Who caught an error, and what they know of it beside the exception."""

    mechanism: Mechanism
    handled: bool = True
    message: str = ""
    severity: Severity = "error"
    fingerprint: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    logger: str = ""


class Scene(NamedTuple):
    """What the code belonged to when an error was caught."""

    request: Request | None
    span: ApiSpan
    bound: Mapping[str, Any]


def scene_of(error: BaseException | None, request: Request | None = None) -> Scene:
    """The current context's; of an error that left its request, that request's."""
    context = get_current()
    request = request or context.get(REQUEST_KEY)  # type: ignore[assignment]
    span: Any = context.get(SPAN_KEY)
    if request is None and error is not None:
        request = getattr(error, REQUEST_ATTRIBUTE, None)
    if request is not None and span is None:
        span = request.span
    bound: Any = context.get(BOUND_KEY) or {}
    if request is not None and request.bound:
        bound = {**request.bound, **bound}
    return Scene(request, span if isinstance(span, ApiSpan) else INVALID_SPAN, bound)


class _Rule(NamedTuple):
    rule: ErrorRule
    message: re.Pattern[str]


class Builder:
    """Builds events as options have them."""

    def __init__(self, options: ErrorOptions, service: ServiceOptions, clock: Clock, ids: Ids) -> None:
        self._options = options
        self._release = options.release or service.version
        self._environment = options.environment or service.environment
        self._clock = clock
        self._ids = ids
        self._in_app = InApp(options.in_app)
        self._rules = [_Rule(rule, re.compile(rule.message)) for rule in options.rules]

    def new_id(self) -> str:
        """An event's."""
        return f"{self._ids.trace_id():032x}"

    def draft(self, error: BaseException | None, source: Source, scene: Scene) -> ErrorEvent | None:
        """What tells the event from others; None if a rule says to ignore it."""
        problems = problems_of(error, self._in_app) if error is not None else ()
        problems = tuple([_redacted(problem) for problem in problems])
        message = source.message or (problems[0].message if problems else "")
        rule = self._rule_for(error, problems, message)
        if rule is not None and rule.ignore:
            return None
        rule = rule or ErrorRule()
        named = source.fingerprint or rule.fingerprint
        category: Category = rule.category or (category_of(error) if error is not None else "unknown")
        if named:
            fingerprint = hashed("named", named)
        elif problems:
            fingerprint = fingerprint_of(problems)
        else:
            fingerprint = fingerprint_of_message(message, source.logger)
        identity = scene.span.get_span_context()
        return ErrorEvent(
            event_id=self.new_id(),
            time_ns=self._clock.wall_ns(),
            severity=rule.severity or source.severity,
            category=category,
            fingerprint=fingerprint,
            message=pipeline.redaction.text(truncated(message)),
            exceptions=problems,
            mechanism=source.mechanism,
            handled=source.handled,
            logger=source.logger,
            grouped_by_rule=bool(named),
            trace_id=identity.trace_id,
            span_id=identity.span_id,
        )

    def complete(self, event: ErrorEvent, error: BaseException | None, source: Source, scene: Scene) -> ErrorEvent:
        """The draft with everything that helps to understand it."""
        redaction = pipeline.redaction
        request, _, bound = scene
        bound = redaction.snapshot(dict(bound))
        tags = {text_of(key): text_of(value) for key, value in source.tags.items()}
        if "tenant_id" in bound:
            tags.setdefault("tenant_id", text_of(bound["tenant_id"]))
        extra = {**bound, **redaction.snapshot(dict(source.extra))}
        for key in _NAMED_ELSEWHERE & bound.keys():
            del extra[key]
        problems = event.exceptions
        if self._options.local_variables and error is not None:
            problems = tuple([_redacted(each) for each in problems_of(error, self._in_app, Describer(redaction))])
        correlation_id = request.correlation_id if request is not None else ""
        facts = facts_of(request, personal=self._options.send_default_pii)
        user = {"id": text_of(bound["user_id"])} if "user_id" in bound else {}
        if facts is not None and facts.client:
            user["ip_address"] = facts.client
        return replace(
            event,
            exceptions=problems,
            request=facts,
            request_id=request.request_id if request is not None else "",
            correlation_id=text_of(bound.get(CORRELATION_ID, correlation_id)),
            user=user,
            tags={key: redaction.text(value)[:_LONGEST_TAG] for key, value in tags.items()},
            extra=extra,
            breadcrumbs=trail.told(request, event.trace_id, self._clock),
            release=self._release,
            environment=self._environment,
        )

    def _rule_for(self, error: BaseException | None, problems: tuple[Problem, ...], message: str) -> ErrorRule | None:
        for rule, pattern in self._rules:
            if rule.type and (error is None or not _is_a(error, rule.type)):
                continue
            if rule.module and not any(within(frame.module, rule.module) for each in problems for frame in each.frames):
                continue
            if rule.message and pattern.search(problems[0].message if problems else message) is None:
                continue
            return rule
        return None


def _is_a(error: BaseException, name: str) -> bool:
    return any(name in {full, full.rpartition(".")[2]} for full in names_of(type(error)))


def _redacted(problem: Problem) -> Problem:
    clean = pipeline.redaction.text(problem.message)
    return problem if clean == problem.message else replace(problem, message=clean)
