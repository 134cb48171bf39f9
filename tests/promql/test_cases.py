"""Every case of `cases/*.test`, tried on the engine over series in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.promqltest.in_process import InProcess
from support.promqltest.run import Runner
from support.promqltest.script import Case, read_script

FILES = sorted(Path(__file__).with_name("cases").glob("*.test"))
CASES = [case for file in FILES for case in read_script(file)]
RUNNER = Runner(InProcess())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path.stem}:{case.line}")
def test_a_query_has_the_answer_its_case_says(case: Case) -> None:
    if failures := RUNNER.failures(case):
        pytest.fail(failures, pytrace=False)
