"""The test language itself: what it reads, what it refuses, and that it finds what is wrong."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cramjam
import pytest

from support.promqltest import remote_write
from support.promqltest.cursor import Cursor, NotationError, duration
from support.promqltest.histograms import Histogram, as_columns, from_columns, read_histogram, with_hints
from support.promqltest.run import Runner
from support.promqltest.script import Case, ScriptError, read_script
from support.promqltest.series import Series, read_series
from support.promqltest.targets import Answer, QueryFailedError
from watchkeeper_server.promql.values import METRIC_NAME, STALE_BITS, Steps


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a 1 -2.5 1e3 .5 +Inf", [1, -2.5, 1000, 0.5, math.inf]),
        ("a 1+2x3", [1, 3, 5, 7]),
        ("a 1-2x2", [1, -1, -3]),
        ("a -1x2", [-1, -1, -1]),
        ("a 0x3", [0, 0, 0, 0]),
        ("a _ 1 _x3 2", [None, 1, None, None, None, 2]),
        ("a {{count:1}}x1", [Histogram(count=1)] * 2),
        ("a {{count:1 buckets:[1]}}+{{count:2 buckets:[2]}}x1",
         [Histogram(count=1, positive={0: 1}), Histogram(count=3, positive={0: 3})]),
        ("a", []),
    ],
)  # fmt: skip
def test_values_expand(text: str, values: list[float | Histogram | None]) -> None:
    assert read_series(text) == ({METRIC_NAME: "a"}, values)


def test_stale_is_the_marker_and_nan_is_not() -> None:
    _, (stale, nan) = read_series("a stale NaN")
    assert isinstance(stale, float)
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert (int.from_bytes(_bits(stale), "big"), int.from_bytes(_bits(nan), "big") == STALE_BITS) == (STALE_BITS, False)


def _bits(value: float) -> bytes:
    return struct.pack(">d", value)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("up", {METRIC_NAME: "up"}),
        ("{}", {}),
        ('up{a="1",}', {METRIC_NAME: "up", "a": "1"}),
        ("up{ a = 'x' , b=`y\\n` }", {METRIC_NAME: "up", "a": "x", "b": "y\\n"}),
        (r'{a="q\"\\\n\u00e9\x41\101"}', {"a": 'q"\\\néAA'}),
        ('{"a name", "a.label"="1"}', {METRIC_NAME: "a name", "a.label": "1"}),
        ('up{a=""}', {METRIC_NAME: "up"}),
    ],
)
def test_labels_are_read_however_they_are_quoted(text: str, labels: dict[str, str]) -> None:
    assert Cursor(text).labels() == labels


def test_durations_are_sums_of_units() -> None:
    assert [duration(text) for text in ("0", "1ms", "90s", "1h30m", "1y2w3d")] == [
        0, 1, 90_000, 5_400_000, 31_536_000_000 + 17 * 86_400_000,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "5", "m", "1m1h", "-5m", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(NotationError, match="expected a duration"):
        duration(text)


FULL = (
    "{{schema:1 count:10 sum:-1.5 z_bucket:2 z_bucket_w:0.001 offset:-2 buckets:[1 0 2] n_offset:3 n_buckets:[5] "
    "counter_reset_hint:reset}}"
)


def test_a_histogram_is_read_and_written_the_same() -> None:
    read = read_histogram(Cursor(FULL))
    assert read.positive == {-2: 1, 0: 2}
    assert read.negative == {3: 5}
    assert read_histogram(Cursor(str(read))) == read


def test_a_histogram_goes_to_columns_and_back() -> None:
    rows = [
        read_histogram(Cursor(FULL)),
        Histogram(hint=0),
        Histogram(schema=-53, count=3, positive={1: 3}, custom_values=(1, 2), hint=3),
    ]
    columns = as_columns(rows)
    assert [from_columns(columns, row) for row in range(3)] == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{count}}", "expected `:`"),
        ("{{count:1 count:2}}", "twice"),
        ("{{kount:1}}", "has no 'kount'"),
        ("{{counter_reset_hint:maybe}}", "one of unknown, reset, not_reset, gauge"),
        ("{{buckets:[1 x]}}", "expected a number"),
        ("{{buckets:[1]", "expected a word"),
    ],
)
def test_a_bad_histogram_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(NotationError, match=says):
        read_histogram(Cursor(text))


def test_a_store_says_of_histograms_what_it_knows_of_resets() -> None:
    counts = [5, 7, 3, 4]
    counters = [Histogram(count=count, positive={0: count}) for count in counts]
    gauge = Histogram(count=1, hint=3)
    hinted = with_hints(
        [*counters, 1.0, counters[0], gauge, Histogram(schema=1, count=9), Histogram(schema=1, count=9)]
    )
    assert [one.hint if isinstance(one, Histogram) else None for one in hinted] == [0, 2, 0, 2, None, 0, 3, 0, 2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lode 5m", "file.test:1: 'lode 5m' is no command"),
        ("load", "load is written"),
        ("load 5", "expected a duration such as 5m"),
        ("load 5m\n a 1 2x", "file.test:2: expected a space between values"),
        ("load 5m\n a 1+1", "how often to repeat"),
        ("load 5m\n a@st 0s", "start timestamps"),
        ("load 5m\n a{b=c} 1", "a string in quotes"),
        ("eval at 5m a", "eval is written"),
        ("eval range from 5m to 0 step 1m a", "is no range"),
        ("eval instant at 0 a\n a", "says no value"),
        ("eval instant at 0 a\n a 1 2", "expect range vector"),
        ("eval instant at 0 a\n expect nothing", "expect is followed by"),
        ("eval instant at 0 a\n expect fail regex: (", "no regular expression"),
        ("eval instant at 0 a\n expect warn\n expect no_warn", "both expected and not"),
        ("eval instant at 0 a\n expect string x", "a string in quotes"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ScriptError) as refused:
        _cases(tmp_path, text)
    assert says in str(refused.value)
    assert "file.test:" in str(refused.value)


def _cases(folder: Path, text: str) -> list[Case]:
    file = folder / "file.test"
    file.write_text(text)
    return read_script(file)


def test_a_case_has_what_was_loaded_before_it_since_the_last_clear(tmp_path: Path) -> None:
    first, second, third = _cases(
        tmp_path,
        "load 1m\n a 1 2\n\neval instant at 0 a\n a 1\n\nload 1m\n b 1\n a _ _ 3\n\n# nothing\neval instant at 1m b\n"
        "\nclear\neval instant at 0 a",
    )
    assert first.data == (Series({METRIC_NAME: "a"}, ((0, 1), (60_000, 2))),)
    assert second.data == (
        Series({METRIC_NAME: "a"}, ((0, 1), (60_000, 2), (120_000, 3))),
        Series({METRIC_NAME: "b"}, ((0, 1),)),
    )
    assert third.data == ()
    assert (second.line, second.steps, second.query) == (12, Steps(60_000, 60_000, 0), "b")


def test_classic_histograms_are_loaded_with_what_they_come_to(tmp_path: Path) -> None:
    (case,) = _cases(
        tmp_path,
        'load_with_nhcb 1m\n a_bucket{le="1"} 2\n a_bucket{le="+Inf"} 5\n a_count 5\n a_sum 7\n\n'
        "eval instant at 0 a\n a 1",
    )
    converted = Histogram(schema=-53, count=5, sum=7, positive={0: 2, 1: 3}, custom_values=(1.0,))
    assert case.data[0] == Series({METRIC_NAME: "a"}, ((0, converted),))
    assert len(case.data) == 5


@dataclass
class Fake:
    """Answers what it was told to."""

    answer: Answer | Exception
    held: list[Sequence[Series]] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)

    def hold(self, data: Sequence[Series]) -> None:
        self.held.append(data)

    def instant(self, query: str, time: int) -> Answer:
        self.asked.append((query, time))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def range(self, query: str, steps: Steps) -> Answer:
        return self.instant(query, steps.start)


A = {METRIC_NAME: "a"}


@pytest.mark.parametrize(
    ("expected", "answer", "says"),
    [
        ("a 1", Answer("vector", [(A, {0: 1.0000001})]), ""),
        ("a 1", Answer("vector", [(A, {0: 2.0})]), "expected a{} 1.0@0s\n  got 2.0@0s"),
        ("a 1", Answer("vector", []), "got nothing"),
        ("", Answer("vector", [(A, {0: 2.0})]), "expected no a{}, got 2.0@0s"),
        ("1", Answer("vector", [(A, {0: 1.0})]), "expected the scalar 1.0, got a vector:\n    a{} 1.0@0s"),
        ("a 1", Answer("scalar", [({}, {0: 1.0})]), "expected series, got the scalar 1.0"),
        ('expect string "x"', Answer("string", [], "y"), "expected the string 'x', got the string 'y'"),
        ("a NaN", Answer("vector", [(A, {0: math.nan})]), ""),
        ("a stale", Answer("vector", [(A, {0: math.nan})]), "expected a{}"),
        ("a {{count:1}}", Answer("vector", [(A, {0: Histogram(count=1, hint=3)})]), ""),
        ("a {{count:1 counter_reset_hint:gauge}}", Answer("vector", [(A, {0: Histogram(count=1, hint=2)})]), "a{}"),
        ("a {{count:1}}", Answer("vector", [(A, {0: 1.0})]), "expected a{} {{count:1}}@0s"),
        ("expect fail", QueryFailedError("no"), ""),
        ("expect fail msg: no", QueryFailedError("no more"), "expected to fail like"),
        ("expect fail regex: no", QueryFailedError("no more"), ""),
        ("expect fail", Answer("vector", []), "expected to fail, got nothing"),
        ("a 1", QueryFailedError("why"), "expected an answer, failed: why"),
        ("expect warn", Answer("vector", []), "expected a warning like: any\n  got none"),
        ("expect warn msg: x", Answer("vector", [], warnings=["x"]), ""),
        ("expect warn msg: x", Answer("vector", [], warnings=["x (1:12)"]), ""),
        ("expect warn msg: x", Answer("vector", [], warnings=["xy"]), "expected a warning like"),
        ("expect warn regex: x", Answer("vector", [], warnings=["x", "y"]), "expected no other warning"),
        ("expect no_info", Answer("vector", [], infos=["x"]), "expected no info, got\n    x"),
        ("expect ordered\nb 1\na 1", Answer("vector", [(A, {0: 1.0}), ({METRIC_NAME: "b"}, {0: 1.0})]),
         "expected another order, got a{}, b{}"),
    ],
)  # fmt: skip
def test_a_case_fails_with_what_was_expected_and_what_came(
    tmp_path: Path, expected: str, answer: Answer | Exception, says: str
) -> None:
    (case,) = _cases(tmp_path, f"eval instant at 0 a + start()\n{expected}")
    failures = Runner(Fake(answer)).failures(case)
    assert says in failures
    assert failures.startswith(f"{tmp_path}/file.test:1: a + start()\n") if says else not failures


def test_an_instant_is_tried_as_a_step_of_a_range_too(tmp_path: Path) -> None:
    (case,) = _cases(tmp_path, "eval instant at 5m a\na 1")
    assert "as a step of a range query: expected a{} 1.0@300s" in Runner(
        Fake(Answer("vector", [(A, {240_000: 1.0})]))
    ).failures(case)


def test_data_are_loaded_once_for_all_cases_of_them(tmp_path: Path) -> None:
    target = Fake(Answer("vector", [(A, {0: 1.0})]))
    runner = Runner(target)
    for case in _cases(tmp_path, "load 1m\n a 1\n\neval instant at 0 a\na 1\n\neval instant at 0 a\na 1"):
        assert not runner.failures(case)
    assert len(target.held) == 1


def test_a_remote_write_is_what_the_specification_says() -> None:
    written = cramjam.snappy.decompress_raw(
        remote_write.body([Series({METRIC_NAME: "a", "b": "c"}, ((1000, 2.0),))], 5)
    )
    labels = b"\n\r\n\x08__name__\x12\x01a" + b"\n\x06\n\x01b\x12\x01c"
    sample = b"\x12\x0c\x09" + b"\0\0\0\0\0\0\0@" + b"\x10\xed\x07"
    assert bytes(written) == b"\n" + bytes([len(labels + sample)]) + labels + sample
