import pytest

from watchkeeper_server.model.severity import LEVELS, LOWEST, severity_of, words_from


@pytest.mark.parametrize(
    ("number", "text", "severity"),
    [
        (1, "", "trace"),
        (4, "", "trace"),
        (5, "", "debug"),
        (9, "ERROR", "info"),
        (12, "", "info"),
        (13, "", "warn"),
        (17, "", "error"),
        (21, "", "fatal"),
        (24, "", "fatal"),
        (200, "", "fatal"),
        (0, "", "unset"),
        (0, "WARNING", "warn"),
        (0, "Critical", "fatal"),
        (0, "err", "error"),
        (0, "whatever", "unset"),
    ],
)
def test_the_number_decides_and_the_text_stands_in_for_it(number: int, text: str, severity: str) -> None:
    assert severity_of(number, text) == severity


@pytest.mark.parametrize("level", LEVELS)
def test_words_from_a_level_are_those_that_mean_it_or_a_higher_one(level: str) -> None:
    words = words_from(level)
    assert {severity_of(0, word) for word in words} == {one for one in LEVELS if LOWEST[one] >= LOWEST[level]}
