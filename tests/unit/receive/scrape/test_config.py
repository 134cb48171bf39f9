from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from watchkeeper_server.receive.scrape.config import Config, load_config
from watchkeeper_server.receive.scrape.discovery.dns import DnsDiscovery
from watchkeeper_server.receive.scrape.http_config import Authorization, BasicAuth, Header, OAuth2, TlsConfig
from watchkeeper_server.receive.scrape.relabel import Regex
from watchkeeper_server.receive.scrape.yaml_reader import ConfigError

PROMTOOL = shutil.which("promtool")

# what Prometheus 2.42 knows already
COMMON = """
global:
  scrape_interval: 15s
  evaluation_interval: 30s
  external_labels: {region: "${REGION}-$1$$ $ 5", cluster: a}
  query_log_file: query.log
rule_files: [rules/*.yml]
alerting:
  alert_relabel_configs: [{action: labeldrop, regex: replica}]
  alertmanagers: [{static_configs: [{targets: ["alert:9093"]}]}]
storage: {exemplars: {max_exemplars: 5}}
tracing: {endpoint: "localhost:4317"}
remote_write: [{url: "http://remote/write"}]
remote_read: [{url: "http://remote/read"}]
scrape_configs:
  - job_name: plain
    static_configs:
      - targets: [localhost:9090, "[::1]:9100"]
        labels: {env: prod}
  - &shared
    job_name: 123
    scrape_interval: 1m30s
    scrape_timeout: 20s
    metrics_path: /probe
    scheme: https
    params: {module: [http_2xx, more], empty: []}
    honor_labels: yes
    honor_timestamps: false
    follow_redirects: off
    enable_http2: false
    basic_auth: {username: me, password_file: secret}
    tls_config: {ca_file: /etc/ca.pem, server_name: inner, min_version: TLS12, insecure_skip_verify: false}
    proxy_url: http://proxy:3128
    sample_limit: 100
    label_limit: 30
    label_name_length_limit: 50
    label_value_length_limit: 200
    target_limit: 10
    body_size_limit: 10MB
    file_sd_configs: [{files: [targets/*.json], refresh_interval: 1m}]
    http_sd_configs: [{url: "http://sd/targets", refresh_interval: 30s, authorization: {credentials: abc}}]
    dns_sd_configs: [{names: [example.org], type: A, port: 9100}, {names: [_x._tcp.example.org]}]
    kubernetes_sd_configs:
      - role: endpoints
        api_server: https://kube
        namespaces: {own_namespace: false, names: [one, two]}
        selectors: [{role: pod, label: app=x}]
    relabel_configs:
      - source_labels: [__address__, job]
        separator: "@"
        regex: ([^:]+)(?::\\d+)?
        target_label: host
        replacement: ${1}
      - {action: keep, source_labels: [host], regex: .+}
    metric_relabel_configs:
      - {action: drop, source_labels: [__name__], regex: go_.*}
  - <<: *shared
    job_name: merged
    basic_auth: null
    authorization: {type: Token, credentials: xyz}
  - job_name: oauth
    oauth2: {client_id: id, client_secret: s, token_url: "http://auth/token", scopes: [a], endpoint_params: {b: c}}
  - job_name: bearer
    bearer_token_file: token
"""

NEWER = """
global:
  metric_name_validation_scheme: legacy
  scrape_protocols: [PrometheusText0.0.4]
  scrape_native_histograms: true
  sample_limit: 7
  keep_dropped_targets: 3
  extra_scrape_metrics: true
  rule_query_offset: 1m
runtime: {gogc: 50}
otlp: {promote_resource_attributes: [service.name]}
scrape_configs:
  - job_name: a
    scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0]
    fallback_scrape_protocol: PrometheusText0.0.4
    always_scrape_classic_histograms: true
    convert_classic_histograms_to_nhcb: true
    native_histogram_bucket_limit: 160
    native_histogram_min_bucket_factor: 1.1
    track_timestamps_staleness: true
    enable_compression: false
    metric_name_validation_scheme: utf8
    metric_name_escaping_scheme: dots
    scrape_failure_log_file: failures.log
    http_headers: {X-Scope: {values: [a, b], secrets: [c], files: [d]}}
    no_proxy: localhost
    proxy_url: http://proxy
    proxy_connect_header: {Proxy-Authorization: [secret]}
    relabel_configs: [{action: keepequal, source_labels: [a], target_label: b.c}]
  - job_name: b
"""


def load(folder: Path, text: str) -> Config:
    file = folder / "prometheus.yml"
    file.write_text(text)
    return load_config(file)


def test_a_configuration_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGION", "eu")
    config = load(tmp_path, COMMON)
    jobs = {job.job_name: job for job in config.scrape_configs}
    assert list(jobs) == ["plain", "123", "merged", "oauth", "bearer"]
    assert dict(config.global_config.external_labels) == {"region": "eu-$ $ 5", "cluster": "a"}
    assert config.rule_files == (str(tmp_path / "rules/*.yml"),)
    assert config.other_sections == ("alerting", "storage", "tracing", "remote_write", "remote_read")
    plain, shared = jobs["plain"], jobs["123"]
    assert (plain.scrape_interval, plain.scrape_timeout) == (15_000, 10_000)
    assert plain.static_configs[0].targets == ("localhost:9090", "[::1]:9100")
    assert (shared.scrape_interval, shared.scrape_timeout, shared.honor_labels) == (90_000, 20_000, True)
    assert (shared.honor_timestamps, shared.http.follow_redirects) == (False, False)
    assert dict(shared.params) == {"module": ("http_2xx", "more"), "empty": ()}
    assert shared.http.basic_auth == BasicAuth(username="me", password_file=str(tmp_path / "secret"))  # type: ignore[arg-type]
    assert shared.http.tls_config == TlsConfig(ca_file="/etc/ca.pem", server_name="inner", min_version="TLS12")  # type: ignore[arg-type]
    assert shared.limits.body_size_limit == 10 * 1024 * 1024
    assert shared.relabel_configs[0].regex == Regex(r"([^:]+)(?::\d+)?")
    assert shared.dns_sd_configs[1] == DnsDiscovery(names=("_x._tcp.example.org",))
    assert shared.file_sd_configs[0].files == (str(tmp_path / "targets/*.json"),)
    assert shared.kubernetes_sd_configs[0].namespaces.names == ("one", "two")
    assert jobs["merged"].scrape_interval == 90_000
    assert jobs["merged"].http.authorization == Authorization(type="Token", credentials="xyz")
    assert jobs["oauth"].http.oauth2 == OAuth2(
        "id", "s", scopes=("a",), token_url="http://auth/token", endpoint_params={"b": "c"}
    )
    assert jobs["bearer"].http.authorization == Authorization(credentials_file=str(tmp_path / "token"))  # type: ignore[arg-type]


def test_options_of_prometheus_3_are_read(tmp_path: Path) -> None:
    first, second = load(tmp_path, NEWER).scrape_configs
    assert first.scrape_protocols == ("PrometheusProto", "OpenMetricsText1.0.0")
    assert (first.utf8, first.metric_name_escaping_scheme) == (True, "dots")
    assert (first.limits.sample_limit, first.limits.keep_dropped_targets) == (7, 3)
    assert first.reading.always_scrape_classic_histograms is True
    assert first.scrape_failure_log_file == str(tmp_path / "failures.log")
    assert first.http.http_headers["X-Scope"] == Header(("a", "b"), ("c",), (str(tmp_path / "d"),))  # type: ignore[arg-type]
    assert (second.scrape_protocols, second.utf8) == (("PrometheusText0.0.4",), False)
    assert second.metric_name_escaping_scheme == "underscores"
    assert second.reading.scrape_native_histograms is second.reading.extra_scrape_metrics is True


@pytest.mark.parametrize("text", ["", "# nothing\n", "global:\nscrape_configs:\n", "{}"])
def test_an_empty_configuration_is_one(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    assert config.scrape_configs == ()
    assert config.global_config.scrape_interval == 60_000


def test_a_short_interval_shortens_the_timeout(tmp_path: Path) -> None:
    [job] = load(tmp_path, "scrape_configs: [{job_name: a, scrape_interval: 5s}]").scrape_configs
    assert job.scrape_timeout == 5_000


def test_native_histograms_are_asked_for_in_protobuf(tmp_path: Path) -> None:
    text = "scrape_configs: [{job_name: a, scrape_native_histograms: true}, {job_name: b}]"
    first, second = load(tmp_path, text).scrape_configs
    assert first.scrape_protocols == ("PrometheusProto", *second.scrape_protocols)


def test_jobs_come_from_files_of_their_own_too(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/a.yml").write_text("scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: [t.yml]}]\n")
    (tmp_path / "jobs/b.yml").write_text("")
    text = "global: {scrape_interval: 5s}\nscrape_config_files: [jobs/*.yml]\nscrape_configs: [{job_name: main}]\n"
    config = load(tmp_path, text)
    assert [(job.job_name, job.scrape_interval) for job in config.scrape_configs] == [("main", 5000), ("a", 5000)]
    assert config.scrape_configs[1].file_sd_configs[0].files == (str(tmp_path / "jobs/t.yml"),)
    assert list(config.files) == [str(tmp_path / name) for name in ("prometheus.yml", "jobs/a.yml", "jobs/b.yml")]
    (tmp_path / "jobs/b.yml").write_text("scrape_configs:\n\n- job_name: a\n")
    with pytest.raises(ConfigError, match=r'b.yml: line 3: found multiple .* job name "a", first found in .*a.yml'):
        load(tmp_path, text)
    (tmp_path / "jobs/b.yml").write_text("global: {}\n")
    with pytest.raises(ConfigError, match="line 1: field global not found; such files hold scrape_configs only"):
        load(tmp_path, text)


JOB = "scrape_configs:\n- job_name: a\n  "


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("global:\n  scrap_interval: 1m", 2, "field scrap_interval not found; did you mean scrape_interval?"),
        ("globl: {}", 1, "field globl not found"),
        (JOB + "scrape_interval: 5s\n- job_name: a", 4, 'found multiple scrape configs with job name "a"'),
        (JOB + "scrape_interval: 5s\n  scrape_timeout: 6s", 2, "scrape timeout greater than scrape interval for"),
        ("global:\n  scrape_timeout: 2m", 2, "global scrape timeout greater than scrape interval"),
        (JOB + "scrape_interval: soon", 3, 'scrape_interval: not a valid duration string: "soon"'),
        (JOB + "relabel_configs:\n  - {regex: '(', target_label: b}", 4, "regex: error parsing regexp: missing )"),
        (JOB + "relabel_configs:\n  - {action: nope}", 4, 'unknown relabel action "nope"'),
        (JOB + "relabel_configs:\n  - ", 4, "empty or null entry in a list"),
        (JOB + "metric_name_validation_scheme: legacy\n  relabel_configs: [{target_label: a.b}]", 2,
         "\"a.b\" is invalid 'target_label'"),
        ("scrape_configs:\n- scrape_interval: 5s", 2, "job_name is empty"),
        ("scrape_configs:\n- null", 2, "empty or null scrape config section"),
        ("scrape_configs: {}", 1, "expected a list"),
        (JOB + "sample_limit: many", 3, "cannot unmarshal !!str `many`: expected a whole number"),
        (JOB + "sample_limit: -1", 3, "-1 is negative"),
        (JOB + "honor_labels: 'true'", 3, "cannot unmarshal !!str `true`: expected true or false"),
        (JOB + "static_configs: [{targets: ['http://a/b']}]", 2, '"http://a/b" is not a valid hostname'),
        (JOB + "static_configs: [{targets: a}]", 3, "cannot unmarshal !!str `a`: expected a list"),
        (JOB + "scrape_protocols: [Smoke]", 2, "unknown scrape protocol Smoke, supported: [OpenMetrics"),
        (JOB + "scrape_protocols: [PrometheusProto, PrometheusProto]", 2, "duplicated protocol in scrape_protocols"),
        (JOB + "fallback_scrape_protocol: Smoke", 2, "invalid fallback_scrape_protocol for scrape config"),
        (JOB + "basic_auth: {password: a, password_file: b}", 3, "at most one of basic_auth password"),
        (JOB + "bearer_token: a\n  bearer_token_file: b", 2, "at most one of bearer_token & bearer_token_file"),
        (JOB + "basic_auth: {}\n  authorization: {}", 2, "at most one of basic_auth, oauth2 & authorization"),
        (JOB + "authorization: {type: Basic}", 3, 'use "basic_auth" instead'),
        (JOB + "tls_config: {cert_file: a}", 3, "exactly one of key or key_file"),
        (JOB + "tls_config: {min_version: TLS13, max_version: TLS12}", 3, "max_version must be greater"),
        (JOB + "tls_config: {min_version: SSL3}", 3, 'unknown value "SSL3", supported: TLS10'),
        (JOB + "http_headers: {Host: {values: [a]}}", 2, 'setting header "Host" is not allowed'),
        (JOB + "no_proxy: a", 2, "if no_proxy is configured, proxy_url must also be configured"),
        (JOB + "consul_sd_configs: [{server: a}]", 3, "field consul_sd_configs is not supported: let something"),
        (JOB + "dns_sd_configs: [{names: [a], type: A}]", 3, "a port is required"),
        (JOB + "file_sd_configs: [{files: [a.txt]}]", 3, "is not valid for file discovery"),
        (JOB + "http_sd_configs: [{url: ftp://a}]", 3, "URL scheme must be 'http' or 'https'"),
        (JOB + "kubernetes_sd_configs: [{}]", 3, "role is missing"),
        (JOB + "kubernetes_sd_configs: [{role: pod, selectors: [{role: ingress}]}]", 3,
         "pod role supports only pod, node"),
        (JOB + "body_size_limit: 5 parsecs", 3, 'body_size_limit: not a valid size: "5 parsecs"'),
        (JOB + "job_name: b", 3, 'key "job_name" already set in map'),
        ("global:\n  [", 3, "did not find"),
        ("a: b: c", 1, "mapping values are not allowed"),
        ("global: {external_labels: {'': x}}", 1, '"" is not a valid label name'),
        ("rule_files: [a/*/b.yml]", 1, "invalid rule file path"),
    ],
)  # fmt: skip
def test_an_error_names_file_line_and_field(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)
    assert f"prometheus.yml: line {line}: " in str(raised.value)
    assert message in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.yml cannot be read: No such file"):
        load_config(tmp_path / "gone.yml")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    text = JOB + "basic_auth: {username: u, password: hunter2}\n  proxy_url: http://p\n"
    assert "hunter2" not in repr(load(tmp_path, text))


def test_two_readings_of_a_file_are_equal(tmp_path: Path) -> None:
    assert load(tmp_path, COMMON) == load(tmp_path, COMMON)
    assert load(tmp_path, COMMON) != load(tmp_path, COMMON.replace("go_.*", "py_.*"))


# without what Debian's build lacks, and without files that promtool wants to see
SYNTAX_ONLY = re.sub(r" {4}kubernetes_sd_configs:\n( {6}.*\n)+", "", COMMON)
for _file, _inline in (
    ("bearer_token_file", "bearer_token"),
    ("password_file", "password"),
    ("ca_file: /etc/ca.pem, ", ""),
):
    SYNTAX_ONLY = SYNTAX_ONLY.replace(_file, _inline)


@pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool")
@pytest.mark.parametrize(
    "text",
    [
        SYNTAX_ONLY,
        JOB + "scrape_interval: 5s\n  scrape_timeout: 6s",
        JOB + "relabel_configs: [{action: hashmod, target_label: a}]",
        JOB + "static_configs: [{targets: ['http://a/b']}]",
        JOB + "dns_sd_configs: [{names: [a], type: A}]",
        JOB + "scrape_interval: 0s",
        JOB + "scrape_interval: 1.5s",
        JOB + "params: {a: b}",
        JOB + "params: {a: [1, 2]}",
        JOB + "honor_labels: on",
        JOB + "metrics_path:",
        JOB + "static_configs:",
        JOB + "basic_auth:",
        JOB + "relabel_configs: [{source_labels: [a], target_label: 1a}]",
        JOB + "relabel_configs: [{source_labels: a, target_label: b}]",
        JOB + "relabel_configs: [{action: labelmap, regex: a}]",
        "global: {external_labels: {a: 1}}",
        "scrape_configs: null",
        "global: {scrape_interval: 0}",
    ],
)  # fmt: skip
def test_promtool_agrees_on_what_is_a_configuration(tmp_path: Path, text: str) -> None:
    try:
        load(tmp_path, text)
        accepted = True
    except ConfigError:
        accepted = False
    (tmp_path / "rules").mkdir()
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "1a" in text:  # any UTF-8 is a name since Prometheus 3
        assert accepted
    else:
        assert accepted == (done.returncode == 0), done.stderr


def test_a_file_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text("[" * 100_000 + "]" * 100_000)  # taking that apart would end the process
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(file)
