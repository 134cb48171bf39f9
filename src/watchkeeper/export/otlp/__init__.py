"""OTLP in protobuf, written by hand: https://opentelemetry.io/docs/specs/otlp/.

Most bytes of a batch repeat (keys, routes, resources), so they are encoded once and kept; what is left is one join.
No protobuf runtime is needed. Tests decode everything with the official generated classes.
"""
