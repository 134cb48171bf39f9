"""Options of errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from urllib.parse import urlsplit

from watchkeeper.environment import (
    ConfigurationError,
    check_choice,
    check_pattern,
    check_within,
    flag_in,
    list_in,
    number_in,
)
from watchkeeper.errors.event import Category, ErrorEvent, Severity

BeforeSend = Callable[[ErrorEvent], ErrorEvent | None]


@dataclass(frozen=True)
class ErrorRule:
    """Changes what is made of some errors: those for which everything holds that is given.

    `type` is the name of the exception's class or of one of its bases, with or without its module; `message` a
    regular expression searched in the exception's message; `module` a module (or what is below it) of the frames that
    the exception went through. The first rule that fits decides `category`, `severity` and `fingerprint`, where it
    names them; with `ignore` such errors are neither counted nor sent.

    Example:
        >>> ErrorRule(type="PaymentDeclined", severity="warning", fingerprint="payment declined")
        >>> ErrorRule(type="builtins.ConnectionResetError", module="shop.websocket", ignore=True)
    """

    type: str = ""
    message: str = ""
    module: str = ""
    category: Category | None = None
    severity: Severity | None = None
    fingerprint: str = ""  # the group's name, in place of the stack
    ignore: bool = False


@dataclass(frozen=True)
class ErrorOptions:
    """Which errors are caught, what is told of them, and which Sentry hears of it.

    `before_send` sees every event last, and changes it or, by giving None, keeps it back.

    Example:
        >>> ErrorOptions(dsn="https://key@sentry.example/7", release="1.2.0", in_app=("shop",))
        >>> ErrorOptions(before_send=lambda event: None if event.category == "not_found" else event)
    """

    enabled: bool = True
    dsn: str = ""  # of a Sentry project; empty: errors go to Watchkeeper only
    release: str = ""  # empty: the service's version
    environment: str = ""  # empty: the service's
    sample_rate: float = 1.0  # the share that is sent
    send_default_pii: bool = False  # the client's address, cookies, and the headers that name the client
    local_variables: bool = False  # of each frame, bounded and without secrets
    in_app: tuple[str, ...] = ()  # the application's modules; empty: all outside of the library and site-packages
    rules: tuple[ErrorRule, ...] = ()
    before_send: BeforeSend | None = None
    repeat_window_seconds: float = 300.0  # within which the same error is counted and not sent again
    most_per_minute: int = 100  # events that leave

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> ErrorOptions:
        """What a deployment asks for."""
        window = number_in(environ, "WATCHKEEPER_ERRORS_REPEAT_WINDOW", cls.repeat_window_seconds * 1e3, float)
        rate = number_in(environ, "SENTRY_SAMPLE_RATE", cls.sample_rate, float)
        check_within("SENTRY_SAMPLE_RATE", rate, 0.0, 1.0)
        return cls(
            enabled=flag_in(environ, "WATCHKEEPER_ERRORS", default=cls.enabled),
            dsn=environ.get("SENTRY_DSN", "").strip(),
            release=environ.get("SENTRY_RELEASE", "").strip(),
            environment=environ.get("SENTRY_ENVIRONMENT", "").strip(),
            sample_rate=rate,
            send_default_pii=flag_in(environ, "WATCHKEEPER_ERRORS_SEND_DEFAULT_PII", default=cls.send_default_pii),
            local_variables=flag_in(environ, "WATCHKEEPER_ERRORS_LOCAL_VARIABLES", default=cls.local_variables),
            in_app=list_in(environ, "WATCHKEEPER_ERRORS_IN_APP"),
            repeat_window_seconds=window / 1e3,
            most_per_minute=number_in(environ, "WATCHKEEPER_ERRORS_MOST_PER_MINUTE", cls.most_per_minute, int),
        )

    def validate(self) -> None:
        """Raises ConfigurationError for the first option that cannot work."""
        if self.dsn:
            parse_dsn(self.dsn)
        check_within("errors.sample_rate", self.sample_rate, 0.0, 1.0)
        check_within("errors.repeat_window_seconds", self.repeat_window_seconds, 0.0, 86_400)
        check_within("errors.most_per_minute", self.most_per_minute, 1, 10_000)
        if iscoroutinefunction(self.before_send):
            raise ConfigurationError(
                "errors.before_send is an async function: events are sent by a thread, so it must be sync"
            )
        for at, rule in enumerate(self.rules):
            _check_rule(f"errors.rules[{at}]", rule)


@dataclass(frozen=True)
class Dsn:
    """A Sentry project's address: where envelopes are posted, and the keys that say who posts."""

    endpoint: str
    public_key: str
    secret_key: str = ""  # of old servers


def parse_dsn(text: str) -> Dsn:
    """`scheme://public[:secret]@host[:port][/path]/project`. Raises ConfigurationError for anything else."""
    try:
        parts = urlsplit(text)
        path, _, project = parts.path.rstrip("/").rpartition("/")
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        usable = usable and bool(parts.username) and re.fullmatch(r"[\w-]+", project) is not None
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            "errors.dsn (SENTRY_DSN) is no DSN: it must look like https://key@sentry.example/42, as the project's"
            " settings show it"
        )
    host = parts.netloc.rpartition("@")[2]
    return Dsn(f"{parts.scheme}://{host}{path}/api/{project}/envelope/", parts.username or "", parts.password or "")


def _check_rule(name: str, rule: ErrorRule) -> None:
    if not (rule.type or rule.message or rule.module):
        raise ConfigurationError(f"{name} fits every error: give it a type, a message or a module")
    if rule.category is not None:
        check_choice(f"{name}.category", rule.category, Category)
    if rule.severity is not None:
        check_choice(f"{name}.severity", rule.severity, Severity)
    if not (rule.category or rule.severity or rule.fingerprint or rule.ignore):
        raise ConfigurationError(
            f"{name} changes nothing: give it a category, a severity, a fingerprint or ignore=True"
        )
    check_pattern(f"{name}.message", rule.message)
