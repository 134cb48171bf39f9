"""An error event: what is known of one error, between being caught and being sent.

Everything in it is a snapshot, bounded and without secrets. `before_send` and tests see it as it is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Category = Literal[
    "database",
    "validation",
    "authentication",
    "authorization",
    "not_found",
    "network",
    "rate_limit",
    "configuration",
    "unknown",
]
Severity = Literal["critical", "error", "warning", "info"]
Mechanism = Literal["capture", "log", "request", "excepthook", "thread", "asyncio", "unraisable"]
CATEGORIES: tuple[Category, ...] = get_args(Category)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True, slots=True)
class Frame:
    """A line that was being executed. `in_app`: it is the application's, not a library's."""

    module: str  # empty where the code has none
    function: str  # qualified: `Orders.place`
    path: str
    line: int
    in_app: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)  # local ones, as text, where options ask for them


@dataclass(frozen=True, slots=True)
class Problem:
    """One exception of a chain or a group, with its frames, the innermost last.

    `parent` is the place in the event's `exceptions` of what this one led to or what holds it, -1 for the first;
    `source` says how: `__cause__`, `__context__` or `exceptions[n]`.
    """

    type: str  # the class's qualified name
    module: str
    message: str
    frames: tuple[Frame, ...] = ()
    frames_left_out: int = 0  # in the middle, of a recursion
    parent: int = -1
    source: str = ""
    is_group: bool = False

    @property
    def qualified_type(self) -> str:
        """`module.Class`; a builtin's name alone."""
        return self.type if self.module in {"", "builtins"} else f"{self.module}.{self.type}"


@dataclass(frozen=True, slots=True)
class Breadcrumb:
    """Something that happened before: a log line, a call of something outside, or what the application noted."""

    time_ns: int
    category: str  # `log.<logger>`, `http`, `database`, `cache`, `queue`, `llm`, or the application's own word
    message: str
    level: str = "info"
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The request that was being served."""

    method: str
    route: str  # the template; empty where no route took it
    url: str  # without the query
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 0  # 0: none was sent yet
    client: str = ""  # the address, where personal data may be sent


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """One error. `dataclasses.replace` makes a changed copy.

    Example:
        >>> def before_send(event: wk.ErrorEvent) -> wk.ErrorEvent | None:
        ...     return None if event.category == "not_found" else event
    """

    event_id: str  # 32 hexadecimal digits
    time_ns: int
    severity: Severity
    category: Category
    fingerprint: str  # the same for errors that are the same
    message: str  # of a message or a log line; of a bare exception its own
    exceptions: tuple[Problem, ...] = ()  # what was caught first, then causes and members; none of a message
    mechanism: Mechanism = "capture"
    handled: bool = True
    logger: str = ""
    grouped_by_rule: bool = False  # the fingerprint is a rule's or the caller's, not made from the stack
    request: RequestFacts | None = None
    request_id: str = ""
    correlation_id: str = ""
    trace_id: int = 0
    span_id: int = 0
    user: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    breadcrumbs: tuple[Breadcrumb, ...] = ()  # the oldest first
    release: str = ""
    environment: str = ""
    repeats: int = 0  # how often it came again; such an event follows the first one when its window ends

    @property
    def type(self) -> str:
        """The class of what was caught, `module.Class`; empty of a message."""
        return self.exceptions[0].qualified_type if self.exceptions else ""

    @property
    def title(self) -> str:
        """One line for lists."""
        text = self.exceptions[0].message if self.exceptions else self.message
        first = text.partition("\n")[0][:200]
        return f"{self.type}: {first}" if self.type and first else self.type or first
