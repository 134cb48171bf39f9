from __future__ import annotations

from watchkeeper_server.promql.functions import INSTANT, OVER_RANGE
from watchkeeper_server.promql.signatures import SIGNATURES
from watchkeeper_server.promql.tree import ValueType

# what needs more than the values of its arguments
OF_THE_ENGINE = {"absent", "absent_over_time", "info", "end", "range", "start", "step"}


def test_every_function_is_there_and_takes_what_its_signature_says() -> None:
    of_ranges = {name for name, signature in SIGNATURES.items() if ValueType.MATRIX in signature.arguments}
    assert of_ranges - OF_THE_ENGINE == set(OVER_RANGE)
    assert set(SIGNATURES) - of_ranges - OF_THE_ENGINE == set(INSTANT)
