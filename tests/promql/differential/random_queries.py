"""Queries drawn by seed, well typed, over the series of `random_data`: often what people write, seldom what they don't.

No window of theirs begins at a whole second at which a subquery has a step: instants are 7 s after a minute, subqueries
have steps of 5 s or more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from promql.differential.random_data import LENGTH, SECOND, START
from watchkeeper_server.promql.values import Steps


@dataclass(frozen=True, slots=True)
class Question:
    """A query and the time or times it is asked of."""

    query: str
    steps: Steps
    instant: bool

    def __str__(self) -> str:
        """As the test language would say it."""
        start, end, step = (
            (time - START) // SECOND for time in (self.steps.start, self.steps.end, self.steps.step + START)
        )
        if self.instant:
            return f"eval instant at {start}s {self.query}"
        return f"eval range from {start}s to {end}s step {step}s {self.query}"


def question(seed: int, number: int) -> Question:
    """The question of this number."""
    draw = Random(f"{seed}:{number}")
    start = START + (draw.randrange(LENGTH // 60 // SECOND) * 60 + 7) * SECOND
    if draw.random() < 0.4:
        return Question(_Writer(draw).query(), Steps(start, start, 0), instant=True)
    step = draw.choice((15, 30, 60, 300)) * SECOND
    return Question(_Writer(draw).query(), Steps(start, start + step * draw.randrange(1, 25), step), instant=False)


_LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "requests_total": {"job": ("api", "web"), "instance": ("a", "b"), "code": ("200", "404", "500")},
    "temperature": {"room": ("hall", "kitchen", "office", "server", "attic"), "floor": ("0", "1", "2")},
    "queue_length": {"room": ("hall", "office"), "job": ("api", "web")},
    "odd": {"kind": ("nan", "inf", "both", "zero", "tiny", "constant")},
    "job_progress": {"run": ("0", "1", "2", "3", "4", "5"), "job": ("api", "web")},
    "disk_free_bytes": {"disk": ("sda", "sdb")},
    "duration_seconds_count": {"job": ("api", "web"), "instance": ("a", "b")},
    "duration_seconds_sum": {"job": ("api", "web"), "instance": ("a", "b")},
    "duration_seconds_bucket": {"job": ("api", "web"), "instance": ("a", "b"), "le": ("0.1", "1", "+Inf")},
    "build_info": {"job": ("api", "web"), "version": ("1.2.3", "2.0.0")},
    "nothing_like_it": {"job": ("api",)},
}
_COUNTERS = ("requests_total", "requests_total", "duration_seconds_count", "duration_seconds_sum", "job_progress")
_GAUGES = ("temperature", "temperature", "queue_length", "disk_free_bytes", "odd")
_ANY = (*_COUNTERS, *_GAUGES, "build_info", "nothing_like_it", "duration_seconds_bucket")
_RANGES = ("1m", "2m", "5m", "5m", "10m", "30m", "90s", "1h")
_OFFSETS = ("1m", "5m", "30m", "-5m", "90s")
_SIMPLE = (
    "abs", "ceil", "floor", "round", "sgn", "sqrt", "exp", "ln", "log2", "log10", "sin", "cos", "tan", "asin", "acos",
    "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad",
)  # fmt: skip
_DATES = ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year")
_OVER_TIME = ("avg", "min", "max", "sum", "count", "last", "present", "stddev", "stdvar")
_OVER_WINDOW = ("changes", "resets", "delta", "deriv", "idelta")
_AGGREGATIONS = ("sum", "sum", "sum", "avg", "avg", "min", "max", "count", "group", "stddev", "stdvar")
_ARITHMETIC = ("+", "+", "-", "*", "*", "/", "/", "%", "^", "atan2")
_COMPARISONS = (">", "<", ">=", "<=", "==", "!=")
_SETS = ("and", "or", "unless")


class _Writer:
    """Writes one query."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw

    def query(self) -> str:
        """A vector, seldom a scalar."""
        return self._scalar(2) if self._draw.random() < 0.05 else self._vector(3)

    def _pick(self, choices: Sequence[tuple[int, Callable[[int], str]]], depth: int) -> str:
        (chosen,) = self._draw.choices([write for _, write in choices], [weight for weight, _ in choices])
        return chosen(depth - 1)

    def _vector(self, depth: int) -> str:
        if depth <= 0:
            return self._selector()
        return self._pick(
            (
                (2, lambda _: self._selector()),
                (6, self._rate),
                (6, self._aggregation),
                (4, self._over_time),
                (4, self._arithmetic),
                (2, self._comparison),
                (2, self._set),
                (2, self._matched),
                (2, self._function),
                (2, self._quantile),
                (1, self._ranked),
                (1, self._labelled),
                (1, self._absent),
                (1, self._chain),
                (1, self._joined),
                (1, self._counted),
                (1, lambda _: self._of_several_names()),
                (1, lambda left: f"vector({self._scalar(left)})"),
                (1, lambda left: f"-{self._inside(left)}"),
                (1, lambda left: f"{self._draw.choice(('sort', 'sort_desc'))}({self._vector(left)})"),
                (1, lambda left: f"+{self._inside(left)}"),
            ),
            depth,
        )

    def _inside(self, depth: int) -> str:
        """An operand: what binds looser stands in parentheses."""
        return f"({self._vector(depth)})"

    def _scalar(self, depth: int) -> str:
        number = f"{self._draw.choice((0, 0.5, 1, 2, 3.7, 10, 100, -1, 1e6))}"
        if depth <= 0 or self._draw.random() < 0.7:
            return number
        return self._pick(
            (
                (1, lambda _: "time()"),
                (1, lambda _: "pi()"),
                (2, lambda left: f"scalar({self._vector(left)})"),
                (2, lambda left: f"({self._scalar(left)} {self._draw.choice(_ARITHMETIC)} {self._scalar(left)})"),
                (1, lambda left: f"({self._scalar(left)} {self._draw.choice(_COMPARISONS)} bool {self._scalar(left)})"),
            ),
            depth,
        )

    def _named(self, names: Sequence[str]) -> str:
        """A name with conditions, no modifiers."""
        name = self._draw.choice(names)
        conditions = []
        for label, values in _LABELS[name].items():
            if self._draw.random() < 0.25:
                value, other = self._draw.choice(values), self._draw.choice(values)
                conditions.append(
                    self._draw.choice((
                        f'{label}="{value}"', f'{label}!="{value}"', f'{label}=~"{value}|{other}"',
                        f'{label}=~"{value[0]}.*"', f'{label}!~".*{value[-1]}"', f'{label}=~".+"', 'absent=""',
                    ))
                )  # fmt: skip
        return f"{name}{{{', '.join(conditions)}}}" if conditions else name

    def _modifiers(self) -> str:
        at = f" @ {(START + self._draw.randrange(LENGTH)) // SECOND // 10 * 10 + 7}"
        offset = f" offset {self._draw.choice(_OFFSETS)}"
        roll = self._draw.random()
        if roll < 0.8:
            return ""
        if roll < 0.9:
            return offset
        return self._draw.choice((at, " @ start()", " @ end()", at + offset))

    def _selector(self, names: Sequence[str] = _ANY) -> str:
        return self._named(names) + self._modifiers()

    def _window(self, names: Sequence[str], depth: int) -> str:
        """A range vector: mostly of a selector."""
        length = self._draw.choice(_RANGES)
        if depth > 0 and self._draw.random() < 0.15:
            step = self._draw.choice(("30s", "1m", "1m", "", "5m"))
            return f"({self._vector(depth - 1)})[{length}:{step}]{self._modifiers()}"
        return f"{self._named(names)}[{length}]{self._modifiers()}"

    def _rate(self, depth: int) -> str:
        function = self._draw.choice(("rate", "rate", "rate", "increase", "irate"))
        return f"{function}({self._window(_COUNTERS, depth)})"

    def _over_time(self, depth: int) -> str:
        roll = self._draw.random()
        window = self._window(_ANY if roll < 0.2 else _GAUGES, depth)
        if roll < 0.6:
            return f"{self._draw.choice(_OVER_TIME)}_over_time({window})"
        if roll < 0.8:
            return f"{self._draw.choice(_OVER_WINDOW)}({window})"
        smoothing, trend = self._draw.choice((0.1, 0.5, 0.9)), self._draw.choice((0.1, 0.5))
        return self._draw.choice((
            f"quantile_over_time({self._draw.choice((0, 0.1, 0.5, 0.9, 1))}, {window})",
            f"predict_linear({window}, {self._draw.choice((0, 60, 3600))})",
            f"double_exponential_smoothing({window}, {smoothing}, {trend})",
        ))  # fmt: skip

    def _grouping(self) -> str:
        labels = self._draw.sample(("job", "instance", "code", "room", "floor", "kind", "le"), self._draw.randrange(3))
        return self._draw.choice(
            ("", f" by ({', '.join(labels)})", f" by ({', '.join(labels)})", f" without ({', '.join(labels)})")
        )

    def _aggregation(self, depth: int) -> str:
        if self._draw.random() < 0.1:
            return f"quantile{self._grouping()} ({self._draw.choice((0, 0.25, 0.5, 0.99, 1))}, {self._vector(depth)})"
        if self._draw.random() < 0.05:
            return f'count_values{self._grouping()} ("v", {self._selector(("queue_length", "build_info"))})'
        return f"{self._draw.choice(_AGGREGATIONS)}{self._grouping()} ({self._vector(depth)})"

    def _ranked(self, _: int) -> str:
        """Of values that are all different, for of equal ones any may stay."""
        operator = self._draw.choice(("topk", "bottomk")) + self._grouping()
        vector = self._selector(("temperature", "disk_free_bytes", "duration_seconds_sum"))
        return f"{operator} ({self._draw.randrange(1, 5)}, {vector})"

    def _operated(self, operators: Sequence[str], depth: int, bool_: str = "") -> str:
        left, right = self._inside(depth), self._inside(depth)
        roll = self._draw.random()
        if roll < 0.4:
            right = self._scalar(depth)
        elif roll < 0.55:
            left = self._scalar(depth)
        return f"{left} {self._draw.choice(operators)}{bool_} {right}"

    def _arithmetic(self, depth: int) -> str:
        return self._operated(_ARITHMETIC, depth)

    def _comparison(self, depth: int) -> str:
        return self._operated(_COMPARISONS, depth, self._draw.choice(("", "", " bool")))

    def _chain(self, depth: int) -> str:
        """Operators side by side: it is for the parser to say which binds first."""
        operators = ("+", "-", "*", "/", "%", "^", "and", "or", "unless", "== bool", "> bool", "atan2")
        signs = ("", "", "-", "+", "- -")
        written = f"{self._draw.choice(signs)}{self._draw.choice((self._selector(), self._scalar(0)))}"
        vector = "{" in written or any(name in written for name in _LABELS)
        for _ in range(self._draw.randrange(2, 5)):
            operator = self._draw.choice(operators)
            number = operator not in _SETS and vector and self._draw.random() < 0.5
            operand = self._scalar(depth - 1) if number else self._selector(("temperature", "queue_length"))
            written += f" {operator} {self._draw.choice(signs) if operator != '^' else ''}{operand}"
            vector = True
        return f"({written})" if vector else f"vector({written})"

    def _joined(self, depth: int) -> str:
        """Many to one by labels of any kind; sums see to it that there is one."""
        labels = self._draw.sample(("job", "instance", "code"), self._draw.randrange(1, 3))
        of_one = f"sum by ({', '.join(labels)}) ({self._vector(depth)})"
        many, operator = self._selector(("requests_total", "queue_length")), self._draw.choice((*_ARITHMETIC, "> bool"))
        include = self._draw.choice(("", "()", f"({labels[0]})", "(absent)"))
        if self._draw.random() < 0.5:
            return f"{many} {operator} on({', '.join(labels)}) group_left{include} {of_one}"
        return f"{of_one} {operator} on({', '.join(labels)}) group_right{include} {many}"

    def _counted(self, depth: int) -> str:
        """What is chosen among equals may differ, but not how many are."""
        vector, grouping = self._vector(depth), self._grouping()
        return self._draw.choice((
            f"count{grouping} ({self._draw.choice(('topk', 'bottomk'))}{grouping} ({self._limit()}, {vector}))",
            f'count_values{self._grouping()} ("v", round({vector}, 5))',
            f'count_values ("job", ({vector}) > bool 3)',
            f"count(absent({vector})) or count({vector})",
            f"histogram_quantile(0.5, {vector})",
        ))  # fmt: skip

    def _limit(self) -> str:
        return self._draw.choice(("0", "-1", "2.7", "1", "3", "1e9"))

    def _of_several_names(self) -> str:
        name, other = self._draw.sample(("requests_total", "temperature", "queue_length", "build_info"), 2)
        selector = self._draw.choice((
            f'{{__name__=~"{name}|{other}"}}',
            f'{{__name__=~"{name[:5]}.*", job!=""}}',
            f'{{__name__!~"duration.*|{other}", job="api"}}',
            f'{{job=~"a.+", __name__="{name}"}}',
        ))  # fmt: skip
        return self._draw.choice((
            selector + self._modifiers(),
            f"count by (__name__, job) ({selector})",
            f"sum({self._draw.choice(_OVER_TIME)}_over_time({selector}[5m]))",
            f'label_replace({selector}, "was", "$1", "__name__", "(.*)_.*")',
            f"max without (instance, __name__) ({selector})",
        ))  # fmt: skip

    def _on(self) -> str:
        labels = self._draw.sample(("job", "instance", "code", "room"), self._draw.randrange(3))
        return self._draw.choice(("", f" on({', '.join(labels)})", f" ignoring({', '.join(labels)})"))

    def _set(self, depth: int) -> str:
        return f"{self._inside(depth)} {self._draw.choice(_SETS)}{self._on()} {self._inside(depth)}"

    def _matched(self, depth: int) -> str:
        """Many to one, as dashboards have it."""
        rate = f"rate(requests_total[{self._draw.choice(_RANGES)}])"
        operator = self._draw.choice((*_ARITHMETIC, *_COMPARISONS))
        return self._draw.choice((
            f"sum by (job) ({rate}) {operator} on(job) group_left(version) build_info",
            f"{rate} {operator} on(job) group_left(version) build_info",
            f"build_info {operator} on(job) group_right(version) {rate}",
            f'sum by (job) (rate(requests_total{{code="500"}}[5m])) {operator} sum by (job) ({rate})',
            f"sum without (instance) ({rate}) {operator} ignoring(code) group_left sum by (job) ({rate})",
            f"rate(duration_seconds_sum[5m]) {operator} rate(duration_seconds_count[5m])",
            f"{self._inside(depth)} {operator}{self._on()} {self._inside(depth)}",
        ))  # fmt: skip

    def _function(self, depth: int) -> str:
        vector = self._vector(depth)
        return self._draw.choice((
            f"{self._draw.choice(_SIMPLE)}({vector})",
            f"{self._draw.choice(_SIMPLE)}({vector})",
            f"{self._draw.choice(_DATES)}({self._draw.choice(('', vector, 'timestamp(temperature)'))})",
            f"clamp({vector}, {self._scalar(0)}, {self._scalar(0)})",
            f"clamp_min({vector}, {self._scalar(depth)})",
            f"clamp_max({vector}, {self._scalar(depth)})",
            f"round({vector}, {self._draw.choice((0.1, 5, 0.25))})",
            f"timestamp({vector})",
        ))  # fmt: skip

    def _quantile(self, depth: int) -> str:
        buckets = self._draw.choice((
            "duration_seconds_bucket",
            "rate(duration_seconds_bucket[5m])",
            "sum by (le) (rate(duration_seconds_bucket[5m]))",
            "sum by (job, le) (increase(duration_seconds_bucket[10m]))",
            f"sum without (instance) (rate({self._named(('duration_seconds_bucket',))}[{self._draw.choice(_RANGES)}]))",
        ))  # fmt: skip
        rank = self._draw.choice(("0", "0.5", "0.9", "0.99", "1", f"{self._scalar(depth)}"))
        return f"histogram_quantile({rank}, {buckets})"

    def _labelled(self, depth: int) -> str:
        vector = self._vector(depth)
        return self._draw.choice((
            f'label_replace({vector}, "made", "$1-x", "job", "(.*)")',
            f'label_replace({vector}, "job", "$2$1", "instance", "(.)(.*)")',
            f'label_join({vector}, "made", "/", "job", "room", "instance")',
            f'label_replace({vector}, "room", "", "job", "a.*")',
            f'label_replace({vector}, "made", "${{letter}}-$$-$9", "job", "(?P<letter>.).*")',
            f'label_join({vector}, "job", "", "absent", "job", "job")',
        ))  # fmt: skip

    def _absent(self, depth: int) -> str:
        return self._draw.choice((
            f"absent({self._selector()})",
            f"absent({self._vector(depth)})",
            f"absent_over_time({self._window(_ANY, depth)})",
        ))  # fmt: skip
