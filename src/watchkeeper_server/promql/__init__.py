"""PromQL of Prometheus 3: parsing, evaluation over columns, and nothing about where samples are kept."""
