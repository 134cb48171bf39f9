"""Metrics: prometheus_client's registry, bounded and safe to declare twice."""
