"""Out of the process: bounded queues, OTLP encoding, one background thread, and the error boundary."""
