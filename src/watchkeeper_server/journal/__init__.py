"""Durable segments: what a receiver has acknowledged is on disk here until the store has it."""
