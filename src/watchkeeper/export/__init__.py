"""Out of the process: bounded queues, OTLP encoding, a thread for each destination, and the error boundary."""
