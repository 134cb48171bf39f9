"""The formats in which targets expose metrics: Prometheus' text, OpenMetrics' text and Prometheus' protobuf."""
