from __future__ import annotations

import pytest

from watchkeeper.metrics.paths import MOST_PATHS, UnmatchedPaths, normalised


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/orders", "/orders"),
        ("/orders/7", "/orders/{id}"),
        ("/orders/7/items/12", "/orders/{id}/items/{id}"),
        ("/u/0191f3a1-7b7c-7c3e-8f00-0123456789ab/edit", "/u/{uuid}/edit"),
        ("/u/0191F3A17B7C7C3E8F000123456789AB", "/u/{uuid}"),
        ("/mongo/507f1f77bcf86cd799439011", "/mongo/{id}"),
        ("/v1/orders", "/v1/orders"),
        ("/facade/deadbeefdeadbeef", "/facade/deadbeefdeadbeef"),
        ("/7/", "/{id}/"),
        ("/2026-11-21", "/2026-11-21"),
    ],
)
def test_ids_and_uuids_are_replaced_and_words_stay(path: str, expected: str) -> None:
    assert normalised(path) == expected


@pytest.mark.parametrize("status", [301, 401, 404, 405, 500])
def test_a_path_is_unmatched_until_it_was_answered_with_success(status: int) -> None:
    paths = UnmatchedPaths()
    assert paths.label("/orders/7", status) == "unmatched"
    assert paths.label("/orders/7", 200) == "/orders/{id}"
    assert paths.label("/orders/8", status) == "/orders/{id}"


def test_paths_are_of_a_bounded_number_and_length() -> None:
    paths = UnmatchedPaths()
    labels = {paths.label(f"/page-{number}", 200) for number in range(1_000)}
    assert len(labels) == MOST_PATHS + 1
    assert "unmatched" in labels
    assert paths.label("/page-0", 200) == "/page-0"
    assert UnmatchedPaths().label("/" + "x" * 5_000, 200) == "unmatched"
