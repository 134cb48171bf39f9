"""Logging: structlog's way of calling, the standard library's records, one pipeline."""
