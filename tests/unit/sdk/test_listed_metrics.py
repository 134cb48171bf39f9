from __future__ import annotations

import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import watchkeeper as wk

LIST = """
- {name: t_listed_orders_total, type: counter, doc: Orders, labels: [status]}
- name: t_listed_basket
  type: histogram
  buckets: [10, 100]
- {name: t_listed_users, type: gauge}
- {name: t_listed_rows, type: summary, quantiles: [0.5]}
"""


def test_a_list_in_yaml_declares_metrics(tmp_path: Path) -> None:
    file = tmp_path / "metrics.yaml"
    file.write_text(LIST)
    metrics = wk.load_metrics(file)
    metrics["t_listed_orders_total"].labels("paid").inc()
    metrics["t_listed_basket"].observe(50)
    metrics["t_listed_users"].set(3)
    metrics["t_listed_rows"].observe(1)
    assert REGISTRY.get_sample_value("t_listed_orders_total", {"status": "paid"}) == 1
    assert REGISTRY.get_sample_value("t_listed_basket_bucket", {"le": "100.0"}) == 1
    assert REGISTRY.get_sample_value("t_listed_users") == 3
    assert metrics["t_listed_orders_total"] is wk.counter("t_listed_orders_total", "Orders", ["status"])


def test_a_list_in_json_needs_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "metrics.json").write_text('[{"name": "t_listed_json", "type": "gauge"}]')
    assert list(wk.load_metrics(tmp_path / "metrics.json")) == ["t_listed_json"]
    (tmp_path / "metrics.yaml").write_text(LIST)
    with pytest.raises(wk.ConfigurationError, match=r"install pyyaml, or write the list as metrics\.json"):
        wk.load_metrics(tmp_path / "metrics.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b", "must be a list"),
        ("- 7", "metric 1 needs a name"),
        ("- {name: t_x, type: meter}", r"metric 1 \(t_x\) has the type 'meter': use one of counter, gauge"),
        ("- {name: t_x, type: gauge, buckets: [1]}", r"\(t_x\) has buckets, which a gauge has not"),
        ("- {name: t_x, type: gauge, labels: a}", "labels must be a list of texts"),
        ("- {name: t_x, type: histogram, buckets: [a]}", "buckets must be a list of numbers"),
        ("- {name: t_x", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.yaml").write_text(text)
    with pytest.raises(wk.ConfigurationError, match=message):
        wk.load_metrics(tmp_path / "metrics.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(wk.ConfigurationError, match=r"none\.yaml cannot be read"):
        wk.load_metrics(tmp_path / "none.yaml")


def test_a_list_with_a_mistake_declares_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.yaml").write_text("- {name: t_listed_never, type: gauge}\n- {name: t_y, type: meter}\n")
    with pytest.raises(wk.ConfigurationError, match="metric 2"):
        wk.load_metrics(tmp_path / "metrics.yaml")
    assert REGISTRY.get_sample_value("t_listed_never") is None
