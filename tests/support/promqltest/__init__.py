"""PromQL's test language: what is loaded, what is asked, what is expected; for any engine that answers PromQL.

The language is the one of Prometheus' `promqltest` package, in words:
https://github.com/prometheus/prometheus/blob/main/promql/promqltest/README.md. `script` reads it, `targets` says
what an engine must do to be tried, `in_process` and `over_http` are such engines, `check` compares, `run` does a case.
`python -m support.promqltest --url http://… FILES` tries a server.
"""
