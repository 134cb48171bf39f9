"""Severities of log records: OTLP's numbers, their ranges' names, and what loggers write where a number is missing.

Source: https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
"""

from __future__ import annotations

UNSET = "unset"
# Each range begins at its number and reaches up to the next one.
LOWEST = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}
LEVELS = tuple(LOWEST)

# The words of Python, syslog, log4j, Winston, Go's loggers and others, in lower case.
_RANGE_OF_WORD = {
    word: level
    for level, words in {
        "trace": "trace silly finest",
        "debug": "debug verbose fine finer config",
        "info": "info information informational notice log http success",
        "warn": "warn warning",
        "error": "error err severe",
        "fatal": "fatal critical crit alert emerg emergency panic dpanic",
    }.items()
    for word in words.split()
}


def severity_of(number: int, text: str) -> str:
    """The range's name; where no number was sent, what the text says; `unset` where that says nothing either."""
    if number <= 0:
        return _RANGE_OF_WORD.get(text.lower(), UNSET)
    return next(level for level in reversed(LEVELS) if number >= LOWEST[level])


def words_from(level: str) -> list[str]:
    """The texts, in lower case, that mean this level or a higher one."""
    return [word for word, meant in _RANGE_OF_WORD.items() if LOWEST[meant] >= LOWEST[level]]
