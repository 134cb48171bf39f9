"""Tracing: OpenTelemetry's API on slotted spans."""
