"""Relational databases: what a statement is, what became of it, which are slow or repeated, and pools of connections.

Integrations (`watchkeeper.integrations.psycopg` and its like) say which library's functions are statements; what they
share is here.
"""
