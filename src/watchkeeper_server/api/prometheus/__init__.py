"""Prometheus' HTTP API: `/api/v1` and `/federate`, answered as Prometheus 3 answers them."""
