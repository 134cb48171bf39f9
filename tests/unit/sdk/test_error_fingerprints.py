"""Fingerprints: what keeps them, what changes them."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from watchkeeper.errors.event import Frame, Problem
from watchkeeper.errors.fingerprints import fingerprint_of, fingerprint_of_message, template_of
from watchkeeper.errors.stacks import InApp, problems_of

IN_APP = InApp(("shop",))

SOURCE = """
class Orders:
    def place(self, order):
        return charge(order)

def charge(order):
    if order is None:
        raise ValueError(f"no order {id(order):#x}")
    return [settle(each) for each in order]

def settle(order):
    try:
        {}[order]
    except KeyError as error:
        raise LookupError(f"order {order}") from error
"""


def fingerprint(call: str, source: str = SOURCE, module: str = "shop.orders", **values: Any) -> str:
    namespace: dict[str, Any] = {"__name__": module}
    exec(compile(source, f"/srv/{module}.py", "exec"), namespace)  # noqa: S102  # the application
    try:
        eval(compile(call, "<caller>", "eval"), {**namespace, "__name__": "runner", **values})  # noqa: S307
    except Exception as error:  # noqa: BLE001
        return fingerprint_of(problems_of(error, IN_APP))
    raise AssertionError("it did not fail")


names = st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True)
frames = st.builds(
    Frame,
    module=st.sampled_from(["shop.orders", "shop.payment", "starlette.routing", ""]),
    function=names,
    path=st.sampled_from(["/srv/shop/orders.py", "/usr/lib/python3/site-packages/starlette/routing.py"]),
    line=st.integers(0, 10_000),
    in_app=st.booleans(),
)
problems = st.builds(
    Problem,
    type=st.sampled_from(["ValueError", "LookupError", "Declined"]),
    module=st.sampled_from(["builtins", "shop.payment"]),
    message=st.text(max_size=50),
    frames=st.lists(frames, max_size=8).map(tuple),
)


@given(st.integers(0, 200), st.integers(0, 200))
def test_lines_that_shift_change_nothing(above: int, between: int) -> None:
    moved = "\n" * above + SOURCE.replace("\ndef settle", "\n" * between + "\n# settles\ndef settle")
    assert fingerprint("charge(['a'])", moved) == fingerprint("charge(['a'])")


@given(st.one_of(st.integers(), st.uuids(), st.text(max_size=50), st.binary(max_size=20)))
def test_what_the_message_holds_changes_nothing(order: Any) -> None:
    assert fingerprint("settle(order)", order=order) == fingerprint("settle('a')")


@given(problems, st.integers(-50, 50), st.text(max_size=80))
def test_an_error_with_frames_is_told_by_them_alone(problem: Problem, shift: int, message: str) -> None:
    assume(problem.frames)
    other = [replace(frame, line=frame.line + shift, path=frame.path) for frame in problem.frames]
    moved = replace(problem, frames=tuple(other), message=message)
    assert fingerprint_of([problem]) == fingerprint_of([moved])


@given(problems, frames)
def test_frames_of_libraries_change_nothing_below_the_applications(problem: Problem, frame: Frame) -> None:
    assume(any(each.in_app for each in problem.frames))
    library = replace(frame, in_app=False)
    assert fingerprint_of([problem]) == fingerprint_of([replace(problem, frames=(library, *problem.frames, library))])


@given(problems, st.integers(2, 200))
def test_how_deep_a_recursion_went_changes_nothing(problem: Problem, times: int) -> None:
    assume(problem.frames)
    assert fingerprint_of([problem]) == fingerprint_of([replace(problem, frames=problem.frames * times)])


@given(problems, st.lists(problems, min_size=1, max_size=4), st.randoms())
def test_in_which_order_members_of_a_group_failed_changes_nothing(
    group: Problem, members: list[Problem], random: Any
) -> None:
    def whole(each: list[Problem]) -> list[Problem]:
        below = [replace(member, parent=0, source=f"exceptions[{at}]") for at, member in enumerate(each)]
        return [replace(group, is_group=True), *below]

    shuffled = [*members, members[0]]
    random.shuffle(shuffled)
    assert fingerprint_of(whole(members)) == fingerprint_of(whole(shuffled))


@given(problems, problems)
def test_other_classes_and_other_functions_are_other_errors(one: Problem, other: Problem) -> None:
    def essence(problem: Problem) -> Any:
        chosen = [frame for frame in problem.frames if frame.in_app] or problem.frames
        assume(chosen)
        places = [(frame.module or frame.path, frame.function) for frame in chosen]
        return problem.qualified_type, tuple(dict.fromkeys(places))

    assert (fingerprint_of([one]) == fingerprint_of([other])) == (essence(one) == essence(other))


def test_where_and_why_tell_errors_apart() -> None:
    different = {
        fingerprint("settle('a')"),
        fingerprint("charge(['a'])"),
        fingerprint("charge(None)"),
        fingerprint("Orders().place(None)"),
        fingerprint("settle('a')", module="shop.returns"),
        fingerprint("settle('a')", SOURCE.replace("from error", "from None")),
        fingerprint("settle('a')", SOURCE.replace("raise LookupError", "raise RuntimeError")),
    }
    assert len(different) == 7


def test_every_process_finds_the_same() -> None:
    program = textwrap.dedent(
        """
        from watchkeeper.errors.fingerprints import fingerprint_of
        from watchkeeper.errors.stacks import InApp, problems_of
        def fail(): raise ExceptionGroup("all", [ValueError(1), KeyError("a"), ValueError(2)])
        try: fail()
        except ExceptionGroup as error: print(fingerprint_of(problems_of(error, InApp())))
        """
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert re.fullmatch("[0-9a-f]{32}\n", found.pop())


@given(st.integers(0), st.integers(0), st.uuids(), st.uuids())
def test_messages_that_differ_in_numbers_and_ids_are_one_group(one: int, other: int, first: Any, second: Any) -> None:
    said = "order {} of {} failed after 1.5 s at 0x{:x}: 'x{}'"
    assert fingerprint_of_message(said.format(one, first, one, other)) == fingerprint_of_message(
        said.format(other, second, other, one)
    )


def test_templates_show_what_was_taken_out() -> None:
    said = "user ann@example.com: order 17 'tea' (4f2c9d11ab, 12:30:05) at 0x7f"
    assert template_of(said) == "user <email>: order <number> <quoted> (<number>, <number>) at <address>"
    assert len(template_of("x" * 1_000_000)) == 500


@given(st.text())
def test_any_text_has_a_template(text: str) -> None:
    assert fingerprint_of_message(text) == fingerprint_of_message(text)
