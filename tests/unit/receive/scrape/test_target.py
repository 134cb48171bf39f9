from __future__ import annotations

from collections import Counter

import pytest

from watchkeeper_server.receive.scrape.config import GlobalConfig, ScrapeConfig
from watchkeeper_server.receive.scrape.loop import next_tick
from watchkeeper_server.receive.scrape.relabel import RelabelRule
from watchkeeper_server.receive.scrape.target import Discovered, Target, resolve


def job(**fields: object) -> ScrapeConfig:
    return ScrapeConfig(job_name="job", **fields).completed(GlobalConfig())  # type: ignore[arg-type]  a table of cases


def found(config: ScrapeConfig, *addresses: str, **labels: str) -> Discovered:
    return resolve(config, [{"__address__": address, **labels} for address in addresses])


def only(discovered: Discovered) -> Target:
    [target] = discovered.targets
    return target


def replace(target: str, value: str) -> RelabelRule:
    return RelabelRule(target_label=target, replacement=value)


def test_a_target_gets_job_and_instance_and_its_own_labels() -> None:
    target = only(found(job(), "host:9100", env="prod", __meta_x="y", empty=""))
    assert target.labels == {"job": "job", "instance": "host:9100", "env": "prod"}
    assert target.url == "http://host:9100/metrics"
    assert target.discovered_labels == {
        "__address__": "host:9100",
        "__metrics_path__": "/metrics",
        "__scheme__": "http",
        "__scrape_interval__": "1m",
        "__scrape_timeout__": "10s",
        "__meta_x": "y",
        "env": "prod",
        "job": "job",
    }


def test_no_port_is_added() -> None:
    target = only(found(job(scheme="https"), "host"))
    assert (target.url, target.labels["instance"]) == ("https://host/metrics", "host")


def test_relabelling_decides_how_a_target_is_scraped() -> None:
    rules = (
        replace("__address__", "other:1"),
        replace("__scheme__", "https"),
        replace("__metrics_path__", "probe it"),
        replace("__param_module", "icmp"),
        replace("__scrape_interval__", "5s"),
        replace("__scrape_timeout__", "2s"),
        replace("instance", "me"),
    )
    config = job(relabel_configs=rules, params={"module": ("http", "more"), "a": ("1&2",)})
    target = only(found(config, "host:1"))
    assert target.url == "https://other:1/probe%20it?a=1%262&module=icmp&module=more"
    assert (target.interval, target.timeout) == (5_000, 2_000)
    assert target.labels == {"job": "job", "instance": "me"}


def test_a_dropped_target_is_known_by_what_was_discovered() -> None:
    config = job(relabel_configs=(RelabelRule(action="drop", source_labels=("__address__",)),))
    discovered = found(config, "host:1")
    assert (discovered.targets, [labels["__address__"] for labels in discovered.dropped]) == ([], ["host:1"])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (replace("__address__", ""), "no address"),
        (replace("__address__", "a/b"), "not a valid hostname"),
        (replace("__scheme__", "gopher"), 'invalid scheme: "gopher"'),
        (replace("__scrape_interval__", "soon"), "error parsing scrape interval"),
        (replace("__scrape_interval__", "0s"), "scrape interval cannot be 0"),
        (replace("__scrape_timeout__", "2m"), 'greater than scrape interval ("2m" > "1m")'),
    ],
)
def test_what_cannot_be_scraped_is_named_and_the_others_are_kept(rule: RelabelRule, message: str) -> None:
    keep = RelabelRule(source_labels=("__address__",), target_label="instance")
    discovered = found(job(relabel_configs=(keep, rule)), "host:1")
    [failure] = discovered.failures
    assert failure.startswith("host:1: ")
    assert message in failure
    assert len(resolve(job(), [{}, {"__address__": "b"}]).targets) == 1


def test_the_same_target_twice_is_one() -> None:
    assert len(found(job(), "host:1", "host:1").targets) == 1
    assert len(resolve(job(), [{"__address__": "a", "x": "1"}, {"__address__": "a", "x": "2"}]).targets) == 2


def test_targets_are_spread_over_the_interval_and_stay_where_they_are() -> None:
    targets = found(job(), *(f"host-{i}:1" for i in range(600))).targets
    offsets = [target.offset_ms(0) for target in targets]
    quarters = Counter(offset // 15_000 for offset in offsets)
    assert set(quarters) == {0, 1, 2, 3}
    assert min(quarters.values()) > 100
    assert offsets == [target.offset_ms(0) for target in targets]
    assert offsets != [target.offset_ms(12345) for target in targets]


def test_ticks_are_an_interval_apart_whatever_the_clock_does() -> None:
    target = only(found(job(scrape_interval=15_000, scrape_timeout=5_000), "a"))
    first = next_tick(1_763_700_000.0, target, 0)
    assert 0 < first - 1_763_700_000 <= 15
    assert next_tick(first + 4, target, 0, first) == pytest.approx(first + 15)
    assert next_tick(first + 31, target, 0, first) == pytest.approx(first + 45)  # one was missed
    assert next_tick(first - 0.001, target, 0, first) == pytest.approx(first + 15)  # woken early
    assert next_tick(first - 3600, target, 0, first) <= first - 3585  # the clock was set back


def test_a_label_that_is_no_text_is_refused_and_the_others_are_found() -> None:
    discovered = resolve(job(), [{"__address__": "a:1", "bad": "\ud800"}, {"__address__": "b:1"}])
    assert [target.labels["instance"] for target in discovered.targets] == ["b:1"]
    assert "not valid UTF-8" in "".join(map(str, discovered.failures))
