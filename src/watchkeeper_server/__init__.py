"""The Watchkeeper server: receives telemetry, stores it, answers questions about it."""
