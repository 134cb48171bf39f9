"""Calls of language models: what they ask and answer as far as it may be told, their tokens and their price."""
