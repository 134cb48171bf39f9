"""Queues that are looked at, whoever publishes to them."""
